"""The count of the keys that count towards the limit: kept by the database, equal to counting them one by one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from keystead.domain.errors import KeysteadError, LimitReached
from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyPatch
from keystead.domain.principals import Principal
from keystead.domain.scopes import FULL
from keystead.domain.token import assemble
from keystead.storage.schema.tables import api_keys, key_counts
from keystead.storage.tables.key_counts import SETTLED_AT, count_keys
from keystead.storage.tables.plans import room_for_key
from tests.support.administrator import read_behind, write_behind
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation

HOUR = timedelta(hours=1)
MANY = SETTLED_AT + 5


def _counted(sandbox: SandboxInstallation, tenant: Principal, now: datetime) -> int:
    with sandbox.database.read(tenant.workspace_id) as tx:
        return count_keys(tx, tenant.workspace_id, now)


def _check(sandbox: SandboxInstallation, tenant: Principal) -> None:
    """Check that the count is right now, and at times before and after."""
    keys, now = sandbox.keys(tenant, limit=200), sandbox.clock.now()
    moves = (-3 * HOUR, timedelta(), timedelta(microseconds=1), 3 * HOUR)
    with sandbox.database.read(tenant.workspace_id) as tx:
        counted = [count_keys(tx, tenant.workspace_id, now + move) for move in moves]
    assert counted == [sum(key.counts(now + move) for key in keys) for move in moves]


def _row(workspace_id: str, number: int, **chosen: Any) -> dict[str, Any]:
    """Return a key as a server of any version writes it."""
    return {
        "id": assemble("ks", number, bytes(32)).key_id,
        "workspace_id": workspace_id,
        "description": "x",
        "folded_description": "x",
        "hint": "ks_…abcd",
        "pepper_id": "p1",
        "digest": bytes(32),
        "scopes": FULL,
        "created_at": NOON,
        "created_by_kind": "operator",
        "created_by_id": "tests",
        "created_by_name": "tests",
        "expires_at": None,
        "revoked_at": None,
    } | chosen


@pytest.fixture
def tenant(sandbox: SandboxInstallation) -> Iterator[Principal]:
    """A workspace of the test's own."""
    yield sandbox.tenant()
    sandbox.clock.set(NOON)


ACTS = st.tuples(
    st.sampled_from(("create", "revoke", "rotate", "replace", "extend", "settle", "remove")),
    st.integers(0, 9),
    st.integers(-4, 4),
)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(ACTS, max_size=15))
def test_the_count_is_that_of_the_keys(
    sandbox: SandboxInstallation, acts: list[tuple[str, int, int]]
) -> None:
    """The stored count equals the number of keys that count, after any change of keys or clock (R40)."""
    tenant = sandbox.tenant()
    sandbox.clock.set(NOON)
    keys: list[KeyId] = []
    for name, place, hours in acts:
        _do(sandbox, tenant, keys, name, place)
        sandbox.clock.advance(hours * HOUR)
        _check(sandbox, tenant)


def _do(
    sandbox: SandboxInstallation, tenant: Principal, created: list[KeyId], name: str, place: int
) -> None:
    keys, now = sandbox.services.keys, sandbox.clock.now()
    ends = None if place % 3 == 0 else now + place * HOUR
    if name == "create":
        created.append(sandbox.key(tenant, expires_at=ends).key.id)
    elif name == "settle":
        _settle(sandbox, tenant)
    elif created:
        key_id = created[place % len(created)]
        try:
            if name == "revoke":
                keys.revoke(tenant, key_id)
            elif name == "extend":
                keys.update(tenant, key_id, KeyPatch(expires_at=ends))
            elif name == "remove":
                _remove(sandbox, tenant, created, key_id)
            else:
                overlap = HOUR if name == "rotate" else timedelta()
                created.append(
                    sandbox.services.rotations.rotate(tenant, key_id, overlap=overlap).key.id
                )
        except KeysteadError:
            pass


def _settle(sandbox: SandboxInstallation, tenant: Principal) -> None:
    """Write the count down as of now, as if many keys had expired."""
    now = sandbox.clock.now()
    with sandbox.database.write(tenant.workspace_id) as tx:
        counted = count_keys(tx, tenant.workspace_id, now)
        mine = update(key_counts).where(key_counts.c.workspace_id == tenant.workspace_id)
        tx.execute(mine.values(counted=counted, at=now))


def _remove(
    sandbox: SandboxInstallation, tenant: Principal, keys: list[KeyId], key_id: KeyId
) -> None:
    """Delete a key's row: no use case does, but the count would follow."""
    with write_behind(sandbox.database) as tx:
        tx.execute(update(api_keys).where(api_keys.c.rotated_to == key_id).values(rotated_to=None))
        tx.execute(delete(api_keys).where(api_keys.c.id == key_id))
    keys.remove(key_id)


def test_servers_of_an_older_version_are_counted(
    sandbox: SandboxInstallation, tenant: Principal
) -> None:
    """A server that does not know the count creates and revokes keys, and this one's limit holds next to it (R94)."""
    sandbox.limit(tenant, 2)
    with sandbox.database.write(tenant.workspace_id) as tx:
        tx.execute(insert(api_keys), [_row(tenant.workspace_id, 1), _row(tenant.workspace_id, 2)])
    with pytest.raises(LimitReached):
        sandbox.key(tenant)
    with sandbox.database.write(tenant.workspace_id) as tx:
        statement = update(api_keys).where(api_keys.c.id == _row(tenant.workspace_id, 1)["id"])
        tx.execute(statement.values(revoked_at=NOON))
    sandbox.key(tenant)
    with pytest.raises(LimitReached):
        sandbox.key(tenant)


@pytest.mark.parametrize("hours", [1, 2, 3])
def test_a_clock_that_is_set_back(
    sandbox: SandboxInstallation, tenant: Principal, hours: int
) -> None:
    """Keys created, given another end and revoked before the time of the stored count are counted correctly."""
    sandbox.key(tenant)
    sandbox.clock.advance(2 * HOUR)
    _settle(sandbox, tenant)
    sandbox.clock.set(NOON)
    key = sandbox.key(tenant, expires_at=NOON + HOUR * hours).key
    _check(sandbox, tenant)
    for other in (1, 2, 3):
        ends = NOON + HOUR * other
        sandbox.services.keys.update(tenant, key.id, KeyPatch(expires_at=ends))
        _check(sandbox, tenant)
    sandbox.services.keys.update(tenant, key.id, KeyPatch(expires_at=NOON + HOUR * hours))
    sandbox.services.keys.revoke(tenant, key.id)
    _check(sandbox, tenant)


def test_what_expired_is_read_once(sandbox: SandboxInstallation, tenant: Principal) -> None:
    """If many keys have expired, the next creation stores the count, and it is right before and after."""
    rows = [
        _row(tenant.workspace_id, number, expires_at=NOON + HOUR)
        for number in range(100, 100 + MANY)
    ]
    with sandbox.database.write(tenant.workspace_id) as tx:
        tx.execute(insert(api_keys), rows)
    assert _counted(sandbox, tenant, NOON) == MANY
    now = sandbox.clock.advance(2 * HOUR)
    assert _counted(sandbox, tenant, now) == 0
    sandbox.key(tenant)
    with read_behind(sandbox.database) as tx:
        written = select(key_counts.c.counted, key_counts.c.at)
        mine = written.where(key_counts.c.workspace_id == tenant.workspace_id)
        assert tuple(tx.execute(mine).one()) == (1, now)
    assert _counted(sandbox, tenant, now) == 1
    assert _counted(sandbox, tenant, NOON) == MANY + 1


def test_a_workspace_without_keys(sandbox: SandboxInstallation, tenant: Principal) -> None:
    """Without any key there is nothing to count, and nothing to store."""
    with sandbox.database.write(tenant.workspace_id) as tx:
        assert count_keys(tx, tenant.workspace_id, NOON) == 0
        room = room_for_key(tx, tenant.workspace_id, NOON)
        assert (room.used, room.newest) == (0, None)
