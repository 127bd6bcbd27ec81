"""Durations and expiries as users write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keystead.cli.key_arguments import parse_duration, parse_expiry

NOW = datetime(2028, 2, 28, 12, 0, 0, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0", timedelta()),
        ("45s", timedelta(seconds=45)),
        ("30min", timedelta(minutes=30)),
        ("24h", timedelta(hours=24)),
        ("90d", timedelta(days=90)),
        ("12w", timedelta(weeks=12)),
    ],
)
def test_a_duration_is_a_number_and_its_unit(text: str, span: timedelta) -> None:
    """Whole numbers of seconds, minutes, hours, days and weeks; only 0 needs no unit."""
    assert parse_duration(text) == span


@pytest.mark.parametrize(
    "text", ["", "1", "d", "-1d", "+1d", "1.5h", "1 d", "1m", "1M", "1y", "1D", "٣d", "9999999999s"]
)
def test_an_ambiguous_duration_is_refused(text: str) -> None:
    """No unit, a month that could be a minute, a sign, a fraction, other digits: refused."""
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


def test_a_duration_beyond_the_calendar_is_refused() -> None:
    """An overflow is refused, of a duration and of the resulting time."""
    with pytest.raises(ValueError, match="too long"):
        parse_duration("999999999w")
    with pytest.raises(ValueError, match="9999"):
        parse_expiry("99999999d", NOW)


def test_an_end_counts_from_now_in_whole_seconds() -> None:
    """This includes leap days; a key's expiry has no fraction."""
    assert parse_expiry("2d", NOW) == datetime(2028, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["0d", "0s", "000w"])
def test_an_end_is_later_than_now(text: str) -> None:
    """A duration of zero is wrong usage, not an error about a value that the user never wrote."""
    with pytest.raises(ValueError, match="must be longer than zero"):
        parse_expiry(text, NOW)


def test_an_end_may_be_a_time_or_never() -> None:
    """RFC 3339 with a zone; None is never."""
    assert parse_expiry("2028-02-29T23:59:59-01:00", NOW) == datetime(
        2028, 3, 1, 0, 59, 59, tzinfo=UTC
    )
    assert parse_expiry("never", NOW) is None


@pytest.mark.parametrize("text", ["", "Never", "none", "tomorrow", "2028-02-30T00:00:00Z"])
def test_an_invalid_expiry_is_refused(text: str) -> None:
    """It is refused, and never treated as never."""
    with pytest.raises(ValueError, match=r"\w"):
        parse_expiry(text, NOW)
