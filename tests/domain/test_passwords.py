"""How passwords are normalised, and which ones are valid."""

from __future__ import annotations

import pickle

import pytest

from keystead.domain.errors import Invalid
from keystead.domain.passwords import (
    ESTIMATED_LENGTH,
    GUESSES,
    MAX_BYTES,
    MIN_LENGTH,
    Password,
    check_guesses,
    check_length,
    context_words,
)

SENTENCE = "zebra lamp ocean 7 pie"


def test_bounds() -> None:
    """At least 15 characters for a single factor, with room for 64 of any script (NIST SP 800-63B-4 3.1.1)."""
    assert MIN_LENGTH == 15
    assert len(("𐍈" * 64).encode()) <= MAX_BYTES


@pytest.mark.parametrize("text", ["x" * 15, "𐍈" * 64, "é" * 128, " " * 15, "a" * 256])
def test_what_may_be_one(text: str) -> None:
    """Any fifteen characters suffice; 64 of four bytes are allowed."""
    check_length(Password(text))


@pytest.mark.parametrize(
    "text", ["", "x" * 14, "𐍈" * 65, "a" * 257, "nul in the middle\0", "half \ud800 of a pair"]
)
def test_what_may_not(text: str) -> None:
    """Shorter, longer than the bound, or not encodable as UTF-8: refused, with the given pointer."""
    with pytest.raises(Invalid) as refused:
        check_length(Password(text), "/new")
    assert [error.pointer for error in refused.value.errors] == ["/new"]


def test_characters_count_and_not_bytes() -> None:
    """Fourteen characters are too few, however many bytes they take."""
    with pytest.raises(Invalid):
        check_length(Password("é" * 14))


def test_every_keyboard_writes_the_same() -> None:
    """Composed or not, full width or not: the same password. Case and spaces are kept."""
    assert Password("caf\u0065\u0301").reveal() == Password("caf\u00e9").reveal()
    assert Password("\uff41\uff42\uff43").reveal() == "abc"
    assert Password(" A b ").reveal() == " A b "


def test_nothing_is_cut_off() -> None:
    """The last of 256 characters counts."""
    assert Password("a" * 255 + "b").reveal() != Password("a" * 256).reveal()


def test_it_is_never_shown() -> None:
    """Neither repr nor str nor an error holds the password, and it cannot be pickled."""
    password = Password(SENTENCE)
    assert SENTENCE not in f"{password} {password!r}"
    with pytest.raises(TypeError):
        pickle.dumps(password)
    with pytest.raises(Invalid) as refused:
        check_guesses(1)
    assert SENTENCE not in str(refused.value)


def test_guessing_is_the_bound() -> None:
    """One guess less than the bound is too few."""
    check_guesses(GUESSES)
    with pytest.raises(Invalid, match="easily guessed"):
        check_guesses(GUESSES - 1)


def test_forms() -> None:
    """Words are also tried without separators; a password of symbols is tried unchanged. Only the start is."""
    assert Password("monkey dragon-shadow").forms() == (
        "monkey dragon-shadow",
        "monkeydragonshadow",
    )
    assert Password("a!$%&/()=?#;:-+").forms() == ("a15%&/()=?#;:-7",)
    assert all(len(form) <= ESTIMATED_LENGTH for form in Password("ab" * 100).forms())


def test_context_words() -> None:
    """Names and addresses count whole, joined, and as words of three letters or more; in one case."""
    words = context_words(["Ada Lovelace", "a.lovelace@Example.COM", None, ""])
    assert set(words) == {
        "ada lovelace",
        "adalovelace",
        "ada",
        "lovelace",
        "a.lovelace@example.com",
        "alovelaceexamplecom",
        "example",
        "com",
    }
