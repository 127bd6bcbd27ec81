"""What people write of a key on the command line, read; what cannot be read is told as wrong usage."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from keystead.cli.outcome import Exit, Failure
from keystead.domain.ids import KeyId, is_id
from keystead.domain.instants import parse_instant
from keystead.domain.keys import UNSET, Unset
from keystead.domain.scopes import ScopeCatalog, Scopes
from keystead.domain.token import parse, trim


def key_id_of(text: str) -> KeyId:
    """The id that was given. A token given in its place is known to the shell's history: said, and not repeated."""
    if is_id("key", text):
        return KeyId(text)
    token = parse(trim(text))
    if token is not None:
        raise Failure(
            f"That is a token, which belongs in no command line. The id of its key is {token.key_id};"
            " revoke it if anybody could have seen it.",
            Exit.USAGE,
        )
    raise Failure("A key's id is key_ and 22 letters; `keystead keys list` shows them.", Exit.USAGE)


def end_of(text: str | None, now: datetime) -> datetime | None | Unset:
    """When a key shall end: None for never, UNSET where nothing was said."""
    if text is None:
        return UNSET
    try:
        return parse_expiry(text, now)
    except ValueError as error:
        raise Failure(f"--expires {error}.", Exit.USAGE) from None


def overlap_of(text: str) -> timedelta:
    """How long the old key still works."""
    try:
        return parse_span(text)
    except ValueError as error:
        raise Failure(f"--overlap {error}.", Exit.USAGE) from None


def scopes_of(asked: tuple[str, ...], catalog: ScopeCatalog) -> Scopes | Unset:
    """The scopes that were named, all known here; UNSET where none was."""
    unknown = [scope for scope in asked if scope not in catalog]
    if unknown:
        known = ", ".join(catalog.descriptions())
        raise Failure(f"There is no scope {unknown[0]}; there are {known}.", Exit.USAGE)
    return Scopes(asked) if asked else UNSET


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
