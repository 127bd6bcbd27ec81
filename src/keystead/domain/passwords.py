"""Passwords: normalisation and rules. Hazmat. Services compute the slow hash.

NIST SP 800-63B-4 section 3.1.1 and OWASP ASVS 5.0 section 6.2 require length and resistance to guessing, without rules
of composition, periodic changes or truncation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from keystead.domain.errors import Invalid
from keystead.domain.text import is_storable

MIN_LENGTH: Final = 15
"""Characters of a password that is the only factor."""
MAX_BYTES: Final = 256
"""Bytes of UTF-8, enough for 64 characters of any script. The limit bounds the cost of a hash."""
GUESSES: Final = 10**10
"""The least number of guesses that an informed attacker must need."""
ESTIMATED_LENGTH: Final = 32
"""Characters that are estimated. The cost grows fast with the length, while more characters only help."""

_ALIKE: Final = str.maketrans("@{[<!|$+", "4(((1157")
"""Signs that replace the same letter, mapped to one of them. Otherwise the estimate would try every combination,
hundreds in 15 characters. An attacker tries them all too, so the choice of a sign adds no strength.
"""

_WORD: Final = re.compile(r"\w{3,}")
_SEPARATORS: Final = re.compile(r"[\W_]+")


class Password:
    """A typed password in NFKC, so that every keyboard writes the same. Its repr shows nothing.

    Compatible forms are equal (NIST SP 800-63B-4 section 3.1.1.2); case and spaces are kept.
    """

    __slots__ = ("_text",)

    def __init__(self, typed: str) -> None:
        self._text = unicodedata.normalize("NFKC", typed)

    def reveal(self) -> str:
        """Return the text to hash."""
        return self._text

    @property
    def can_be_one(self) -> bool:
        """Return whether such a password can exist: not empty, within the limit, of whole characters."""
        text = self._text
        return bool(text) and is_storable(text) and len(text.encode()) <= MAX_BYTES

    def forms(self) -> tuple[str, ...]:
        """Return what an attacker would try: the beginning and, if it is mostly words, the words without separators."""
        head = self._text[:ESTIMATED_LENGTH]
        joined, signs = _SEPARATORS.sub("", head), head.translate(_ALIKE)
        return (signs, joined) if 2 * len(joined) >= len(head) else (signs,)

    def __repr__(self) -> str:
        return "<Password>"

    def __reduce__(self) -> str:
        raise TypeError("a password is not pickled")


def check_length(password: Password, pointer: str = "/password") -> None:
    """Raise Invalid unless it has at least 15 characters and at most 256 bytes of storable text."""
    if len(password.reveal()) < MIN_LENGTH:
        raise Invalid.field(
            pointer, f"must have at least {MIN_LENGTH} characters; a sentence will do"
        )
    if not password.can_be_one:
        raise Invalid.field(pointer, f"must have at most {MAX_BYTES} bytes in UTF-8")


def check_guesses(guesses: float, pointer: str = "/password") -> None:
    """Raise Invalid if an attacker needs too few guesses."""
    if guesses < GUESSES:
        raise Invalid.field(
            pointer,
            "is too easily guessed: it is a common password, a pattern, or made of names of this account."
            " Use a few words that are unrelated",
        )


def context_words(texts: Iterable[str | None]) -> list[str]:
    """Return what an attacker knows about an account: each text, its longer words, and its words joined."""
    words: dict[str, None] = {}
    for text in texts:
        if text:
            folded = unicodedata.normalize("NFKC", text).casefold()
            parts = _WORD.findall(_SEPARATORS.sub(" ", folded))
            words.update(dict.fromkeys([folded, _SEPARATORS.sub("", folded), *parts]))
    return list(words)
