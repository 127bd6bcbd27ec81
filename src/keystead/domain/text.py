"""Text that people give: what can be kept of it, and what may stand in one line."""

from __future__ import annotations

import unicodedata
from typing import Final

from keystead.domain.errors import Invalid

UNSTORABLE = "must not hold the character NUL or a lone surrogate"
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that no line holds: controls (NUL, CR, ESC), lone surrogates, line and paragraph separators."""
_BLANK: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
"""Unicode categories whose characters leave no ink by themselves."""
_BLANK_LETTERS: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000))))
)
"""Characters of other categories that leave none either: fillers, joiners, variation selectors and the rest of
Default_Ignorable_Code_Point (Unicode 16, DerivedCoreProperties.txt), and the empty Braille pattern."""


def check_line(text: str, pointer: str, longest: int) -> str:
    """Return `text` unchanged. Invalid unless it is 1-`longest` characters on one line, of which one is visible."""
    if not 1 <= len(text) <= longest or not is_visible(text) or not is_one_line(text):
        raise Invalid.field(pointer, f"must be 1-{longest} characters on one line")
    return text


def is_visible(text: str) -> bool:
    """Return whether at least one character of `text` can be seen: neither white space nor invisible."""
    return not all(map(is_invisible, text))


def is_invisible(character: str) -> bool:
    """Return whether `character` leaves no ink: white space, controls, joiners, marks of direction, fillers."""
    return unicodedata.category(character) in _BLANK or character in _BLANK_LETTERS


def is_one_line(text: str) -> bool:
    """Whether `text` can be stored, printed and logged as it is: no controls, line separators or half characters."""
    return not any(unicodedata.category(character) in _UNFIT for character in text)


def is_storable(text: str) -> bool:
    """Whether both databases keep `text`: no NUL, which PostgreSQL refuses, no lone surrogate, which UTF-8 has not."""
    try:
        return "\0" not in text and (text.isascii() or bool(text.encode()))
    except UnicodeEncodeError:
        return False
