from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.errors import Invalid
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import from_microseconds
from keystead.domain.usage import (
    MAX_AGENT,
    MICROSECONDS_AN_HOUR,
    Period,
    UsageBuffer,
    UseCount,
    period_of,
)
from keystead.domain.verification import DenialReason

MICROSECONDS_A_DAY = 24 * MICROSECONDS_AN_HOUR
INSTANTS = st.integers(0, 5 * MICROSECONDS_A_DAY)
TODAY = date(2026, 12, 1)


def _tally(uses: list[int]) -> UsageBuffer:
    noted = UsageBuffer(KeyId("key_1"), WorkspaceId("ws_1"))
    for at in uses:
        noted.note(at, f"address {at}", f"agent {at}")
    return noted


@given(st.lists(INSTANTS, min_size=1))
def test_the_last_use_is_the_latest(uses: list[int]) -> None:
    """In any order of recording, the last use is the latest, with its own address and agent."""
    last = _tally(uses).last
    assert last.at == from_microseconds(max(uses))
    assert (last.address, last.agent) == (f"address {max(uses)}", f"agent {max(uses)}")


@given(st.lists(INSTANTS, min_size=1))
def test_every_use_counts_on_its_day(uses: list[int]) -> None:
    """Every use is counted once, on the day (UTC) it happened."""
    days = _tally(uses).days
    assert days == {
        day: UseCount(requests=times)
        for day, times in Counter(at // MICROSECONDS_A_DAY for at in uses).items()
    }


@given(st.lists(INSTANTS), st.lists(INSTANTS))
def test_every_hour_counts_uses_and_refusals_apart(uses: list[int], refusals: list[int]) -> None:
    """Refusals count in the hour they happened too, apart from the uses."""
    noted = _tally(uses)
    for at in refusals:
        noted.refuse(DenialReason.REVOKED, at, "192.0.2.1", None)
    hours = {at // MICROSECONDS_AN_HOUR for at in uses + refusals}
    assert noted.hours == {
        hour: UseCount(
            sum(at // MICROSECONDS_AN_HOUR == hour for at in uses),
            sum(at // MICROSECONDS_AN_HOUR == hour for at in refusals),
        )
        for hour in hours
    }


@given(st.lists(INSTANTS, min_size=1), st.lists(INSTANTS, min_size=1))
def test_merging_loses_nothing(earlier: list[int], later: list[int]) -> None:
    """Uses that a failed flush returns are merged as if they had never been taken."""
    merged = _tally(later)
    merged.merge(_tally(earlier))
    assert (merged.hours, merged.last.at) == (
        _tally(earlier + later).hours,
        _tally(earlier + later).last.at,
    )


def test_midnight_begins_a_day() -> None:
    """A use at midnight UTC belongs to the day that begins."""
    assert list(_tally([MICROSECONDS_A_DAY - 1, MICROSECONDS_A_DAY]).days) == [0, 1]


@given(st.text(st.characters(), max_size=400))
def test_any_agent_can_be_stored(agent: str) -> None:
    """The stored form of any agent is printable and bounded, and can be written."""
    noted = UsageBuffer(KeyId("key_1"), WorkspaceId("ws_1"))
    noted.note(1, agent, agent)
    use = noted.last
    assert use.at == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    for text in (use.agent, use.address):
        assert text is not None
        assert text.isprintable()
        assert len(text) <= MAX_AGENT
        assert len(agent) > MAX_AGENT or not agent.isprintable() or text == agent


@pytest.mark.parametrize(
    ("first", "last", "period"),
    [
        (None, None, Period(date(2026, 11, 2), TODAY)),
        ("2026-11-30", None, Period(date(2026, 11, 30), TODAY)),
        (None, "2026-01-30", Period(date(2026, 1, 1), date(2026, 1, 30))),
        ("2026-12-01", "2026-12-01", Period(TODAY, TODAY)),
        ("2025-12-01", "2026-12-01", Period(date(2025, 12, 1), TODAY)),
    ],
)
def test_periods(first: str | None, last: str | None, period: Period) -> None:
    """A period includes both its days; without a beginning it has 30 days, and at most 366 in all."""
    assert period_of(first, last, TODAY) == period


@pytest.mark.parametrize(
    ("first", "last", "pointer"),
    [
        ("2025-11-30", "2026-12-01", "query:from"),
        ("2026-12-02", None, "query:from"),
        ("20261130", None, "query:from"),
        ("2026-W48-1", None, "query:from"),
        ("2026-11-31", None, "query:from"),
        ("0001-01-01", None, "query:from"),
        (None, "0001-01-01", "query:to"),
        (None, "1764547200", "query:to"),
        (None, "", "query:to"),
        (None, "2026-11-30T00:00:00Z", "query:to"),
        (None, "\uff12\uff10\uff12\uff16-11-30", "query:to"),
    ],
)
def test_no_periods(first: str | None, last: str | None, pointer: str) -> None:
    """Other forms, a wrong order and more than 366 days are refused, with the parameter's name."""
    with pytest.raises(Invalid) as refused:
        period_of(first, last, TODAY)
    assert [error.pointer for error in refused.value.errors] == [pointer]
