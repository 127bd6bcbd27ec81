"""How people write spans and ends of time on the command line: `90d`, `24h`, `2027-01-31T00:00:00Z`, `never`."""

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
    """A whole number with its unit, or 0. ValueError says how it is written."""
    if text == "0":
        return timedelta()
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError("is written like 30min, 24h, 90d or 12w")
    try:
        return int(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise ValueError("is too long") from None


def parse_expiry(text: str, now: datetime) -> datetime | None:
    """The end that `text` writes, None for `never`; a span counts from `now`, in whole seconds."""
    if text == NEVER:
        return None
    if _SPAN.fullmatch(text):
        if not (span := parse_span(text)):
            raise ValueError("must be longer than nothing; `keystead keys revoke` ends a key now")
        try:
            return now.replace(microsecond=0) + span
        except OverflowError:
            raise ValueError("is beyond the year 9999") from None
    if not _CALENDAR.match(text):
        raise ValueError("is a span like 90d, an instant like 2027-01-31T00:00:00Z, or never")
    return parse_instant(text)
