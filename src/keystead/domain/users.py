"""Email addresses of people."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from keystead.domain.errors import Invalid

MAX_EMAIL: Final = 254
"""Characters; the longest address that mail can carry (RFC 5321 section 4.5.3.1.3, less its brackets)."""
MAX_LOCAL_PART: Final = 64
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010FFFF-]+"
_LABEL: Final = (
    r"[A-Za-z0-9\x80-\U0010FFFF](?:[A-Za-z0-9\x80-\U0010FFFF-]{0,61}[A-Za-z0-9\x80-\U0010FFFF])?"
)
_ADDR_SPEC: Final = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)")
"""A dot-atom, @ and a host name (RFC 5322 section 3.4.1, RFC 6531); no quotes, comments or literals."""


def check_email(text: str, pointer: str = "/email") -> str:
    """Return `text`. Invalid unless it is one address that mail can be sent to."""
    if not is_email(text):
        raise Invalid.field(pointer, "must be an email address such as ada@example.com")
    return text


def is_email(text: str) -> bool:
    """Return whether `text` is one addr-spec, to us and to the parsers that a message passes."""
    match = _ADDR_SPEC.fullmatch(text) if len(text) <= MAX_EMAIL else None
    if match is None or len(match[1]) > MAX_LOCAL_PART or not all(map(_is_plain, text)):
        return False
    # The mail library has the last word: it reads `=?utf-8?q?a?=@b.c` as another address.
    from email.policy import default  # slow to import, and seldom needed
    from email.utils import getaddresses

    header = default.header_factory("To", text)
    return [address.addr_spec for address in header.addresses] == [text] and getaddresses(
        [text]
    ) == [("", text)]


def _is_plain(character: str) -> bool:
    """Return whether `character` is ASCII, or else neither invisible nor punctuation that looks like ASCII."""
    return character.isascii() or unicodedata.category(character)[0] in "LMN"


def fold_email(text: str) -> str:
    """Return the form to look a person up by: case-folded and NFKC, before the @ too.

    RFC 5321 section 2.4 lets mailboxes differ by case, but people and providers don't.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
