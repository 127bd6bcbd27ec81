"""Instants: aware UTC in memory, RFC 3339 with `Z` on the wire, whole microseconds in rows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NAIVE: Final = "must have a time zone: use datetime.now(UTC), or set tzinfo"
"""The error for a naive time, to follow the name of the field."""
_MICROSECOND = timedelta(microseconds=1)
_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


def parse_instant(text: str) -> datetime:
    """Return the instant of an RFC 3339 text (section 5.6). ValueError, in words for people, if it is malformed.

    It may have nine fractional digits, as Go and Java write them; those after microseconds are cut off.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("must be an RFC 3339 instant with a zone, such as 2027-01-31T12:00:00Z")
    *fields, fraction, zulu, sign, hours, minutes = match.groups()
    year, month, day, hour, minute, second = map(int, fields)
    microsecond = int((fraction or "0")[:6].ljust(6, "0"))
    try:
        local = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
        return local - _offset(zulu, sign, hours, minutes)
    except (ValueError, OverflowError):
        raise ValueError("must be a date and time of the calendar (years 1-9999)") from None


def _offset(zulu: str | None, sign: str, hours: str, minutes: str) -> timedelta:
    if zulu:
        return timedelta()
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return offset if sign == "+" else -offset


def format_instant(instant: datetime) -> str:
    """Return RFC 3339 in UTC with `Z`, a fraction only if there is one. ValueError for a naive `instant`."""
    if is_naive(instant):
        raise ValueError(NAIVE)
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def is_naive(instant: datetime) -> bool:
    """Return whether `instant` has no time zone; Python would read it in the zone of the machine."""
    return instant.utcoffset() is None


def to_microseconds(instant: datetime) -> int:
    """Return the whole microseconds since 1970-01-01T00:00:00Z."""
    return (instant - EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the instant so many microseconds after 1970-01-01T00:00:00Z."""
    return EPOCH + timedelta(0, 0, microseconds)
