from __future__ import annotations

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.errors import LimitReached
from keystead.domain.plans import (
    DEFAULT_PLANS,
    LIMIT_LABELS,
    LIMIT_NAMES,
    Limits,
    Plan,
    Quota,
    require_room,
)

PLAN = Plan("free", "Free", Limits(api_keys=5))
COUNTS = st.integers(0, 20)


@given(st.none() | COUNTS, COUNTS, COUNTS)
def test_room(limit: int | None, used: int, added: int) -> None:
    """There is room exactly if use and addition together are within the limit; without a limit always."""
    quota = Quota(limit, used)
    fits = limit is None or used + added <= limit
    with nullcontext() if fits else pytest.raises(LimitReached) as refused:
        require_room("api_keys", quota, PLAN, added)
    if refused is not None:
        full = refused.value
        assert (full.limit, full.used, full.plan) == (limit, used, "Free")
    assert quota.room is None if limit is None else quota.room == max(0, limit - used)


def test_a_full_limit_says_what_helps() -> None:
    """The refusal has limit, use, plan, candidates and the link to the plans, as plain JSON values."""
    with pytest.raises(LimitReached) as refused:
        require_room("api_keys", Quota(5, 5), PLAN, plans_url="https://example.com/plans")
    assert refused.value.extras() == {
        "limit": 5,
        "used": 5,
        "plan": "Free",
        "candidates": [],
        "plans_url": "https://example.com/plans",
    }
    assert refused.value.detail == "The plan Free allows 5 active API keys; 5 are in use."


def test_default_plans() -> None:
    """A fresh installation has Free with 5 active keys, Team, and Scale without limits, in that order."""
    assert [plan.id for plan in DEFAULT_PLANS] == ["free", "team", "scale"]
    assert [plan.limits.api_keys for plan in DEFAULT_PLANS] == [5, 50, None]
    assert DEFAULT_PLANS[2].limits == Limits()
    assert [plan.position for plan in DEFAULT_PLANS] == [0, 1, 2]


def test_every_limit_has_words() -> None:
    """Every limit has a label for people."""
    assert set(LIMIT_NAMES) <= set(LIMIT_LABELS)


@pytest.mark.parametrize("number", [-1, 1.5, True, "5", 10**13])
def test_bad_limits(number: object) -> None:
    """A limit is a count or unlimited: no fraction, no boolean, no text, nothing negative."""
    with pytest.raises(ValueError, match="limit api_keys"):
        Limits.of({"api_keys": number})  # type: ignore[dict-item]


def test_unknown_limits() -> None:
    """A limit that does not exist is refused by name."""
    with pytest.raises(ValueError, match="unknown limit 'keys'"):
        Limits.of({"keys": 1})


def test_overrides() -> None:
    """A workspace's own limits replace its plan's, unlimited included; the others stay."""
    limits = Limits(5, 3, 1000, 1, 3).overridden({"api_keys": 7, "documents": None})
    assert limits == Limits(7, 3, None, 1, 3)
    assert limits.get("api_keys") == 7
