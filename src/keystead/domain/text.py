"""Text from people: what is visible, what can be stored, and what fits on one line."""

from __future__ import annotations

import unicodedata
from typing import Final

from keystead.domain.errors import Invalid

UNSTORABLE = "must not contain the character NUL or a lone surrogate"
_NOT_ON_A_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that a line must not contain: controls, lone surrogates, line and paragraph separators."""
_BLANK: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
"""Unicode categories of invisible characters."""
_BLANK_LETTERS: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000))))
)
"""Invisible characters of other categories: fillers, joiners, variation selectors and the rest of
Default_Ignorable_Code_Point (Unicode 16, DerivedCoreProperties.txt), and the empty Braille pattern."""


def check_line(text: str, pointer: str, longest: int) -> str:
    """Return `text`. Invalid unless it is 1-`longest` characters on one line, at least one of them visible."""
    if not 1 <= len(text) <= longest or not is_visible(text) or not is_one_line(text):
        raise Invalid.field(pointer, f"must be 1-{longest} characters on one line")
    return text


def is_visible(text: str) -> bool:
    """Return whether at least one character of `text` is visible."""
    return not all(map(is_invisible, text))


def is_invisible(character: str) -> bool:
    """Return whether `character` is invisible: white space, a control, a joiner, a mark of direction or a filler."""
    return unicodedata.category(character) in _BLANK or character in _BLANK_LETTERS


def is_one_line(text: str) -> bool:
    """Return whether `text` can be printed and logged on one line, without escapes."""
    return not any(unicodedata.category(character) in _NOT_ON_A_LINE for character in text)


def is_storable(text: str) -> bool:
    """Return whether both databases can store `text`: PostgreSQL refuses NUL, and UTF-8 has no lone surrogates."""
    try:
        return "\0" not in text and (text.isascii() or bool(text.encode()))
    except UnicodeEncodeError:
        return False
