"""What people say of themselves: e-mail addresses and time zones."""

from __future__ import annotations

import re
import unicodedata
import zoneinfo
from functools import cache
from typing import Final

from keystead.domain.errors import Invalid
from keystead.domain.text import is_one_line

MAX_EMAIL: Final = 254
"""Characters; the longest address that mail can carry (RFC 5321 section 4.5.3.1.3, less its brackets)."""
MAX_LOCAL_PART: Final = 64
_EMAIL: Final = re.compile(r"([^\s@]+)@[^\s@.]+(?:\.[^\s@.]+)*")


def check_email(text: str, pointer: str = "/email") -> str:
    """`text` itself, unchanged, if mail could be sent to it by its form. It is not proven to be theirs."""
    match = _EMAIL.fullmatch(text)
    if (
        match is None
        or len(text) > MAX_EMAIL
        or len(match[1]) > MAX_LOCAL_PART
        or not is_one_line(text)
    ):
        raise Invalid.field(pointer, "must be an e-mail address such as ada@example.com")
    return text


def fold_email(text: str) -> str:
    """The form by which a person is found: in one case and one way of writing (NFKC), before the @ too.

    RFC 5321 section 2.4 lets mailboxes differ by case; people and providers do not.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def check_time_zone(name: str, pointer: str = "/time_zone") -> str:
    """`name` itself, if the IANA database has a zone of that name."""
    if name not in time_zones():
        raise Invalid.field(pointer, "must be the name of a time zone such as Europe/Berlin")
    return name


@cache
def time_zones() -> frozenset[str]:
    """The names of all zones, without the database's own templates."""
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})
