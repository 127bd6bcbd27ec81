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
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, text_of

HOUR = timedelta(hours=1)


def test_without_overlap(sandbox: SandboxInstallation) -> None:
    """Without an overlap the old key ends when its successor is created; the event refers to both."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant, "sync", scopes=["documents:read"])
    new = sandbox.services.rotations.rotate(tenant, old.key.id)
    assert (sandbox.verdict(old), sandbox.verdict(new)) == ("revoked", "verified")
    assert (new.key.description, new.key.scopes) == ("sync", old.key.scopes)
    assert text_of(new) != text_of(old)
    key = sandbox.services.keys.get(tenant, old.key.id)
    assert (key.rotated_to, key.revoked_at) == (new.key.id, NOON)


def test_with_overlap(sandbox: SandboxInstallation) -> None:
    """In an overlap both keys work, until exactly its end."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant)
    new = sandbox.services.rotations.rotate(tenant, old.key.id, overlap=HOUR)
    assert (sandbox.verdict(old), sandbox.verdict(new)) == ("verified", "verified")
    sandbox.clock.set(NOON + HOUR - timedelta(microseconds=1))
    assert sandbox.verdict(old) == "verified"
    sandbox.clock.advance(microseconds=1)
    assert (sandbox.verdict(old), sandbox.verdict(new)) == ("expired", "verified")


def test_one_event(sandbox: SandboxInstallation) -> None:
    """A rotation is one event, which names the successor and the overlap."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant)
    new = sandbox.services.rotations.rotate(tenant, old.key.id, overlap=HOUR)
    assert sandbox.happened(tenant) == ["key.created", "key.rotated"]
    event = sandbox.events(tenant)[-1]
    assert event.target.id == old.key.id
    assert (event.data["rotated_to"], event.data["overlap_seconds"]) == (new.key.id, 3600)


def test_the_own_expiry_comes_first(sandbox: SandboxInstallation) -> None:
    """An overlap never makes the old key live longer than it would have."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant, expires_at=NOON + timedelta(minutes=5))
    sandbox.services.rotations.rotate(tenant, old.key.id, overlap=HOUR)
    assert sandbox.services.keys.get(tenant, old.key.id).expires_at == NOON + timedelta(minutes=5)


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
    sandbox: SandboxInstallation, chosen: dict[str, Any], expected: datetime | None
) -> None:
    """By default a successor lives as long, from now, as its predecessor was meant to."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant, expires_at=NOON + 2 * HOUR)
    sandbox.clock.advance(HOUR)
    new = sandbox.services.rotations.rotate(tenant, old.key.id, overlap=HOUR, **chosen)
    assert new.key.expires_at == expected


def test_at_the_limit(sandbox: SandboxInstallation) -> None:
    """Rotation works at the limit, with and without overlap, and the overlap takes no place."""
    tenant = sandbox.tenant(limit=2)
    one, other = sandbox.key(tenant), sandbox.key(tenant)
    sandbox.services.rotations.rotate(tenant, one.key.id)
    sandbox.services.rotations.rotate(tenant, other.key.id, overlap=HOUR)
    assert sandbox.used(tenant) == 2
    with pytest.raises(LimitReached):
        sandbox.key(tenant)


def test_no_chains(sandbox: SandboxInstallation) -> None:
    """A rotated key is not rotated again, and its successor only after the overlap has ended or was ended."""
    tenant = sandbox.tenant()
    rotate = sandbox.services.rotations.rotate
    old = sandbox.key(tenant)
    new = rotate(tenant, old.key.id, overlap=HOUR)
    for overlap in (timedelta(), HOUR):
        for id in (old.key.id, new.key.id):
            with pytest.raises(RotationInProgress):
                rotate(tenant, id, overlap=overlap)
    sandbox.clock.advance(HOUR)
    newer = rotate(tenant, new.key.id, overlap=HOUR)
    sandbox.services.keys.revoke(tenant, new.key.id)
    rotate(tenant, newer.key.id)
    assert len(sandbox.ids(tenant)) == 4


def test_at_most_twice_the_limit(sandbox: SandboxInstallation) -> None:
    """Revoking successors during overlaps makes no room for more overlaps: of 3 allowed, at most 6 keys are active."""
    tenant = sandbox.tenant(limit=3)
    keys = [sandbox.key(tenant) for _ in range(3)]
    lives = []
    for _ in range(4):
        for place, old in enumerate(keys):
            try:
                new = sandbox.services.rotations.rotate(tenant, old.key.id, overlap=24 * HOUR)
            except (LimitReached, RotationInProgress):
                continue
            sandbox.services.keys.revoke(tenant, new.key.id)
            keys[place] = sandbox.key(tenant)
        lives.append(len(sandbox.ids(tenant, status=KeyStatus.ACTIVE)))
    assert max(lives) == 6
    assert sandbox.used(tenant) == 3


def test_under_a_lowered_limit_every_key_may_rotate(sandbox: SandboxInstallation) -> None:
    """If more keys are active than a lowered limit allows, each may still have a successor and an overlap."""
    tenant = sandbox.tenant(limit=3)
    keys = [sandbox.key(tenant) for _ in range(3)]
    sandbox.limit(tenant, 1)
    for old in keys:
        sandbox.services.rotations.rotate(tenant, old.key.id, overlap=HOUR)
    assert len(sandbox.ids(tenant, status=KeyStatus.ACTIVE)) == 6


def test_a_full_overlap_says_so(sandbox: SandboxInstallation) -> None:
    """Without room for another overlap, a rotation without one still works."""
    tenant = sandbox.tenant(limit=1)
    new = sandbox.services.rotations.rotate(tenant, sandbox.key(tenant).key.id, overlap=HOUR)
    sandbox.services.keys.revoke(tenant, new.key.id)
    second = sandbox.key(tenant)
    with pytest.raises(LimitReached, match="overlap"):
        sandbox.services.rotations.rotate(tenant, second.key.id, overlap=HOUR)
    sandbox.services.rotations.rotate(tenant, second.key.id)
    assert sandbox.used(tenant) == 1


def test_an_overlap_is_ended_at_will(sandbox: SandboxInstallation) -> None:
    """A key in its overlap can be revoked, narrowed and shortened, and not prolonged."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant, scopes=["documents:read", "documents:write"])
    sandbox.services.rotations.rotate(tenant, old.key.id, overlap=HOUR)
    update = sandbox.services.keys.update
    update(tenant, old.key.id, KeyPatch(scopes=["documents:read"]))
    update(tenant, old.key.id, KeyPatch(expires_at=NOON + HOUR / 2))
    for later in (NOON + HOUR, None):
        with pytest.raises(RotationInProgress):
            update(tenant, old.key.id, KeyPatch(expires_at=later))
    sandbox.services.keys.revoke(tenant, old.key.id)
    assert sandbox.verdict(old) == "revoked"


def test_ended_keys_are_not_rotated(sandbox: SandboxInstallation) -> None:
    """A revoked or expired key has no successor (R33)."""
    tenant = sandbox.tenant()
    revoked, expired = sandbox.key(tenant), sandbox.key(tenant, expires_at=NOON + HOUR)
    sandbox.services.keys.revoke(tenant, revoked.key.id)
    sandbox.clock.advance(HOUR)
    for id, refusal in ((revoked.key.id, KeyRevoked), (expired.key.id, KeyExpired)):
        with pytest.raises(refusal):
            sandbox.services.rotations.rotate(tenant, id)
    assert len(sandbox.ids(tenant)) == 2


def test_a_refused_rotation_changes_nothing(sandbox: SandboxInstallation) -> None:
    """An impossible overlap or expiry leaves the key as it was."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant)
    for overlap, expires_at in ((timedelta(days=8), None), (-HOUR, None), (HOUR, NOON)):
        with pytest.raises(Invalid):
            sandbox.services.rotations.rotate(
                tenant, old.key.id, overlap=overlap, expires_at=expires_at
            )
    assert sandbox.services.keys.get(tenant, old.key.id) == old.key
    assert sandbox.happened(tenant) == ["key.created"]


@pytest.mark.parametrize("overlap", [timedelta(), HOUR], ids=["no overlap", "overlap"])
def test_one_successor(sandbox: SandboxInstallation, overlap: timedelta) -> None:
    """Of 16 concurrent rotations of one key, one creates a successor."""
    tenant = sandbox.tenant(limit=1)
    old = sandbox.key(tenant)

    def rotate(_: int) -> str:
        try:
            return str(
                sandbox.services.rotations.rotate(tenant, old.key.id, overlap=overlap).key.id
            )
        except KeysteadError as refused:
            return refused.code

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(rotate, range(16)))
    refusal = "rotation-in-progress" if overlap else "key-revoked"
    assert outcomes.count(refusal) == 15
    assert len(sandbox.ids(tenant)) == 2
