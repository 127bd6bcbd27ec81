from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import from_microseconds
from keystead.domain.usage import MAX_AGENT, MICROSECONDS_A_DAY, UsageBuffer

INSTANTS = st.integers(0, 5 * MICROSECONDS_A_DAY)


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
    assert sum(days.values()) == len(uses)
    assert all(days[at // MICROSECONDS_A_DAY] for at in uses)


@given(st.lists(INSTANTS, min_size=1), st.lists(INSTANTS, min_size=1))
def test_merging_loses_nothing(earlier: list[int], later: list[int]) -> None:
    """Uses that a failed flush returns are merged as if they had never been taken."""
    merged = _tally(later)
    merged.merge(_tally(earlier))
    assert (merged.days, merged.last.at) == (
        _tally(earlier + later).days,
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
