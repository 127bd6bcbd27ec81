"""Rotation: a successor takes over, with an overlap or without, and never makes room for more keys than promised."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from keystead.domain.errors import (
    Invalid,
    KeyExpired,
    KeyRevoked,
    KeysteadError,
    LimitReached,
    RotationInProgress,
)
from keystead.domain.keys import KeyPatch, KeyStatus
from tests.clocks import NOON
from tests.installations import Ground, text_of

HOUR = timedelta(hours=1)


def test_without_overlap(ground: Ground) -> None:
    """Without an overlap the old key is dead when its successor is born; the record ties them together."""
    tenant = ground.tenant()
    old = ground.key(tenant, "sync", scopes=["documents:read"])
    new = ground.services.keys.rotate(tenant, old.key.id)
    assert (ground.verdict(old), ground.verdict(new)) == ("revoked", "verified")
    assert (new.key.description, new.key.scopes) == ("sync", old.key.scopes)
    assert text_of(new) != text_of(old)
    kept = ground.services.keys.get(tenant, old.key.id)
    assert (kept.rotated_to, kept.revoked_at) == (new.key.id, NOON)


def test_with_overlap(ground: Ground) -> None:
    """In an overlap both keys work, until the very instant at which it ends."""
    tenant = ground.tenant()
    old = ground.key(tenant)
    new = ground.services.keys.rotate(tenant, old.key.id, overlap=HOUR)
    assert (ground.verdict(old), ground.verdict(new)) == ("verified", "verified")
    ground.clock.set(NOON + HOUR - timedelta(microseconds=1))
    assert ground.verdict(old) == "verified"
    ground.clock.advance(microseconds=1)
    assert (ground.verdict(old), ground.verdict(new)) == ("expired", "verified")


def test_one_event(ground: Ground) -> None:
    """A rotation is one event, which names the successor and the overlap."""
    tenant = ground.tenant()
    old = ground.key(tenant)
    new = ground.services.keys.rotate(tenant, old.key.id, overlap=HOUR)
    assert ground.happened(tenant) == ["key.created", "key.rotated"]
    event = ground.events(tenant)[-1]
    assert event.target.id == old.key.id
    assert (event.data["rotated_to"], event.data["overlap_seconds"]) == (new.key.id, 3600)


def test_the_own_expiry_comes_first(ground: Ground) -> None:
    """An overlap never makes the old key live longer than it would have."""
    tenant = ground.tenant()
    old = ground.key(tenant, expires_at=NOON + timedelta(minutes=5))
    ground.services.keys.rotate(tenant, old.key.id, overlap=HOUR)
    assert ground.services.keys.get(tenant, old.key.id).expires_at == NOON + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, NOON + 3 * HOUR),
        ({"expires_at": NOON + 9 * HOUR}, NOON + 9 * HOUR),
        ({"expires_at": None}, None),
    ],
    ids=["same lifetime", "chosen", "never"],
)
def test_the_successors_expiry(
    ground: Ground, chosen: dict[str, Any], expected: datetime | None
) -> None:
    """By default a successor lives as long, from now, as its predecessor was meant to."""
    tenant = ground.tenant()
    old = ground.key(tenant, expires_at=NOON + 2 * HOUR)
    ground.clock.advance(HOUR)
    new = ground.services.keys.rotate(tenant, old.key.id, overlap=HOUR, **chosen)
    assert new.key.expires_at == expected


def test_at_the_limit(ground: Ground) -> None:
    """Rotation works at the limit, with and without overlap, and the overlap takes no place."""
    tenant = ground.tenant(limit=2)
    one, other = ground.key(tenant), ground.key(tenant)
    ground.services.keys.rotate(tenant, one.key.id)
    ground.services.keys.rotate(tenant, other.key.id, overlap=HOUR)
    assert ground.used(tenant) == 2
    with pytest.raises(LimitReached):
        ground.key(tenant)


def test_no_chains(ground: Ground) -> None:
    """A key that was rotated is not rotated again, and its successor not before the overlap has ended or was ended."""
    tenant = ground.tenant()
    rotate = ground.services.keys.rotate
    old = ground.key(tenant)
    new = rotate(tenant, old.key.id, overlap=HOUR)
    for overlap in (timedelta(), HOUR):
        for id in (old.key.id, new.key.id):
            with pytest.raises(RotationInProgress):
                rotate(tenant, id, overlap=overlap)
    ground.clock.advance(HOUR)
    newer = rotate(tenant, new.key.id, overlap=HOUR)
    ground.services.keys.revoke(tenant, new.key.id)
    rotate(tenant, newer.key.id)
    assert len(ground.ids(tenant)) == 4


def test_at_most_twice_the_limit(ground: Ground) -> None:
    """Successors revoked during overlaps make no room for ever more overlaps: of 3 allowed, at most 6 keys live."""
    tenant = ground.tenant(limit=3)
    made = [ground.key(tenant) for _ in range(3)]
    lives = []
    for _ in range(4):
        for place, old in enumerate(made):
            try:
                new = ground.services.keys.rotate(tenant, old.key.id, overlap=24 * HOUR)
            except (LimitReached, RotationInProgress):
                continue
            ground.services.keys.revoke(tenant, new.key.id)
            made[place] = ground.key(tenant)
        lives.append(len(ground.ids(tenant, status=KeyStatus.ACTIVE)))
    assert max(lives) == 6
    assert ground.used(tenant) == 3


def test_under_a_lowered_limit_every_key_may_rotate(ground: Ground) -> None:
    """Where more keys live than a lowered limit allows, each of them may still have a successor and an overlap."""
    tenant = ground.tenant(limit=3)
    made = [ground.key(tenant) for _ in range(3)]
    ground.limit(tenant, 1)
    for old in made:
        ground.services.keys.rotate(tenant, old.key.id, overlap=HOUR)
    assert len(ground.ids(tenant, status=KeyStatus.ACTIVE)) == 6


def test_a_full_overlap_says_so(ground: Ground) -> None:
    """Without room for another overlap, a rotation without one still works."""
    tenant = ground.tenant(limit=1)
    new = ground.services.keys.rotate(tenant, ground.key(tenant).key.id, overlap=HOUR)
    ground.services.keys.revoke(tenant, new.key.id)
    second = ground.key(tenant)
    with pytest.raises(LimitReached, match="overlap"):
        ground.services.keys.rotate(tenant, second.key.id, overlap=HOUR)
    ground.services.keys.rotate(tenant, second.key.id)
    assert ground.used(tenant) == 1


def test_an_overlap_is_ended_at_will(ground: Ground) -> None:
    """A key in its overlap can be revoked, narrowed and shortened, and not prolonged."""
    tenant = ground.tenant()
    old = ground.key(tenant, scopes=["documents:read", "documents:write"])
    ground.services.keys.rotate(tenant, old.key.id, overlap=HOUR)
    update = ground.services.keys.update
    update(tenant, old.key.id, KeyPatch(scopes=["documents:read"]))
    update(tenant, old.key.id, KeyPatch(expires_at=NOON + HOUR / 2))
    for later in (NOON + HOUR, None):
        with pytest.raises(RotationInProgress):
            update(tenant, old.key.id, KeyPatch(expires_at=later))
    ground.services.keys.revoke(tenant, old.key.id)
    assert ground.verdict(old) == "revoked"


def test_ended_keys_are_not_rotated(ground: Ground) -> None:
    """A revoked or expired key has no successor (R33)."""
    tenant = ground.tenant()
    revoked, expired = ground.key(tenant), ground.key(tenant, expires_at=NOON + HOUR)
    ground.services.keys.revoke(tenant, revoked.key.id)
    ground.clock.advance(HOUR)
    for id, refusal in ((revoked.key.id, KeyRevoked), (expired.key.id, KeyExpired)):
        with pytest.raises(refusal):
            ground.services.keys.rotate(tenant, id)
    assert len(ground.ids(tenant)) == 2


def test_a_refused_rotation_changes_nothing(ground: Ground) -> None:
    """An overlap or an expiry that cannot be leaves the key as it was."""
    tenant = ground.tenant()
    old = ground.key(tenant)
    for overlap, expires_at in ((timedelta(days=8), None), (-HOUR, None), (HOUR, NOON)):
        with pytest.raises(Invalid):
            ground.services.keys.rotate(tenant, old.key.id, overlap=overlap, expires_at=expires_at)
    assert ground.services.keys.get(tenant, old.key.id) == old.key
    assert ground.happened(tenant) == ["key.created"]


@pytest.mark.parametrize("overlap", [timedelta(), HOUR], ids=["no overlap", "overlap"])
def test_one_successor(ground: Ground, overlap: timedelta) -> None:
    """Of 16 concurrent rotations of one key, one creates a successor."""
    tenant = ground.tenant(limit=1)
    old = ground.key(tenant)

    def rotate(_: int) -> str:
        try:
            return str(ground.services.keys.rotate(tenant, old.key.id, overlap=overlap).key.id)
        except KeysteadError as refused:
            return refused.code

    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(rotate, range(16)))
    refusal = "rotation-in-progress" if overlap else "key-revoked"
    assert told.count(refusal) == 15
    assert len(ground.ids(tenant)) == 2
