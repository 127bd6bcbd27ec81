"""Throttling: how many wrong passwords are checked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keystead.domain.throttle import (
    ACCOUNT,
    ADDRESS,
    CLOCK_SLACK,
    DEVICE,
    NO_FAILURES,
    SESSION,
    BackoffPolicy,
    ThrottleState,
    WindowLimit,
    account_subject,
    address_subject,
    count_failure,
    count_in_window,
    decide,
    wait_after,
)
from tests.support.clocks import NOON

ALL = [ACCOUNT, ADDRESS, DEVICE, SESSION]
SECOND = timedelta(seconds=1)


def _guess_for(
    allowance: BackoffPolicy, time: timedelta, pause: timedelta
) -> tuple[int, ThrottleState]:
    """Return how many guesses are checked if one is sent after every `pause`."""
    failures, looked_at, now = NO_FAILURES, 0, NOON
    while now < NOON + time:
        if decide(failures, allowance, now).allowed:
            failures, looked_at = count_failure(failures, allowance, now), looked_at + 1
        now += pause
    return looked_at, failures


@pytest.mark.parametrize("allowance", ALL)
def test_a_few_mistakes_cost_nothing(allowance: BackoffPolicy) -> None:
    """The first failures cause no wait; the next one does, as long as it says."""
    failures = NO_FAILURES
    for _ in range(allowance.free):
        assert decide(failures, allowance, NOON).allowed
        failures = count_failure(failures, allowance, NOON)
    verdict = decide(failures, allowance, NOON)
    assert (verdict.allowed, verdict.wait) == (False, allowance.first)
    assert decide(failures, allowance, NOON + allowance.first).allowed


@pytest.mark.parametrize("allowance", ALL)
def test_waits_grow_to_a_bound(allowance: BackoffPolicy) -> None:
    """Each further failure doubles the wait, up to the longest, however many there are."""
    waits = [wait_after(count, allowance) for count in range(allowance.free, allowance.free + 50)]
    assert waits[:3] == [allowance.first, 2 * allowance.first, 4 * allowance.first]
    assert waits == sorted(waits)
    assert waits[-1] == wait_after(10**9, allowance) == allowance.longest


def test_a_storm_on_one_account() -> None:
    """Only the free ones of a thousand guesses within a second are checked."""
    looked_at, _ = _guess_for(ACCOUNT, SECOND, timedelta(milliseconds=1))
    assert looked_at == ACCOUNT.free


def test_a_patient_attacker() -> None:
    """In a year of guesses, a hundred are checked, and no more until the owner signs in."""
    looked_at, failures = _guess_for(ACCOUNT, timedelta(days=365), timedelta(hours=1))
    assert looked_at == 100
    verdict = decide(failures, ACCOUNT, NOON + timedelta(days=10_000))
    assert (verdict.allowed, verdict.wait) == (False, None)


def test_it_takes_days_to_use_up_an_account() -> None:
    """With the growing wait a hundred guesses last at least three days: time to notice."""
    looked_at, _ = _guess_for(ACCOUNT, timedelta(days=3), timedelta(seconds=10))
    assert looked_at < 100


def test_an_address_is_slowed_and_never_closed() -> None:
    """One address can make a few hundred guesses a day on any accounts, and is never locked out permanently."""
    looked_at, failures = _guess_for(ADDRESS, timedelta(days=1), timedelta(seconds=10))
    assert looked_at < 250
    assert decide(failures, ADDRESS, NOON + timedelta(days=1) + ADDRESS.longest).allowed


def test_an_address_is_forgiven() -> None:
    """After two hours without a failure the count of an address restarts, to the microsecond."""
    failures = ThrottleState(1000, NOON)
    assert ADDRESS.forget_after is not None
    before = NOON + ADDRESS.forget_after - timedelta(microseconds=1)
    assert count_failure(failures, ADDRESS, before).count == 1001
    assert count_failure(failures, ADDRESS, NOON + ADDRESS.forget_after).count == 1


@pytest.mark.parametrize(("allowance", "most"), [(ACCOUNT, 100), (DEVICE, 20), (SESSION, 10)])
def test_at_most(allowance: BackoffPolicy, most: int) -> None:
    """The last allowed failure is allowed, the next one never."""
    later = NOON + timedelta(days=1)
    assert decide(ThrottleState(most - 1, NOON), allowance, later).allowed
    assert not decide(ThrottleState(most, NOON), allowance, later).allowed


def test_all_together_stay_below_the_bound() -> None:
    """A stolen device adds a few guesses to the strangers' hundred, not a second hundred."""
    assert ACCOUNT.most == 100
    assert DEVICE.most is not None
    assert DEVICE.most <= 20


@pytest.mark.parametrize("ahead", [timedelta(), CLOCK_SLACK])
def test_servers_that_differ_a_little(ahead: timedelta) -> None:
    """A failure that another server recorded with a clock slightly ahead counts in full."""
    assert not decide(ThrottleState(50, NOON + ahead), ACCOUNT, NOON).allowed


def test_a_clock_that_was_set_back() -> None:
    """After the clock jumped ahead by an hour and back, waits do not last that hour."""
    jumped = ThrottleState(50, NOON + timedelta(hours=1))
    assert decide(jumped, ADDRESS, NOON).allowed


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        (None, "not an address", True),
        (None, "192.0.2.1", False),
    ],
)
def test_who_counts_as_one_address(one: str | None, other: str, same: bool) -> None:
    """An IPv4 address in any notation, an IPv6 /64, and one subject for all invalid addresses."""
    assert (address_subject(one) == address_subject(other)) == same


def test_an_account_is_not_readable() -> None:
    """A typed email is not stored: it may have been a password."""
    assert "ada" not in account_subject("ada@example.com")
    assert account_subject("ada@example.com") != account_subject("bo@example.com")


def test_a_pace_holds_in_each_window() -> None:
    """A window begins with its first action and has a maximum; after its end, another one begins."""
    pace, seen = WindowLimit(3, timedelta(minutes=1)), NO_FAILURES
    for number in range(3):
        step = count_in_window(seen, pace, NOON + number * SECOND)
        assert isinstance(step, ThrottleState)
        seen = step
    assert seen == ThrottleState(3, NOON)
    assert count_in_window(seen, pace, NOON + 10 * SECOND) == 50 * SECOND
    assert count_in_window(seen, pace, NOON + 59 * SECOND) == SECOND
    assert count_in_window(seen, pace, NOON + 60 * SECOND) == ThrottleState(1, NOON + 60 * SECOND)


def test_a_clock_that_was_set_back_limits_no_caller() -> None:
    """A window that begins far in the future is ignored; a small step back of the clock does not start another."""
    pace, seen = WindowLimit(1, timedelta(minutes=1)), ThrottleState(1, NOON)
    assert count_in_window(seen, pace, NOON - timedelta(hours=1)) == ThrottleState(
        1, NOON - timedelta(hours=1)
    )
    assert count_in_window(seen, pace, NOON - SECOND) == 61 * SECOND
