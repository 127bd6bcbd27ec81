"""Keys in rows: counts that agree with the rules, and statements that an index serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from typing import Any

from sqlalchemy import event

from keystead.domain.ids import KeyId
from keystead.domain.instants import to_microseconds
from keystead.domain.key_hygiene import HygieneFinding, has_finding
from keystead.domain.key_lists import KeyFilter, KeyOrder
from keystead.domain.keys import KeyStatus
from keystead.domain.policies import Policy
from keystead.domain.principals import Principal
from tests.support.administrator import tidy
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation
from tests.support.people import PRODUCT

DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
AGES = (0 * DAY, 30 * DAY, 30 * DAY - TICK, 365 * DAY, 365 * DAY - TICK)
ENDS = (None, timedelta(0), timedelta(seconds=1), 14 * DAY, 14 * DAY + timedelta(seconds=1))
USES = (None, 0 * DAY, 30 * DAY, 30 * DAY - TICK)


def all_kinds(sandbox: SandboxInstallation) -> Principal:
    """Create keys at every limit of the key hygiene rules: ages, ends and uses, some revoked or rotated."""
    tenant = sandbox.tenant()
    for number, (age, ends, used) in enumerate(product(AGES, ENDS, USES)):
        if used is not None and used > age:
            continue
        sandbox.clock.set(NOON - age - TICK if ends == timedelta(0) else NOON - age)
        key = sandbox.key(tenant, expires_at=None if ends is None else NOON + ends).key
        if used is not None:
            note(sandbox, key.id, tenant, used)
        if number % 7 == 3:
            sandbox.services.keys.revoke(tenant, key.id)
        if number % 7 == 5 and ends != timedelta(0):
            sandbox.services.rotations.rotate(tenant, key.id, overlap=DAY)
    sandbox.clock.set(NOON)
    sandbox.flush()
    return tenant


def note(sandbox: SandboxInstallation, key_id: KeyId, tenant: Principal, ago: timedelta) -> None:
    """Record a use of the key that long before noon."""
    key = sandbox.services.keys.get(tenant, key_id)
    user = Principal.of_key(key.id, key.description, key.workspace_id, key.scopes, key.expires_at)
    sandbox.services.usage.note(user, to_microseconds(NOON - ago), "10.2.3.4", "curl")


def findings(sandbox: SandboxInstallation, tenant: Principal) -> Mapping[HygieneFinding, int]:
    """Return what the list of keys says needs a review."""
    listed = sandbox.services.key_lists.page(tenant, KeyFilter((KeyStatus.ACTIVE,)), 1, None)
    return listed.counts.findings


def test_key_hygiene_is_counted_by_the_rules(sandbox: SandboxInstallation) -> None:
    """The one query that counts, and the filter that lists, find exactly the keys that the pure rule finds."""
    tenant = all_kinds(sandbox)
    policies = sandbox.services.policies
    layers = policies.replace_operators(tenant.workspace_id, Policy(20), PRODUCT.actor)
    keys = sandbox.keys(tenant)
    assert {key.status(NOON) for key in keys} == set(KeyStatus)
    assert any(key.rotated_to and key.status(NOON) is KeyStatus.ACTIVE for key in keys)
    expected = {
        habit: [key.id for key in keys if has_finding(key, habit, layers.effective, NOON)]
        for habit in HygieneFinding
    }
    assert all(expected.values())
    assert findings(sandbox, tenant) == {h: len(ids) for h, ids in expected.items()}
    assert {
        habit: [key.id for key in sandbox.services.key_lists.needing(tenant, habit)]
        for habit in HygieneFinding
    } == expected
    for order in (None, KeyOrder.OLDEST):
        wanted = KeyFilter((KeyStatus.ACTIVE,), finding=HygieneFinding.OUTSIDE_POLICY, order=order)
        listed = sandbox.services.key_lists.page(tenant, wanted, 200, None).keys
        assert {key.id for key in listed} == set(expected[HygieneFinding.OUTSIDE_POLICY])


def test_key_hygiene_of_an_empty_workspace(sandbox: SandboxInstallation) -> None:
    """Without keys there are no findings, whatever other workspaces contain."""
    all_kinds(sandbox)
    assert findings(sandbox, sandbox.tenant()) == {}


@contextmanager
def statements(sandbox: SandboxInstallation) -> Iterator[list[tuple[str, Any]]]:
    """Record the queries that run during the block, with their values."""
    seen: list[tuple[str, Any]] = []

    def saw(_: Any, __: Any, sql: str, values: Any, *___: Any) -> None:
        if " FROM " in sql.replace("\n", " "):
            seen.append((sql, values))

    event.listen(sandbox.database.engine, "before_cursor_execute", saw)
    try:
        yield seen
    finally:
        event.remove(sandbox.database.engine, "before_cursor_execute", saw)


def test_events_of_one_thing_come_through_an_index(sandbox: SandboxInstallation) -> None:
    """The events of one key are read newest first by their index, whatever else happened in the workspace."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant).key
    for _ in range(300):
        sandbox.key(tenant)
    tidy(sandbox.database)
    with statements(sandbox) as seen:
        sandbox.services.events.list(tenant, target_id=key.id)
    [(sql, values)] = seen
    explain = "EXPLAIN QUERY PLAN" if sandbox.database.is_sqlite else "EXPLAIN"
    with sandbox.database.read(tenant.workspace_id) as tx:
        plan = tx.exec_driver_sql(f"{explain} {sql}", values).all()
    assert "events_by_target" in "\n".join(row[-1] for row in plan)


def test_hints(sandbox: SandboxInstallation) -> None:
    """The hints of several keys come in one read, without a neighbour's key; an empty list needs no read."""
    tenant, neighbour = sandbox.tenant(), sandbox.tenant()
    keys = [sandbox.key(tenant).key for _ in range(3)]
    theirs = sandbox.key(neighbour).key
    ids = [keys[0].id, keys[2].id, theirs.id]
    expected = {key.id: key.hint for key in (keys[0], keys[2])}
    with statements(sandbox) as seen:
        assert sandbox.services.keys.hints(tenant, ids) == expected
        assert len(seen) == 1
        assert sandbox.services.keys.hints(tenant, []) == {}
        assert len(seen) == 1
