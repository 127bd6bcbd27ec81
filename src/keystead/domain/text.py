"""Text that people give: what can be kept of it, and what may stand in one line."""

from __future__ import annotations

import unicodedata

from keystead.domain.errors import Invalid

UNSTORABLE = "must not hold the character NUL or a lone surrogate"
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that no line holds: controls (NUL, CR, ESC), lone surrogates, line and paragraph separators."""


def check_line(text: str, pointer: str, longest: int) -> str:
    """`text` itself, unchanged. Invalid unless it is 1-`longest` characters on one line, not all of them blank."""
    if not 1 <= len(text) <= longest or text.isspace() or not is_one_line(text):
        raise Invalid.field(pointer, f"must be 1-{longest} characters on one line")
    return text


def is_one_line(text: str) -> bool:
    """Whether `text` can be stored, printed and logged as it is: no controls, line separators or half characters."""
    return not any(unicodedata.category(character) in _UNFIT for character in text)


def is_storable(text: str) -> bool:
    """Whether both databases keep `text`: no NUL, which PostgreSQL refuses, no lone surrogate, which UTF-8 has not."""
    try:
        return "\0" not in text and (text.isascii() or bool(text.encode()))
    except UnicodeEncodeError:
        return False
