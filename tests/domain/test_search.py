"""Search: words, terms, queries and scores, before any engine."""

from __future__ import annotations

import itertools
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.errors import Invalid
from keystead.domain.search import (
    MAX_INDEXED_BYTES,
    MAX_QUERY,
    MAX_QUERY_WORDS,
    MAX_WORD,
    Term,
    clauses,
    index_terms,
    parse_query,
    words_of,
)

ASSIGNED = itertools.chain(range(0x40000), range(0xE0000, 0xE1000))
"""All characters that Unicode has assigned, except private use."""

LARGEST_TSVECTOR = 1024 * 1024 - 1
PREFIX_LENGTH = 10
TEXT_BYTES = 256 * 1024


def reference_words(text: str) -> list[str]:
    """Return the words by the rule itself, however slow."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    decomposed = unicodedata.normalize("NFKD", decomposed)
    characters = [c for c in decomposed if not unicodedata.category(c).startswith("M")]
    parted = "".join(c if c.isalnum() else " " for c in characters)
    return [word[:MAX_WORD] for word in parted.split(" ") if word]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World", ["hello", "world"]),
        ("v2.1 a.b/c snake_case", ["v2", "1", "a", "b", "c", "snake", "case"]),
        ("Élan vital: naïve", ["elan", "vital", "naive"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("İstanbul", ["istanbul"]),
        ("ﬁne №5 ½", ["fine", "no5", "1", "2"]),
        ("漢字 かな", ["漢字", "かな"]),
        ("ΣΊΣΥΦΟΣ", ["σισυφοσ"]),
        ("", []),
        (" \t…—\0\ud800", []),
        ("x" * 100, ["x" * MAX_WORD]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    """Words that people read as the same are the same, whatever their case, marks or compatibility forms."""
    assert words_of(text) == words


@given(st.text())
def test_words_are_made_by_the_rule(text: str) -> None:
    """The fast implementation gives the words of the rule, for any text."""
    assert words_of(text) == reference_words(text)


def test_every_character_of_unicode_makes_words_that_engines_leave_whole() -> None:
    """Words of any characters are unchanged, and have no ASCII that FTS5 or a tsvector could split or fold."""
    words = words_of(" ".join(map(chr, ASSIGNED)))
    assert words_of(" ".join(words)) == words
    ascii_characters = {character for word in words for character in word if character.isascii()}
    assert ascii_characters == {*string.ascii_lowercase, *string.digits}


def test_terms_have_place_and_frequency() -> None:
    """A word has one term for being there, one for the title, one each for 2, 4 and 8 times."""
    assert index_terms("Key", "key once") == ["akey", "tkey", "aonce"]
    assert index_terms("", "two " * 2) == ["atwo", "btwo"]
    assert index_terms("", "w " * 7) == ["aw", "bw", "cw"]
    assert index_terms("w w w", "w " * 8) == ["aw", "tw", "bw", "cw", "dw"]
    assert index_terms("", "") == []


def distinct_words(alphabet: str) -> str:
    """Return as many different words as fit into a text, the shortest first."""
    words = ("".join(w) for n in range(1, 5) for w in itertools.product(alphabet, repeat=n))
    text = " ".join(itertools.islice(words, TEXT_BYTES))
    return text.encode()[:TEXT_BYTES].decode(errors="ignore")


@pytest.mark.parametrize(
    "alphabet",
    [string.ascii_lowercase + string.digits, "абвгдежзиклмнопрст", "漢字水火木金土日月山川田"],
)
def test_a_text_is_indexed_whole(alphabet: str) -> None:
    """The most words that 256 KiB can hold are all indexed, within a tsvector."""
    text = distinct_words(alphabet)
    terms = index_terms("", text)
    assert {term[1:] for term in terms if term[0] == "a"} == set(words_of(text))
    assert sum(len(term.encode()) + PREFIX_LENGTH for term in terms) < LARGEST_TSVECTOR


def test_a_text_that_expands_is_indexed_as_far_as_there_is_room() -> None:
    """If one character becomes many, the first words are found and the terms fit into a tsvector."""
    squared = [chr(number) for number in range(0x3300, 0x3358)]
    text = " ".join("".join(three) for three in itertools.product(squared, repeat=3))
    terms = index_terms("first", text.encode()[:TEXT_BYTES].decode(errors="ignore"))
    size = sum(len(term.encode()) + PREFIX_LENGTH for term in terms)
    assert terms[:2] == ["afirst", "tfirst"]
    assert MAX_INDEXED_BYTES * 0.9 < size < LARGEST_TSVECTOR


def test_a_run_of_marks_costs_no_more_than_other_text() -> None:
    """A text of only marks, which NFKD would sort in quadratic time, is done in a moment."""
    assert words_of("a" + "\u0300\u0316" * (TEXT_BYTES // 4)) == ["a"]


@pytest.mark.parametrize("query", ["", "  ", "!?*\"'", "one " * 11, "x" * (MAX_QUERY + 1)])
def test_a_query_has_one_to_ten_words(query: str) -> None:
    """A query without a word, with more than ten, or with more than 1,000 characters is refused at its parameter."""
    with pytest.raises(Invalid) as refused:
        parse_query(query)
    assert [error.pointer for error in refused.value.errors] == ["query:query"]


def test_words_of_a_query() -> None:
    """Ten words are allowed, repetitions count once, and the last stays the last."""
    ten = [f"w{n}" for n in range(MAX_QUERY_WORDS)]
    assert parse_query(" ".join(ten)) == tuple(ten)
    assert parse_query("a b a b") == ("a", "b", "b")
    assert parse_query('"Crème" AND NEAR*') == ("creme", "and", "near")


def test_what_a_query_asks() -> None:
    """Every clause requires all words, the last as a prefix; the title scores four, each step of frequency one."""
    required = (Term("aapi", False), Term("ake", True))
    terms = clauses(("api", "ke"))
    assert terms[0] == (0, required)
    assert all(clause.terms[:2] == required for clause in terms)
    extra = {clause.terms[2]: clause.points for clause in terms[1:]}
    assert extra == {
        Term("ake", False): 1,
        Term("tapi", False): 4,
        Term("tke", True): 4,
        **{Term(f"{mark}api", False): 1 for mark in "bcd"},
        **{Term(f"{mark}ke", True): 1 for mark in "bcd"},
    }
