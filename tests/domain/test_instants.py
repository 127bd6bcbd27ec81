from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain import instants

INSTANTS = st.datetimes(timezones=st.just(UTC))
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59)


@given(INSTANTS)
def test_round_trip_through_text(instant: datetime) -> None:
    """A formatted time is parsed back exactly, to the microsecond, and always ends in Z."""
    text = instants.format_instant(instant)
    assert text.endswith("Z")
    assert instants.parse_instant(text) == instant


@given(INSTANTS)
def test_round_trip_through_rows(instant: datetime) -> None:
    """A stored time is read back exactly, and fits in 64 bits."""
    microseconds = instants.to_microseconds(instant)
    assert -(1 << 63) <= microseconds < 1 << 63
    assert instants.from_microseconds(microseconds) == instant


@given(INSTANTS, INSTANTS)
def test_rows_keep_the_order(one: datetime, other: datetime) -> None:
    """Stored times compare as the times do."""
    stored = instants.to_microseconds(one), instants.to_microseconds(other)
    assert (stored[0] < stored[1]) == (one < other)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)), OFFSETS)  # noqa: DTZ001
def test_any_offset_is_read(local: datetime, minutes: int) -> None:
    """The same time is read from any offset."""
    zoned = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert instants.parse_instant(zoned.isoformat()) == zoned


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2028-02-29T12:00:00Z", datetime(2028, 2, 29, 12, tzinfo=UTC)),
        ("2027-01-31t12:00:00z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31T12:00:00.5Z", datetime(2027, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2027-01-31T12:00:00.000001Z", datetime(2027, 1, 31, 12, 0, 0, 1, tzinfo=UTC)),
        ("2027-01-31T12:00:00.000001999Z", datetime(2027, 1, 31, 12, 0, 0, 1, tzinfo=UTC)),
        ("2027-01-31T12:00:00.999999999Z", datetime(2027, 1, 31, 12, 0, 0, 999_999, tzinfo=UTC)),
        ("2027-01-31T00:30:00+01:00", datetime(2027, 1, 30, 23, 30, tzinfo=UTC)),
        ("2027-01-31T12:00:00-00:00", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-12-31T23:59:59-23:59", datetime(2028, 1, 1, 23, 58, 59, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_valid_times(text: str, instant: datetime) -> None:
    """A well-formed time is exactly what it says, including leap days and offsets."""
    assert instants.parse_instant(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2027-01-31",
        "2027-01-31T12:00:00",
        "2027-01-31 12:00:00Z",
        "2027-01-31T12:00Z",
        "20270131T120000Z",
        "2027-W04-7T12:00:00Z",
        "2027-031T12:00:00Z",
        "2027-01-31T12:00:00.Z",
        "2027-01-31T12:00:00,5Z",
        "2027-01-31T12:00:00.1234567890Z",
        "2027-01-31T12:00:00+0100",
        "2027-01-31T12:00:00+01",
        "2027-01-31T12:00:00+24:00",
        "2027-01-31T12:00:00+01:60",
        "2027-01-31T12:00:00 Z",
        " 2027-01-31T12:00:00Z",
        "2027-01-31T12:00:00Z\n",
        "2027-01-31T12:00:00Zulu",
        "2027-01-31T12:00:00[UTC]",
        "2027-01-31T12:00:00\u221201:00",
        "\uff12\uff10\uff12\uff17-01-31T12:00:00Z",
        "2027-02-29T12:00:00Z",
        "2100-02-29T12:00:00Z",
        "2027-00-10T12:00:00Z",
        "2027-13-10T12:00:00Z",
        "2027-04-31T12:00:00Z",
        "2027-01-00T12:00:00Z",
        "2027-01-31T24:00:00Z",
        "2027-01-31T23:60:00Z",
        "2027-01-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01T00:00:00Z",
        "+12027-01-31T12:00:00Z",
        "-2027-01-31T12:00:00Z",
        "NaN",
        "inf",
        "never",
        "null",
        "1798718400",
        "1e10",
        "-1",
        "2027-01-31T12:00:00Z\x00",
    ],
)
def test_invalid_times(text: str) -> None:
    """A text that is not one exact time with a zone is refused, with a sentence that follows the field's name."""
    with pytest.raises(ValueError, match=r"^(must be|is not) "):
        instants.parse_instant(text)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_an_error(text: str) -> None:
    """Any text gives a time or a ValueError, never another error."""
    with suppress(ValueError):
        assert instants.parse_instant(text).tzinfo is UTC


def test_a_naive_time_is_never_stored() -> None:
    """A time without a zone is refused, not guessed."""
    with pytest.raises(TypeError):
        instants.to_microseconds(datetime(2027, 1, 31))  # noqa: DTZ001


def test_a_naive_time_is_never_formatted() -> None:
    """A time without a zone is not formatted in the machine's zone either: the sentence says what is missing."""
    with pytest.raises(ValueError, match="time zone"):
        instants.format_instant(datetime(2027, 1, 31))  # noqa: DTZ001
