"""Time zones of people: names of the IANA database, and the days that begin and end in them."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import cache

from keystead.domain.errors import Invalid

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


@cache
def time_zones() -> frozenset[str]:
    """Return the names of all zones, without the database's templates."""
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})


def check_time_zone(name: str, pointer: str = "/time_zone") -> str:
    """Return `name`. Invalid unless the IANA database has that time zone."""
    if name not in time_zones():
        raise Invalid.field(pointer, "must be the name of a time zone such as Europe/Berlin")
    return name


def proposed_zone(current: str | None, text: str) -> str | None:
    """Return the zone that a browser proposes as `text` to a user who has `current`.

    None if the user already has one, or this machine doesn't know the browser's.
    """
    return text if current is None and text in time_zones() else None


def find_zone(name: str | None) -> tzinfo:
    """Return the IANA time zone `name`. UTC for None and for a zone this machine doesn't know."""
    if name is None:
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def end_of_day(text: str, zone: tzinfo) -> datetime:
    """Return the last second of a day such as `2027-01-31` in `zone`, in UTC. ValueError for another text."""
    # Counted back from the start of the next day: on a day with a clock change the zone's 23:59:59 may
    # come twice (Havana) or never (Nuuk), and the next day may start at 01:00 (Cairo).
    chosen = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    try:
        next_day = datetime.combine(chosen + _DAY, time(), zone)
        return next_day.astimezone(UTC) - _SECOND
    except OverflowError as error:
        raise ValueError(text) from error


def today_in(zone: tzinfo, now: datetime) -> str:
    """Return the date in `zone`, such as `2027-01-31`: the first that can be chosen as a last day."""
    return now.astimezone(zone).date().isoformat()
