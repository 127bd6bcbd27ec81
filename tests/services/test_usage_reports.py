"""Reports of use: exact by day, key, workspace and hour, and of one's own keys only."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import pytest
from sqlalchemy import delete

from keystead.domain.errors import InsufficientScope, NotFound
from keystead.domain.events import RetentionPolicy
from keystead.domain.ids import WorkspaceId
from keystead.domain.networks import parse_networks
from keystead.domain.principals import operator
from keystead.domain.usage import Period, UseCount
from keystead.services.cleanup import Retention
from keystead.services.key_issuer import CreatedKey
from keystead.storage.schema import tables as schema
from tests.support.administrator import write_behind
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, text_of

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TODAY = NOON.date()
MONTH = Period(TODAY - 15 * DAY, TODAY + 15 * DAY)


def _use(sandbox: SandboxInstallation, created: CreatedKey, times: int = 1) -> None:
    for _ in range(times):
        sandbox.verify(created)


def _of_key(sandbox: SandboxInstallation, created: CreatedKey) -> dict[date, UseCount]:
    tenant = operator("tests", created.key.workspace_id)
    return sandbox.services.usage_reports.of_key(tenant, created.key.id, MONTH)


def test_refusals_whose_secret_was_right_are_counted(sandbox: SandboxInstallation) -> None:
    """Expired, revoked, suspended, from elsewhere and without the scope: a refusal of the key. A wrong secret isn't."""
    tenant, suspended = sandbox.tenant(), sandbox.tenant()
    revoked, narrow = sandbox.key(tenant), sandbox.key(tenant, scopes=["documents:read"])
    short = sandbox.key(tenant, expires_at=NOON + HOUR)
    stopped = sandbox.key(suspended)
    _use(sandbox, short)
    sandbox.services.keys.revoke(tenant, revoked.key.id)
    sandbox.services.workspaces.suspend(suspended.workspace_id)
    sandbox.clock.advance(HOUR)
    for created, required in ((revoked, None), (narrow, "documents:write"), (short, None)):
        assert sandbox.verdict(created, required) != "verified"
    assert sandbox.verdict(stopped) == "suspended"
    bound = sandbox.key(tenant, networks=parse_networks(["192.0.2.0/24"]))
    sandbox.services.verifier.verify(text_of(bound), address="198.51.100.1")
    forged = text_of(sandbox.key(sandbox.tenant()))[-49:]
    sandbox.services.verifier.verify(text_of(narrow)[:-49] + forged)
    sandbox.flush()
    assert _of_key(sandbox, revoked) == {TODAY: UseCount(0, 1)}
    assert _of_key(sandbox, narrow) == {TODAY: UseCount(0, 1)}
    assert _of_key(sandbox, bound) == {TODAY: UseCount(0, 1)}
    assert _of_key(sandbox, short) == {TODAY: UseCount(1, 1)}
    assert _of_key(sandbox, stopped) == {TODAY: UseCount(0, 1)}


def test_introspections_are_requests(sandbox: SandboxInstallation) -> None:
    """An introspection counts as the request that it stands for, accepted or refused."""
    tenant = sandbox.tenant()
    created, revoked = sandbox.key(tenant), sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, revoked.key.id)
    for each in (created, created, revoked):
        asyncio.run(sandbox.services.introspection.introspect(text_of(each)))
    sandbox.flush()
    assert _of_key(sandbox, created) == {TODAY: UseCount(2, 0)}
    assert _of_key(sandbox, revoked) == {TODAY: UseCount(0, 1)}


def test_by_day_and_by_key_are_the_same_sums(sandbox: SandboxInstallation) -> None:
    """Whatever a report is grouped by, it adds up the same uses of the same days, page by page."""
    tenant = sandbox.tenant()
    created = [sandbox.key(tenant) for _ in range(5)]
    revoked = sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, revoked.key.id)
    sandbox.key(tenant, "never used")
    server = sandbox.another()
    for day in range(3):
        for number, each in enumerate(created):
            _use(sandbox, each, number + day)
            server.services.verifier.verify(text_of(each))
        _use(sandbox, revoked, 2)
        sandbox.flush()
        server.services.usage.flush()
        sandbox.clock.advance(DAY)
    reports = sandbox.services.usage_reports
    by_day = reports.of_workspace(tenant, MONTH)
    assert by_day == {TODAY + day * DAY: UseCount(15 + 5 * day, 2) for day in range(3)}
    assert reports.of_workspace(tenant, Period(TODAY + DAY, TODAY + DAY)) == {
        TODAY + DAY: UseCount(20, 2)
    }
    found: list[tuple[str, UseCount]] = []
    before = None
    while not found or before is not None:
        page = reports.by_key(tenant, MONTH, limit=2, before=before)
        assert len(found) <= len(created) + 1
        found, before = found + [(use.key_id, use.use) for use in page.items], page.next
    expected = {
        each.key.id: UseCount(3 * number + 3 + 3, 0) for number, each in enumerate(created)
    } | {revoked.key.id: UseCount(0, 6)}
    assert found == sorted(expected.items(), reverse=True)


def test_by_workspace_and_day(own_sandbox: SandboxInstallation) -> None:
    """The operator's report has each workspace and day with any use once, in one order, page by page."""
    sandbox = own_sandbox
    tenants = [sandbox.tenant() for _ in range(3)]
    keys = {tenant.workspace_id: sandbox.key(tenant) for tenant in tenants}
    expected: list[tuple[date, WorkspaceId, UseCount]] = []
    for day in range(3):
        for number, tenant in enumerate(tenants):
            if number != day:
                _use(sandbox, keys[tenant.workspace_id], number + 1)
                use = UseCount(number + 1, 0)
                expected.append((sandbox.clock.now().date(), tenant.workspace_id, use))
        sandbox.flush()
        sandbox.clock.advance(DAY)
    reports = sandbox.services.usage_reports
    found: list[tuple[date, WorkspaceId, UseCount]] = []
    before = None
    while not found or before is not None:
        page = reports.by_workspace(MONTH, limit=2, before=before)
        found, before = [*found, *page.items], page.next
        assert len(found) <= len(expected)
    assert found == sorted(expected, reverse=True)
    middle = reports.by_workspace(Period(TODAY + DAY, TODAY + DAY), limit=9).items
    assert [(each.day, each.workspace_id, each.use) for each in middle] == found[2:4]


def test_hours_are_kept_for_eight_days(own_sandbox: SandboxInstallation) -> None:
    """Use is read by the hour, over hours that begin while the server runs, and deleted after eight days."""
    sandbox = own_sandbox
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    reports, begin = sandbox.services.usage_reports, NOON
    for times in (1, 2):
        _use(sandbox, created, times)
        sandbox.clock.advance(HOUR)
    sandbox.flush()
    hours = {begin: UseCount(1, 0), begin + HOUR: UseCount(2, 0)}
    assert reports.hours_of_key(tenant, created.key.id, 48) == hours
    assert reports.hours_of_key(tenant, created.key.id, 2) == {begin + HOUR: UseCount(2, 0)}
    keeping = RetentionPolicy(None, None, None, None)
    sandbox.clock.set(begin + 8 * DAY)
    assert Retention(sandbox.database, sandbox.clock, keeping).run() == 0
    sandbox.clock.advance(HOUR)
    assert Retention(sandbox.database, sandbox.clock, keeping).run() == 1
    assert sandbox.count(schema.key_use_hours) == 1
    assert reports.of_key(tenant, created.key.id, MONTH) == {TODAY: UseCount(3, 0)}


def test_reports_are_the_workspace_s_own(sandbox: SandboxInstallation) -> None:
    """Another workspace's key is not found, its use is in no sum, and nothing is shown without `keys:read` (R49)."""
    tenant, other = sandbox.tenant(), sandbox.tenant()
    created = sandbox.key(tenant)
    _use(sandbox, created)
    sandbox.flush()
    reports = sandbox.services.usage_reports
    with pytest.raises(NotFound):
        reports.of_key(other, created.key.id, MONTH)
    assert reports.hours_of_key(other, created.key.id, 48) == {}
    assert reports.of_workspace(other, MONTH) == {}
    assert reports.by_key(other, MONTH, limit=5).items == []
    blind = sandbox.caller(tenant, "documents:read")
    for read in (
        lambda: reports.of_key(blind, created.key.id, MONTH),
        lambda: reports.hours_of_key(blind, created.key.id, 48),
        lambda: reports.of_workspace(blind, MONTH),
        lambda: reports.by_key(blind, MONTH, limit=5),
    ):
        with pytest.raises(InsufficientScope):
            read()


def test_the_use_of_a_key_that_is_gone_is_dropped(own_sandbox: SandboxInstallation) -> None:
    """A key that was deleted between its use and the flush is dropped; the others' use is written."""
    sandbox = own_sandbox
    tenant = sandbox.tenant()
    gone, other = sandbox.key(tenant), sandbox.key(tenant)
    _use(sandbox, gone)
    _use(sandbox, other)
    with write_behind(sandbox.database) as tx:
        tx.execute(delete(schema.api_keys).where(schema.api_keys.c.id == gone.key.id))
    assert sandbox.flush() == 2
    assert _of_key(sandbox, other) == {TODAY: UseCount(1, 0)}
    assert sandbox.count(schema.key_use) == 1
    assert sandbox.flush() == 0
