from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.disuse import Disuse, due_notice, is_end_due
from tests.support.clocks import NOON

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
TIMES = st.integers(0, 10**15).map(lambda moments: NOON + moments * timedelta(microseconds=1))


@given(TIMES, st.integers(0, 400), st.none() | TIMES)
def test_a_mark_is_read_as_it_was_written(since: object, intervals: int, ends_at: object) -> None:
    """What is stored of a notice is the whole notice."""
    notice = Disuse(since, intervals, ends_at)  # type: ignore[arg-type]
    assert Disuse.parse(notice.mark) == notice
    assert Disuse.parse(None) is None


def _life(days: int | None, until: int, noted: Disuse | None = None) -> list[tuple[int, Disuse]]:
    """Return the notices of a key that is unused from noon on, looked at daily, with the days on which they came."""
    notices = []
    for day in range(until):
        now = NOON + day * DAY
        notice = due_notice(NOON, noted, days, now)
        if notice is not None:
            notices.append((day, notice))
            noted = notice
        assert not is_end_due(NOON, noted, days, now)
    return notices


def test_notices_without_an_end() -> None:
    """Without a policy there is a notice every 30 days, and a key never ends."""
    assert _life(None, 100) == [(day, Disuse(NOON, day // 30)) for day in (30, 60, 90)]


def test_the_end_is_announced_two_weeks_ahead() -> None:
    """A policy of 180 days announces the end on day 166, once, and the key ends on day 180 and not before."""
    ends_at = NOON + 180 * DAY
    notices = _life(180, 180)
    assert [(day, notice.ends_at) for day, notice in notices] == [
        *((day, None) for day in (30, 60, 90, 120, 150)),
        (166, ends_at),
    ]
    noted = notices[-1][1]
    assert not is_end_due(NOON, noted, 180, ends_at)
    assert is_end_due(NOON, noted, 180, ends_at + MINUTE)


def test_a_policy_that_comes_late_gives_its_notice_too() -> None:
    """A key that is long unused when the policy is set ends 14 days after the notice, however late that is."""
    now = NOON + 500 * DAY
    notice = due_notice(NOON, Disuse(NOON, 16), 30, now)
    assert notice == Disuse(NOON, 16, now + 14 * DAY)
    for later in range(14):
        assert due_notice(NOON, notice, 30, now + later * DAY) is None or later >= 10
        assert not is_end_due(NOON, notice, 30, now + later * DAY)
    assert is_end_due(NOON, notice, 30, now + 14 * DAY + MINUTE)


def test_a_use_starts_anew() -> None:
    """A use after the notice ends its effect: the next end is announced for that use."""
    noted = Disuse(NOON, 1, NOON + 44 * DAY)
    used = NOON + 40 * DAY
    now = NOON + 60 * DAY
    assert not is_end_due(used, noted, 30, now)
    assert due_notice(used, noted, 30, now) == Disuse(used, 0, used + 34 * DAY)


def test_without_a_notice_no_key_ends() -> None:
    """A key that was never reported, or whose notice named no end, does not end however long it is unused."""
    for noted in (None, Disuse(NOON, 20), Disuse(NOON - DAY, 20, NOON + DAY)):
        assert not is_end_due(NOON, noted, 30, NOON + 700 * DAY)


@pytest.mark.parametrize("days", [None, 365])
def test_a_loosened_policy_spares_the_key(days: int | None) -> None:
    """A key whose end was announced stays if the policy no longer says so; a further end is announced again."""
    noted = Disuse(NOON, 1, NOON + 44 * DAY)
    assert not is_end_due(NOON, noted, days, NOON + 50 * DAY)
    if days:
        assert due_notice(NOON, noted, days, NOON + 351 * DAY) == Disuse(NOON, 11, NOON + 365 * DAY)


def test_a_tightened_policy_announces_an_earlier_end() -> None:
    """An end that is further away than the new policy's is announced again, 14 days ahead or more."""
    noted = Disuse(NOON, 11, NOON + 365 * DAY)
    now = NOON + 340 * DAY
    assert due_notice(NOON, noted, 90, now) == Disuse(NOON, 11, now + 14 * DAY)
    assert not is_end_due(NOON, noted, 90, now + 10 * DAY)
