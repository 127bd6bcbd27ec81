"""Passwords: how what a person typed is read, and what may become one. The slow hash stands in services. Hazmat.

The bar is NIST SP 800-63B-4 section 3.1.1 and OWASP ASVS 5.0 section 6.2: length, and nothing that is easily guessed;
no rules of composition, no change by the calendar, nothing cut off.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from keystead.domain.errors import Invalid
from keystead.domain.text import is_storable

MIN_LENGTH: Final = 15
"""Characters, where the password is the only factor."""
MAX_BYTES: Final = 256
"""Bytes of UTF-8: room for 64 characters of any script. A bound, so that nobody can make a hash cost more."""
GUESSES: Final = 10**10
"""A password that an informed guesser would find in fewer tries is refused."""
ESTIMATED_LENGTH: Final = 32
"""Characters that the estimate looks at; its cost grows fast with the length, and a guesser gains nothing by more."""

_ALIKE: Final = str.maketrans("@{[<!|$+", "4(((1157")
"""Signs that are written for the same letter, as one of them. The estimate tries every combination of signs and
letters: hundreds in 15 characters. A guesser tries them all too, so which of the signs it is adds nothing.
"""

_WORD: Final = re.compile(r"\w{3,}")
_SEPARATORS: Final = re.compile(r"[\W_]+")


class Password:
    """What was typed, in Unicode's NFKC, so that every keyboard writes the same. Its repr shows nothing.

    Compatible forms count as one (NIST SP 800-63B-4 section 3.1.1.2), case and spaces count as they are.
    """

    __slots__ = ("_text",)

    def __init__(self, typed: str) -> None:
        self._text = unicodedata.normalize("NFKC", typed)

    def reveal(self) -> str:
        """The text that is hashed."""
        return self._text

    @property
    def can_be_one(self) -> bool:
        """Whether such a password can have been set at all: not empty, within the bound, of whole characters."""
        text = self._text
        return bool(text) and is_storable(text) and len(text.encode()) <= MAX_BYTES

    def forms(self) -> tuple[str, ...]:
        """What a guesser would try: the beginning as it is and, where it is mostly words, without what parts them."""
        head = self._text[:ESTIMATED_LENGTH]
        joined, signs = _SEPARATORS.sub("", head), head.translate(_ALIKE)
        return (signs, joined) if 2 * len(joined) >= len(head) else (signs,)

    def __repr__(self) -> str:
        return "<Password>"

    def __reduce__(self) -> str:
        raise TypeError("a password is not pickled")


def check_length(password: Password, pointer: str = "/password") -> None:
    """Invalid unless it has at least 15 characters, and at most 256 bytes of text that can be kept."""
    if len(password.reveal()) < MIN_LENGTH:
        raise Invalid.field(
            pointer, f"must have at least {MIN_LENGTH} characters; a sentence will do"
        )
    if not password.can_be_one:
        raise Invalid.field(pointer, f"must have at most {MAX_BYTES} bytes, of characters in UTF-8")


def check_guesses(guesses: float, pointer: str = "/password") -> None:
    """Invalid where so many guesses, and no more, find the password."""
    if guesses < GUESSES:
        raise Invalid.field(
            pointer,
            "is too easily guessed: it is a common password, a pattern, or made of names that go with this account;"
            " take a few words that do not belong together",
        )


def context_words(texts: Iterable[str | None]) -> list[str]:
    """What a guesser knows of this account: each text, its words of three letters or more, and all of them joined."""
    words: dict[str, None] = {}
    for text in texts:
        if text:
            folded = unicodedata.normalize("NFKC", text).casefold()
            parts = _WORD.findall(_SEPARATORS.sub(" ", folded))
            words.update(dict.fromkeys([folded, _SEPARATORS.sub("", folded), *parts]))
    return list(words)
