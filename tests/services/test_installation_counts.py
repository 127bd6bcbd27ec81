"""The counts of the gauges: of all workspaces, as of now, from indexes and counted places alone."""

from __future__ import annotations

from datetime import timedelta

from keystead.services.installation_counts import Counts, InstallationCounts
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
