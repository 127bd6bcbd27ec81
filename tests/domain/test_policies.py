from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.errors import AgainstPolicy, Invalid
from keystead.domain.policies import (
    NO_POLICY,
    POLICY_NAMES,
    Policy,
    PolicyLayers,
    allows_end,
    effective_policy,
    named_end,
    omitted_end,
    renewed_end,
    require_renewal_allowed,
)
from tests.support.clocks import NOON

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
POLICIES = st.builds(
    Policy,
    st.none() | st.integers(1, 3650),
    st.none() | st.booleans(),
    st.none() | st.integers(1, 3650),
    st.none() | st.integers(30, 730),
    st.none() | st.booleans(),
)
ENDS = st.none() | st.integers(1, 10**9).map(lambda seconds: NOON + seconds * SECOND)


def _effective(
    longest: int | None = None,
    expires: bool | None = None,
    default: int | None = None,
    renewal: bool | None = None,
) -> Policy:
    layer = Policy(longest, expires, default, renewal_allowed=renewal)
    return effective_policy(layer, NO_POLICY, NO_POLICY)


# --- the layers ---


def test_nothing_said_allows_everything() -> None:
    """Three empty layers bound nothing: no expiry is required, and renewal is allowed."""
    assert PolicyLayers().effective == Policy(expiry_required=False, renewal_allowed=True)


@given(POLICIES, POLICIES, POLICIES)
def test_the_strictest_layer_holds(plan: Policy, operator: Policy, owner: Policy) -> None:
    """Days are the smallest, `expiry_required` is joined by OR, and `renewal_allowed` by AND, where null allows."""
    effective = effective_policy(plan, operator, owner)
    layers = (plan, operator, owner)

    def least(name: str) -> int | None:
        numbers = [number for layer in layers if (number := getattr(layer, name)) is not None]
        return min(numbers) if numbers else None

    longest, default = least("max_lifetime_days"), least("default_lifetime_days")
    assert effective.max_lifetime_days == longest
    assert effective.end_unused_days == least("end_unused_days")
    assert effective.renewal_allowed is (False not in [layer.renewal_allowed for layer in layers])
    required = True in [layer.expiry_required for layer in layers]
    assert effective.expiry_required is (required or longest is not None)
    if default is not None and longest is not None:
        assert effective.default_lifetime_days == min(default, longest)
    else:
        assert effective.default_lifetime_days == default


@given(POLICIES, POLICIES, POLICIES)
def test_no_layer_loosens_another(plan: Policy, operator: Policy, owner: Policy) -> None:
    """The order of the layers doesn't matter, and a further layer never allows an expiry that was refused."""
    effective = effective_policy(plan, operator, owner)
    assert effective == effective_policy(owner, plan, operator)
    without = effective_policy(plan, operator, NO_POLICY)
    for expires_at in (None, NOON + DAY, NOON + 400 * DAY, NOON + 3650 * DAY):
        assert allows_end(without, expires_at, NOON) or not allows_end(effective, expires_at, NOON)


# --- the members ---


@pytest.mark.parametrize(
    ("name", "least", "largest"),
    [
        ("max_lifetime_days", 1, 3650),
        ("default_lifetime_days", 1, 3650),
        ("end_unused_days", 30, 730),
    ],
)
def test_bounds_of_days(name: str, least: int, largest: int) -> None:
    """Days are 1-3650, those of disuse 30-730, whole numbers; null says nothing."""
    for value in (None, least, largest):
        assert getattr(Policy.of({name: value}), name) == value
    for wrong in (least - 1, largest + 1, 45.0, "45", True, 2**70):
        with pytest.raises(Invalid) as refused:
            Policy.of({name: wrong}, "/policy")
        assert [error.pointer for error in refused.value.errors] == [f"/policy/{name}"]


def test_members() -> None:
    """A policy has five members; both others are booleans, and an unknown one is refused with its place."""
    members = dict.fromkeys(POLICY_NAMES)
    assert Policy.of(members) == NO_POLICY
    assert NO_POLICY.members() == members
    assert Policy.of({"expiry_required": True, "renewal_allowed": False}).members() == members | {
        "expiry_required": True,
        "renewal_allowed": False,
    }
    with pytest.raises(Invalid) as refused:
        Policy.of({"expiry_required": 1, "renewal_allowed": "no", "days": 3})
    assert [error.pointer for error in refused.value.errors] == [
        "/expiry_required",
        "/renewal_allowed",
        "/days",
    ]


# --- an expiry that was named ---


@pytest.mark.parametrize("fraction", [timedelta(), timedelta(microseconds=999_999)])
def test_one_second_too_far(fraction: timedelta) -> None:
    """A named expiry may be the maximum after the creation, and not one second more."""
    policy, start = _effective(90), NOON + fraction
    assert named_end(policy, NOON + 90 * DAY, start) == NOON + 90 * DAY
    with pytest.raises(AgainstPolicy) as refused:
        named_end(policy, NOON + 90 * DAY + SECOND, start)
    assert refused.value.pointer == "/expires_at"
    assert refused.value.extras() == {
        "errors": [
            {
                "pointer": "/expires_at",
                "detail": "must be at most 90 days after the key's creation",
            }
        ],
        "pointer": "/expires_at",
        "policy": policy.members(),
    }


def test_never() -> None:
    """A key may be named to never expire unless an expiry is required, which a maximum implies."""
    assert named_end(_effective(default=30), None, NOON) is None
    for policy in (_effective(expires=True), _effective(90), _effective(90, expires=False)):
        with pytest.raises(AgainstPolicy):
            named_end(policy, None, NOON)
    assert named_end(_effective(expires=True), NOON + 9_999 * DAY, NOON) == NOON + 9_999 * DAY


# --- an expiry that was omitted ---


@given(POLICIES, st.lists(ENDS, max_size=2))
def test_what_is_omitted_is_clipped(layer: Policy, bounds: list[datetime | None]) -> None:
    """An omitted expiry is the earliest of the caller's, now + default, now + maximum; and is within the policy."""
    policy, now = (
        effective_policy(layer, NO_POLICY, NO_POLICY),
        NOON + timedelta(microseconds=700_000),
    )
    days = (layer.default_lifetime_days, layer.max_lifetime_days)
    ends = [
        *(NOON + number * DAY for number in days if number is not None),
        *(end for end in bounds if end is not None),
    ]
    refused = not ends and layer.expiry_required
    with pytest.raises(AgainstPolicy) if refused else nullcontext():
        chosen = omitted_end(policy, now, *bounds)
        assert chosen == min(ends, default=None)
        assert named_end(policy, chosen, now) == chosen


def test_an_expiry_that_nothing_gives() -> None:
    """If an expiry is required and nothing gives one, it must be named; the caller's expiry gives one."""
    policy = _effective(expires=True)
    with pytest.raises(AgainstPolicy) as refused:
        omitted_end(policy, NOON, None)
    assert refused.value.pointer == "/expires_at"
    assert omitted_end(policy, NOON, NOON + DAY) == NOON + DAY


# --- renewal ---


def test_a_renewed_key_keeps_its_lifetime() -> None:
    """A renewed key is clipped to the maximum and to what bounds it, but not to the default lifetime."""
    assert renewed_end(_effective(60, default=30), NOON, NOON + 90 * DAY) == NOON + 60 * DAY
    assert renewed_end(_effective(default=30), NOON, NOON + 90 * DAY) == NOON + 90 * DAY
    assert renewed_end(_effective(60), NOON, NOON + 90 * DAY, NOON + 5 * DAY) == NOON + 5 * DAY
    assert renewed_end(_effective(default=30), NOON, None) is None


def test_renewing_a_key_without_an_expiry() -> None:
    """If an expiry is required, a never-expiring key gets the maximum, else the default, else a refusal."""
    assert renewed_end(_effective(60, default=30), NOON, None) == NOON + 60 * DAY
    assert renewed_end(_effective(expires=True, default=30), NOON, None) == NOON + 30 * DAY
    with pytest.raises(AgainstPolicy):
        renewed_end(_effective(expires=True), NOON, None)


def test_whether_renewal_may_be_set() -> None:
    """Setting renewal is refused where the policy forbids it, with its place."""
    require_renewal_allowed(_effective())
    require_renewal_allowed(_effective(renewal=True))
    with pytest.raises(AgainstPolicy) as refused:
        require_renewal_allowed(_effective(renewal=False))
    assert refused.value.pointer == "/renewal"
