"""Arguments about keys: ids, scopes, and times such as `90d`, `2027-01-31T00:00:00Z` or `never`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from keystead.cli.outcome import Exit, Failure
from keystead.domain.ids import KeyId, is_id
from keystead.domain.instants import parse_instant
from keystead.domain.keys import UNSET, Unset
from keystead.domain.renewals import Renewal
from keystead.domain.token import parse, trim

NEVER: Final = "never"
_UNITS: Final = {
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_CALENDAR: Final = re.compile(r"\d+-", re.ASCII)
_DURATION: Final = re.compile(r"(\d{1,9})(s|min|h|d|w)", re.ASCII)


def key_id_of(text: str) -> KeyId:
    """Parse a key's id. Failure for anything else; a token is not repeated in the message."""
    if is_id("key", text):
        return KeyId(text)
    token = parse(trim(text))
    if token is not None:
        raise Failure(
            f"This is a token, and the shell's history keeps it. The id of its key is {token.key_id};"
            " revoke the key if anyone could have seen the token.",
            Exit.USAGE,
        )
    raise Failure(
        "A key's id is key_ and 22 letters or digits; `keystead keys list` shows them.", Exit.USAGE
    )


def expiry_of(text: str | None, now: datetime) -> datetime | None | Unset:
    """Parse --expires: None for never, UNSET if it was not given. Failure."""
    try:
        return UNSET if text is None else parse_expiry(text, now)
    except ValueError as error:
        raise Failure(f"--expires {error}.", Exit.USAGE) from None


def renewal_of(text: str | None, now: datetime) -> Renewal | Unset:
    """Parse --renewable-until like an expiry; UNSET if it was not given. Failure."""
    try:
        return UNSET if text is None else Renewal(parse_expiry(text, now))
    except ValueError as error:
        raise Failure(f"--renewable-until {error}.", Exit.USAGE) from None


def metadata_of(texts: Iterable[str]) -> dict[str, str]:
    """Parse the values of --metadata, each NAME=VALUE. Failure."""
    pairs = [text.partition("=") for text in texts]
    if not all(equals for _, equals, _ in pairs):
        raise Failure("--metadata must be NAME=VALUE, such as customer=42.", Exit.USAGE)
    return {name: value for name, _, value in pairs}


def days_of(option: str, text: str | None) -> timedelta | None:
    """Parse a number of whole days, such as 30d or 4w; None if the option was not given. Failure."""
    duration = None if text is None else duration_of(option, text)
    day = timedelta(days=1)
    if duration is not None and (not day <= duration < 10_000 * day or duration % day):
        raise Failure(f"{option} must be a whole number of days from 1d to 9999d.", Exit.USAGE)
    return duration


def duration_of(option: str, text: str) -> timedelta:
    """Parse an option's duration. Failure."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Failure(f"{option} {error}.", Exit.USAGE) from None


def parse_duration(text: str) -> timedelta:
    """Parse a whole number with its unit, or 0. ValueError says what is expected."""
    if text == "0":
        return timedelta()
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("must be a duration such as 30min, 24h, 90d or 12w")
    try:
        return int(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise ValueError("is too long") from None


def parse_expiry(text: str, now: datetime) -> datetime | None:
    """Parse a key's expiry; None for `never`. A duration counts from `now`, in whole seconds. ValueError."""
    if text == NEVER:
        return None
    if _DURATION.fullmatch(text):
        if not (duration := parse_duration(text)):
            raise ValueError("must be longer than zero; to end a key now, use keystead keys revoke")
        try:
            return now.replace(microsecond=0) + duration
        except OverflowError:
            raise ValueError("is beyond the year 9999") from None
    if not _CALENDAR.match(text):
        raise ValueError(
            "must be a duration such as 90d, a time such as 2027-01-31T00:00:00Z, or never"
        )
    return parse_instant(text)
