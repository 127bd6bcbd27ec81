"""Key hygiene: which keys need a review, to the microsecond, and which never do."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.key_hygiene import HygieneFinding, has_finding, is_in_use
from keystead.domain.keys import ApiKey, KeyUse
from keystead.domain.policies import NO_POLICY, Policy, effective_policy
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.renewals import Renewal
from keystead.domain.scopes import FULL
from tests.support.clocks import NOON

DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
MAKER = Actor(PrincipalKind.MEMBER, "usr_1", "Ada")
KEY = ApiKey(
    KeyId("key_1"),
    WorkspaceId("ws_1"),
    "sync",
    "ks_…abcd",
    FULL,
    NOON,
    MAKER,
    expires_at=NOON + 9999 * DAY,
    last_use=KeyUse(NOON),
)


def key(**changed: Any) -> ApiKey:
    """Return a key without findings, except for `changed`."""
    return replace(KEY, **changed)


STRICT = effective_policy(Policy(90, renewal_allowed=False), NO_POLICY, NO_POLICY)


def habits(key: ApiKey, now: datetime = NOON) -> set[HygieneFinding]:
    """Return all findings of the key."""
    return {habit for habit in HygieneFinding if has_finding(key, habit, NO_POLICY, now)}


def test_a_good_key_has_no_findings() -> None:
    """A young key that is used and expires some day has no finding."""
    assert habits(KEY) == set()


@pytest.mark.parametrize(
    ("changed", "habit"),
    [
        ({"created_at": NOON - 30 * DAY, "last_use": None}, HygieneFinding.NEVER_USED),
        ({"last_use": KeyUse(NOON - 30 * DAY)}, HygieneFinding.UNUSED),
        ({"expires_at": NOON + 14 * DAY}, HygieneFinding.EXPIRING),
        ({"created_at": NOON - 365 * DAY}, HygieneFinding.OLD),
    ],
)
def test_each_finding_starts_at_its_time(changed: dict[str, Any], habit: HygieneFinding) -> None:
    """Each finding starts at its time, and not a microsecond before."""
    assert habits(key(**changed)) == {habit}
    assert habits(key(**changed), NOON - TICK) == set()


def test_a_key_without_end() -> None:
    """A key that never expires has a finding from the start."""
    assert habits(key(expires_at=None)) == {HygieneFinding.NEVER_EXPIRES}


def test_keys_outside_the_policy() -> None:
    """A key that lives longer than the policy allows, never expires against it, or renews itself against it."""
    for changed, is_outside in (
        ({"expires_at": NOON + 90 * DAY}, False),
        ({"expires_at": NOON + 90 * DAY + timedelta(seconds=1)}, True),
        ({"expires_at": None}, True),
        ({"expires_at": NOON + 40 * DAY, "renewal": Renewal(None)}, True),
    ):
        odd = key(**changed)
        assert has_finding(odd, HygieneFinding.OUTSIDE_POLICY, STRICT, NOON) is is_outside
        assert not has_finding(odd, HygieneFinding.OUTSIDE_POLICY, NO_POLICY, NOON)


def test_several_may_hold() -> None:
    """An old, unused key that never expires has several findings."""
    old = key(created_at=NOON - 400 * DAY, last_use=None, expires_at=None)
    assert habits(old) == {
        HygieneFinding.NEVER_USED,
        HygieneFinding.OLD,
        HygieneFinding.NEVER_EXPIRES,
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"revoked_at": NOON},
        {"expires_at": NOON},
        {"rotated_to": KeyId("key_2")},
    ],
)
def test_keys_that_end_by_themselves(changed: dict[str, Any]) -> None:
    """A key that has ended, or that is in its overlap, has no findings."""
    forgotten = key(created_at=NOON - 400 * DAY, last_use=None, expires_at=NOON + DAY)
    assert habits(forgotten)
    assert habits(replace(forgotten, **changed)) == set()


def test_in_use() -> None:
    """A key is in use for a day after its last use, unless it has ended."""
    assert is_in_use(KEY, NOON + DAY - TICK)
    assert not is_in_use(KEY, NOON + DAY)
    assert not is_in_use(key(last_use=None), NOON)
    assert not is_in_use(key(revoked_at=NOON), NOON)
    assert not is_in_use(key(expires_at=NOON), NOON)
