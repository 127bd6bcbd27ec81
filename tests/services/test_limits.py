"""The limit of active keys: the database keeps it under any number of concurrent requests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import cycle

import pytest

from keystead.domain.errors import LimitReached
from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyDraft, KeyStatus
from keystead.domain.principals import Principal
from keystead.services.key_issuer import CreatedKey
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, text_of

HOUR = timedelta(hours=1)
THREADS = 32


def _at_once(acts: list[Callable[[], CreatedKey]]) -> list[CreatedKey]:
    """Call all of them in 32 threads. Returns the results that the limit did not refuse."""

    def attempt(act: Callable[[], CreatedKey]) -> CreatedKey | None:
        try:
            return act()
        except LimitReached:
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        return [result for result in pool.map(attempt, acts) if result is not None]


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("room", [1, 10])
def test_exactly_as_many_as_the_limit(sandbox: SandboxInstallation, room: int) -> None:
    """Of 64 concurrent creations through two servers exactly the limit succeeds, and those keys verify (R39)."""
    tenant = sandbox.tenant(limit=room)
    servers = cycle([sandbox.installation, sandbox.another()])
    keys = _at_once(
        [
            lambda server=server: server.services.keys.create(tenant, KeyDraft("sync"))  # type: ignore[misc]
            for server, _ in zip(servers, range(2 * THREADS), strict=False)
        ]
    )
    assert len(keys) == room
    assert sorted(key.key.id for key in keys) == sorted(sandbox.ids(tenant))
    assert [sandbox.verdict(key) for key in keys] == ["verified"] * room
    assert sandbox.used(tenant) == room
    assert sandbox.happened(tenant) == ["key.created"] * room


def test_places_that_come_free_are_filled_once(sandbox: SandboxInstallation) -> None:
    """While creations, revocations and rotations race, the limit is never passed, and room is soon used."""
    tenant = sandbox.tenant(limit=6)
    keys = sandbox.services.keys
    first = [sandbox.key(tenant) for _ in range(6)]

    def revoke_and_create(id: KeyId) -> CreatedKey:
        keys.revoke(tenant, id)
        return keys.create(tenant, KeyDraft("next"))

    acts: list[Callable[[], CreatedKey]] = []
    for created in first[:3]:
        acts += [lambda id=created.key.id: revoke_and_create(id)] * 4  # type: ignore[misc]
    rotate = sandbox.services.rotations.rotate
    for created in first[3:]:
        acts.append(lambda id=created.key.id: rotate(tenant, id, overlap=HOUR))  # type: ignore[misc]
    acts += [lambda: keys.create(tenant, KeyDraft("more"))] * 12
    _at_once(acts)
    assert sandbox.used(tenant) == 6
    assert len(sandbox.ids(tenant, status=KeyStatus.ACTIVE)) == 9
    with pytest.raises(LimitReached):
        sandbox.key(tenant)


def test_workspaces_do_not_share_a_limit(sandbox: SandboxInstallation) -> None:
    """Another workspace's keys do not count (R58)."""
    one, other = sandbox.tenant(limit=2), sandbox.tenant(limit=2)
    _at_once([lambda tenant=tenant: sandbox.key(tenant) for tenant in [one, other] * 8])  # type: ignore[misc]
    assert (sandbox.used(one), sandbox.used(other)) == (2, 2)


def test_ended_keys_take_no_place(sandbox: SandboxInstallation) -> None:
    """A revocation frees its place immediately, an expiry at its time, and each frees one place (R40)."""
    tenant = sandbox.tenant(limit=2)
    one, _ = sandbox.key(tenant), sandbox.key(tenant, expires_at=NOON + HOUR)
    with pytest.raises(LimitReached):
        sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, one.key.id)
    sandbox.services.keys.revoke(tenant, one.key.id)
    sandbox.key(tenant)
    with pytest.raises(LimitReached):
        sandbox.key(tenant)
    sandbox.clock.set(NOON + HOUR - timedelta(microseconds=1))
    with pytest.raises(LimitReached):
        sandbox.key(tenant)
    sandbox.clock.advance(microseconds=1)
    sandbox.key(tenant)
    with pytest.raises(LimitReached):
        sandbox.key(tenant)


def test_a_lowered_limit_stops_creation_only(sandbox: SandboxInstallation) -> None:
    """Under a lowered limit every key works, and is changed, rotated and revoked; only creating is refused."""
    tenant = sandbox.tenant(limit=5)
    keys = [sandbox.key(tenant) for _ in range(5)]
    sandbox.limit(tenant, 2)
    assert [sandbox.verdict(key) for key in keys] == ["verified"] * 5
    successor = sandbox.services.rotations.rotate(tenant, keys[0].key.id)
    assert sandbox.verdict(successor) == "verified"
    overlapping = sandbox.services.rotations.rotate(tenant, keys[1].key.id, overlap=HOUR)
    assert (sandbox.verdict(keys[1]), sandbox.verdict(overlapping)) == ("verified", "verified")
    for ended in (successor, overlapping, keys[2]):
        with pytest.raises(LimitReached) as refused:
            sandbox.key(tenant)
        assert refused.value.limit == 2
        sandbox.services.keys.revoke(tenant, ended.key.id)
    with pytest.raises(LimitReached):
        sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, keys[3].key.id)
    sandbox.key(tenant)


def test_no_limit(sandbox: SandboxInstallation) -> None:
    """A plan without a limit refuses no key, and says so."""
    tenant = sandbox.tenant()
    for _ in range(30):
        sandbox.key(tenant)
    quota = sandbox.services.keys.list(tenant).quota
    assert (quota.limit, quota.used, quota.room) == (None, 30, None)


def test_no_room_at_all(sandbox: SandboxInstallation) -> None:
    """A limit of zero allows no key."""
    with pytest.raises(LimitReached) as refused:
        sandbox.key(sandbox.tenant(limit=0))
    assert refused.value.candidates == ()


def test_what_a_full_limit_offers(sandbox: SandboxInstallation) -> None:
    """A refusal names five keys that are safest to revoke: never used, oldest first, then longest unused."""
    tenant = sandbox.tenant(limit=7)
    used = [sandbox.key(tenant, f"used {n}") for n in range(4)]
    never = [sandbox.key(tenant, f"never {n}") for n in range(3)]
    for created in (used[2], used[0], used[3], used[1]):
        sandbox.clock.advance(HOUR)
        sandbox.services.verifier.verify(text_of(created))
    sandbox.services.usage.flush()
    with pytest.raises(LimitReached) as refused:
        sandbox.key(tenant)
    extras = refused.value.extras()
    assert (extras["limit"], extras["used"], extras["plan"]) == (7, 7, "Scale")
    assert [candidate["id"] for candidate in refused.value.candidates] == [
        key.key.id for key in (*never, used[2], used[0])
    ]
    assert [candidate["last_used_at"] for candidate in refused.value.candidates] == [
        None,
        None,
        None,
        "2026-11-23T13:00:00Z",
        "2026-11-23T14:00:00Z",
    ]


def test_only_what_frees_a_place_is_offered(sandbox: SandboxInstallation) -> None:
    """Keys that have ended, or are in an overlap, are not candidates: revoking them would free nothing."""
    tenant = sandbox.tenant(limit=2)
    rotated, revoked = sandbox.key(tenant), sandbox.key(tenant)
    expired = _replaced(sandbox, tenant, revoked)
    successor = sandbox.services.rotations.rotate(tenant, rotated.key.id, overlap=HOUR)
    sandbox.clock.advance(minutes=2)
    counted = sandbox.key(tenant)
    with pytest.raises(LimitReached) as refused:
        sandbox.key(tenant)
    ids = [candidate["id"] for candidate in refused.value.candidates]
    assert ids == [successor.key.id, counted.key.id]
    assert not {rotated.key.id, revoked.key.id, expired.key.id} & set(ids)


def _replaced(sandbox: SandboxInstallation, tenant: Principal, old: CreatedKey) -> CreatedKey:
    sandbox.services.keys.revoke(tenant, old.key.id)
    return sandbox.key(tenant, expires_at=NOON + timedelta(minutes=1))
