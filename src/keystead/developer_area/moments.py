"""Instants as people read them: how long ago or ahead, and exactly, in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from keystead.developer_area.pages import Moment
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


def moment(instant: datetime, now: datetime) -> Moment:
    """`instant` as it is seen at `now`."""
    return Moment(format_instant(instant), _exact(instant), relative(instant, now))


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


def _exact(instant: datetime) -> str:
    utc = instant.astimezone(UTC)
    return f"{utc.day} {utc:%b} {utc.year}, {utc:%H:%M:%S} UTC"


def _span(span: timedelta) -> str:
    unit, name = next((unit, name) for unit, name, limit in _UNITS if span < limit)
    count = max(1, round(span / unit))
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
