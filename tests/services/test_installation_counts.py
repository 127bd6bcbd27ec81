"""The counts of the gauges: of all workspaces, as of now, from indexes and counted places alone."""

from __future__ import annotations

from datetime import timedelta

from keystead.services.cleanup import ExpiredRows
from keystead.services.installation_counts import Counts, InstallationCounts
from keystead.storage.engine.roles import Purpose
from keystead.storage.tables.key_counts import unsettled_counts
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation

HOUR = timedelta(hours=1)


def _counts(sandbox: SandboxInstallation) -> Counts:
    return InstallationCounts(sandbox.database, sandbox.clock).read()


def test_keys_and_workspaces_are_counted_as_of_now(own_sandbox: SandboxInstallation) -> None:
    """A key that was revoked or rotated, or has expired since, is not active; a deleted workspace is gone."""
    sandbox = own_sandbox
    first, second = sandbox.tenant(), sandbox.tenant()
    before = _counts(sandbox)
    sandbox.key(first)
    revoked = sandbox.key(second)
    sandbox.key(second, expires_at=NOON + HOUR)
    sandbox.key(second, expires_at=NOON + 3 * HOUR)
    assert _counts(sandbox).active_keys == before.active_keys + 4
    sandbox.services.keys.revoke(second, revoked.key.id)
    sandbox.clock.advance(2 * HOUR)
    after = _counts(sandbox)
    assert after.active_keys == before.active_keys + 2
    assert after.workspaces == before.workspaces
    sandbox.services.workspaces.suspend(second.workspace_id)
    sandbox.services.deletion.delete(second.workspace_id)
    assert _counts(sandbox).workspaces == before.workspaces - 1


def test_what_has_expired_is_counted_once(own_sandbox: SandboxInstallation) -> None:
    """The hourly sweep settles the count of each workspace with expired keys; nothing but its time changes."""
    sandbox = own_sandbox
    tenants = [sandbox.tenant() for _ in range(3)]
    for tenant in tenants[:2]:
        sandbox.key(tenant)
        sandbox.key(tenant, expires_at=NOON + HOUR)
        sandbox.key(tenant, expires_at=NOON + 3 * HOUR)
    sandbox.key(tenants[2])
    revoked = sandbox.key(tenants[1], expires_at=NOON + HOUR)
    sandbox.clock.advance(2 * HOUR)
    before, sweep = _counts(sandbox), ExpiredRows(sandbox.database, sandbox.clock).run
    with sandbox.database.read_across(Purpose.WORKER) as tx:
        unsettled = unsettled_counts(tx, sandbox.clock.now(), 10)
    assert sorted(unsettled) == sorted(tenant.workspace_id for tenant in tenants[:2])
    assert (sweep(), sweep()) == (2, 0)
    assert _counts(sandbox) == before
    # A key that is no longer counted takes nothing away when it is revoked.
    sandbox.services.keys.revoke(tenants[1], revoked.key.id)
    assert _counts(sandbox) == before
    sandbox.clock.advance(2 * HOUR)
    assert (_counts(sandbox).active_keys, sweep()) == (before.active_keys - 2, 2)
