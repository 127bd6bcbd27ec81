"""Time zones: their names, the browser's proposal, and days that end when the user's day ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keystead.domain.errors import Invalid
from keystead.domain.time_zones import (
    check_time_zone,
    end_of_day,
    find_zone,
    proposed_zone,
    time_zones,
    today_in,
)

KOLKATA, HONOLULU, LORD_HOWE = "Asia/Kolkata", "Pacific/Honolulu", "Australia/Lord_Howe"


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"]
)
def test_zones(zone: str) -> None:
    """All names of the IANA database are valid."""
    assert check_time_zone(zone) == zone


@pytest.mark.parametrize(
    "zone",
    [
        "",
        "utc+1",
        "CEST",
        "europe/berlin",
        "../UTC",
        "/usr/share/zoneinfo/UTC",
        "localtime",
        "Factory",
        "a\0",
    ],
)
def test_invalid_zones(zone: str) -> None:
    """Any other text is refused, including names of files."""
    with pytest.raises(Invalid):
        check_time_zone(zone)


def test_there_are_zones_everywhere() -> None:
    """The database is part of the installation: a machine without one offers the same zones."""
    assert len(time_zones()) > 400


@pytest.mark.parametrize(
    ("current", "text", "proposed"),
    [
        (None, KOLKATA, KOLKATA),
        (None, "UTC", "UTC"),
        ("UTC", KOLKATA, None),
        (HONOLULU, KOLKATA, None),
        (None, "", None),
        (None, "Mars/Base", None),
        (None, "../../etc/passwd", None),
    ],
)
def test_a_browser_proposes_a_zone_once(
    current: str | None, text: str, proposed: str | None
) -> None:
    """A proposal counts if the user has no zone, UTC included, and the database knows the proposed one."""
    assert proposed_zone(current, text) == proposed


@pytest.mark.parametrize(
    ("zone", "day", "ends"),
    [
        (KOLKATA, "2026-12-24", "2026-12-24T18:29:59Z"),
        (HONOLULU, "2026-12-24", "2026-12-25T09:59:59Z"),
        (LORD_HOWE, "2026-12-24", "2026-12-24T12:59:59Z"),
        # Lord Howe moves its clocks by half an hour, back on April 4 and forward on October 3, 2027.
        (LORD_HOWE, "2027-04-03", "2027-04-03T12:59:59Z"),
        (LORD_HOWE, "2027-04-04", "2027-04-04T13:29:59Z"),
        (LORD_HOWE, "2027-10-02", "2027-10-02T13:29:59Z"),
        (LORD_HOWE, "2027-10-03", "2027-10-03T12:59:59Z"),
        # Its midnight does not exist, so the day before lasts until it would have begun.
        ("Africa/Cairo", "2027-04-29", "2027-04-29T21:59:59Z"),
        # 23:59:59 comes twice: the day ends with the second one.
        ("America/Havana", "2026-10-31", "2026-11-01T03:59:59Z"),
    ],
)
def test_a_day_ends_in_its_zone(zone: str, day: str, ends: str) -> None:
    """The last second of a day is 23:59:59 on the user's clock, whatever the clock does on that day."""
    assert end_of_day(day, find_zone(zone)) == datetime.fromisoformat(ends)


@pytest.mark.parametrize("text", ["", "2027-02-29", "2027-13-01", "24.12.2026", "9999-12-31", "x"])
def test_no_other_text_is_a_day(text: str) -> None:
    """A text that names no day, or the last one of the calendar, is refused."""
    with pytest.raises(ValueError, match=r"."):
        end_of_day(text, UTC)


@pytest.mark.parametrize(
    ("zone", "today"),
    [
        (KOLKATA, "2026-12-01"),
        (LORD_HOWE, "2026-12-01"),
        (HONOLULU, "2026-11-30"),
        (None, "2026-11-30"),
    ],
)
def test_today_is_the_users(zone: str | None, today: str) -> None:
    """At 23:13 UTC it is tomorrow in India and Australia, and still today in Hawaii."""
    assert today_in(find_zone(zone), datetime(2026, 11, 30, 23, 13, tzinfo=UTC)) == today


def test_an_unknown_zone_is_utc() -> None:
    """A zone that another machine stored and this one doesn't know must not break its user's pages."""
    assert find_zone("Mars/Base") is UTC
