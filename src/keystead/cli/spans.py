"""Durations and times as people write them on the command line: `90d`, `24h`, `2027-01-31T00:00:00Z`, `never`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from keystead.domain.instants import parse_instant

NEVER: Final = "never"
_UNITS: Final = {
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_CALENDAR: Final = re.compile(r"\d+-", re.ASCII)
_SPAN: Final = re.compile(r"(\d{1,9})(s|min|h|d|w)", re.ASCII)


def parse_span(text: str) -> timedelta:
    """Parse a whole number with its unit, or 0. ValueError says what is expected."""
    if text == "0":
        return timedelta()
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError("must be a duration such as 30min, 24h, 90d or 12w")
    try:
        return int(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise ValueError("is too long") from None


def parse_expiry(text: str, now: datetime) -> datetime | None:
    """Parse a key's expiry; None for `never`. A duration counts from `now`, in whole seconds."""
    if text == NEVER:
        return None
    if _SPAN.fullmatch(text):
        if not (span := parse_span(text)):
            raise ValueError("must be longer than zero; to end a key now, use keystead keys revoke")
        try:
            return now.replace(microsecond=0) + span
        except OverflowError:
            raise ValueError("is beyond the year 9999") from None
    if not _CALENDAR.match(text):
        raise ValueError(
            "must be a duration such as 90d, a time such as 2027-01-31T00:00:00Z, or never"
        )
    return parse_instant(text)
