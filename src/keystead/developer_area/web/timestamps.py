"""Times as text: relative to now, and exact in the user's time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo

from keystead.developer_area.web.contexts import Timestamp
from keystead.domain.instants import format_instant

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_MONTH = timedelta(days=365.25 / 12)
_YEAR = timedelta(days=365.25)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Each unit is used up to the limit next to it: 90 minutes are still minutes, 36 hours still hours, 60 days still days.
_UNITS = (
    (_MINUTE, "minute", timedelta(minutes=90)),
    (_HOUR, "hour", timedelta(hours=36)),
    (_DAY, "day", timedelta(days=60)),
    (_MONTH, "month", timedelta(days=730)),
    (_YEAR, "year", timedelta.max),
)


def timestamp(instant: datetime, now: datetime, zone: tzinfo = UTC) -> Timestamp:
    """Return `instant` for display at `now` in `zone`."""
    return Timestamp(format_instant(instant), exact(instant, zone), relative(instant, now))


def relative(instant: datetime, now: datetime) -> str:
    """Return a rounded distance such as `3 days ago`, `in 12 days` or `just now`."""
    distance = abs(instant - now)
    if distance < _MINUTE:
        return "in less than a minute" if instant > now else "just now"
    unit, name = next((unit, name) for unit, name, limit in _UNITS if distance < limit)
    count = max(1, round(distance / unit))
    text = f"{count} {name}" if count == 1 else f"{count} {name}s"
    return f"in {text}" if instant > now else f"{text} ago"


def day(instant: datetime | date) -> str:
    """Return a date such as `23 November 2026`."""
    return f"{instant.day} {instant:%B} {instant.year}"


def zone_label(instant: datetime, zone: tzinfo) -> str:
    """Return the zone's abbreviation at `instant`, such as `CET`, or its offset, such as `UTC-03:00`."""
    return _zone_name(instant.astimezone(zone))


def exact(instant: datetime, zone: tzinfo) -> str:
    """Return a time such as `24 Dec 2026, 12:00:00 UTC` in that zone."""
    local = _local(instant, zone)
    clock = f"{local.hour:02}:{local.minute:02}:{local.second:02}"
    return f"{_date(local)}, {clock} {_zone_name(local)}"


def short_date(instant: datetime, zone: tzinfo) -> str:
    """Return a date such as `24 Dec 2026` in that zone."""
    return _date(_local(instant, zone))


def _local(instant: datetime, zone: tzinfo) -> datetime:
    try:
        return instant.astimezone(zone)
    except OverflowError:  # the last hours of year 9999, east of Greenwich
        return instant.astimezone(UTC)


def _date(local: datetime) -> str:
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}"


def _zone_name(local: datetime) -> str:
    name = local.tzname() or ""
    if name.isalpha():
        return name
    offset = f"{local:%z}"
    return f"UTC{offset[:3]}:{offset[3:5]}"
