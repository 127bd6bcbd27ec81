"""Instants as people read them: how long ago or ahead, and exactly, in the zone that they chose."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from keystead.developer_area.web.contexts import Moment
from keystead.domain.instants import format_instant

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_MONTH = timedelta(days=365.25 / 12)
_YEAR = timedelta(days=365.25)
# Each unit is used up to the span beside it: 90 minutes are still minutes, 36 hours still hours, 60 days still days.
_UNITS = (
    (_MINUTE, "minute", timedelta(minutes=90)),
    (_HOUR, "hour", timedelta(hours=36)),
    (_DAY, "day", timedelta(days=60)),
    (_MONTH, "month", timedelta(days=730)),
    (_YEAR, "year", timedelta.max),
)


def zone_named(name: str | None) -> tzinfo:
    """The zone of that name of the IANA database; UTC for None, and for one that this machine does not know."""
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def moment(instant: datetime, now: datetime, zone: tzinfo = UTC) -> Moment:
    """`instant` as it is seen at `now`, exactly in `zone`."""
    return Moment(format_instant(instant), _exact(instant, zone), relative(instant, now))


def relative(instant: datetime, now: datetime) -> str:
    """Such as `3 days ago`, `in 12 days`, `just now`; rounded to the nearest."""
    span = abs(instant - now)
    if span < _MINUTE:
        return "in less than a minute" if instant > now else "just now"
    words = _span(span)
    return f"in {words}" if instant > now else f"{words} ago"


def day(instant: datetime | date) -> str:
    """Such as `23 November 2026`."""
    return f"{instant.day} {instant:%B} {instant.year}"


def zone_words(instant: datetime, zone: tzinfo) -> str:
    """What clocks there say beside the hour: `UTC`, `CET`, or `UTC-03:00` where the zone has no letters."""
    local = instant.astimezone(zone)
    name, offset = local.tzname() or "", f"{local:%z}"
    return name if name.isalpha() else f"UTC{offset[:3]}:{offset[3:5]}"


def _exact(instant: datetime, zone: tzinfo) -> str:
    try:
        local = instant.astimezone(zone)
    except OverflowError:  # the last hours of year 9999, east of Greenwich
        return _exact(instant, UTC)
    return f"{local.day} {local:%b} {local.year}, {local:%H:%M:%S} {zone_words(instant, zone)}"


def _span(span: timedelta) -> str:
    unit, name = next((unit, name) for unit, name, limit in _UNITS if span < limit)
    count = max(1, round(span / unit))
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
