"""Search: words, terms, queries and scores, before any engine."""

from __future__ import annotations

import itertools
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.errors import Invalid, InvalidCursor
from keystead.domain.search import (
    MAX_INDEXED_BYTES,
    MAX_QUERY,
    MAX_QUERY_WORDS,
    MAX_SNIPPET,
    MAX_WORD,
    SAME_BEGINNING,
    Query,
    SearchPosition,
    Term,
    index_terms,
    parse_query,
    snippet,
    words_of,
)

ASSIGNED = itertools.chain(range(0x40000), range(0xE0000, 0xE1000))
"""All characters that Unicode has assigned, except private use."""

LARGEST_TSVECTOR = 1024 * 1024 - 1
PREFIX_LENGTH = 16
"""The length of a mark and a segment of a collection with twenty million documents and more."""
TEXT_BYTES = 256 * 1024


def reference_words(text: str) -> list[str]:
    """Return the words by the rule itself, each once, however slow."""
    text = "".join(c for c in text if c not in "\u00ad\u200b\u2060\ufeff")
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    decomposed = unicodedata.normalize("NFKD", decomposed)
    characters = [c for c in decomposed if not unicodedata.category(c).startswith("M")]
    parted = "".join(c if c.isalnum() else " " for c in characters)
    return list(dict.fromkeys(word[:MAX_WORD] for word in parted.split(" ") if word))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World", ["hello", "world"]),
        ("v2.1 a.b/c snake_case", ["v2", "1", "a", "b", "c", "snake", "case"]),
        ("Élan vital: naïve", ["elan", "vital", "naive"]),
        ("Straße STRASSE", ["strasse"]),
        ("İstanbul", ["istanbul"]),
        ("ﬁne №5 ½", ["fine", "no5", "1", "2"]),
        ("漢字 かな", ["漢", "字", "漢字", "か", "な", "かな"]),
        ("iPhone用ケース", ["iphone", "用", "ケ", "ー", "ス", "用ケ", "ケー", "ース"]),
        ("ภาษาไทย", [*dict.fromkeys("ภาษาไทย"), "ภา", "าษ", "ษา", "าไ", "ไท", "ทย"]),
        ("pass\u00adword", ["password"]),
        ("pass\u2060word\ufeff key\u200bstead", ["password", "keystead"]),
        ("ΣΊΣΥΦΟΣ", ["σισυφοσ"]),
        ("", []),
        (" \t…—\0\ud800", []),
        ("x" * 100, ["x" * MAX_WORD]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    """Words that people read as the same are the same, whatever their case, marks or compatibility forms."""
    assert words_of(text) == words


@given(st.text(st.characters(exclude_categories=["Lo"])))
def test_words_are_made_by_the_rule(text: str) -> None:
    """The fast implementation gives the words of the rule, for any text of scripts with spaces."""
    assert words_of(text) == reference_words(text)


@given(st.text(st.sampled_from("漢字検索のテストคำไทย"), min_size=1, max_size=30), st.data())
def test_any_part_of_a_run_without_spaces_is_found(run: str, data: st.DataObject) -> None:
    """Every part of a run without spaces, wherever it begins, needs only terms that the document has."""
    start = data.draw(st.integers(0, len(run) - 1))
    part = run[start : data.draw(st.integers(start + 1, len(run)))]
    terms = set(index_terms("", f"a {run} b"))
    try:
        query = parse_query(part)
    except Invalid:  # nothing is left of marks alone
        return
    for clause in query.clauses(prefix=True):
        assert {term.text for term in clause} & terms, part


def test_every_character_of_unicode_makes_words_that_engines_leave_whole() -> None:
    """Words of any characters are unchanged, and have no ASCII that FTS5 or a tsvector could split or fold."""
    words = words_of(" ".join(map(chr, ASSIGNED)))
    assert set(words_of(" ".join(words))) == set(words)
    ascii_characters = {character for word in words for character in word if character.isascii()}
    assert ascii_characters == {*string.ascii_lowercase, *string.digits}


def test_terms_are_words_each_once() -> None:
    """A word has one term, wherever and however often it occurs; characters and pairs of a run have one each."""
    assert index_terms("Key", "key once once") == ["pkey", "ponce"]
    assert index_terms("漢字", "key 字字") == ["pkey", "w漢", "w字", "w漢字", "w字字"]
    assert index_terms("", "") == []


def test_only_some_words_of_one_beginning_are_found_by_it() -> None:
    """Many words with the same two first letters: the later ones are whole only; others are not affected."""
    many = [f"co{number}" for number in range(SAME_BEGINNING + 5)]
    terms = index_terms("", " ".join([*many, "other", *many]))
    assert terms == [
        *(f"p{word}" for word in many[:SAME_BEGINNING]),
        *(f"w{word}" for word in many[SAME_BEGINNING:]),
        "pother",
    ]


def distinct_words(alphabet: str) -> str:
    """Return as many different words as the index has room for, the shortest first."""
    words = ("".join(w) for n in range(1, 6) for w in itertools.product(alphabet, repeat=n))
    text = " ".join(itertools.islice(words, 45_000))
    return text.encode()[:TEXT_BYTES].decode(errors="ignore")


@pytest.mark.parametrize(
    "alphabet",
    [
        string.ascii_lowercase + string.digits,
        "абвгдежзиклмнопрст",
        "".join(map(chr, range(0x4E00, 0x4E20))),
    ],
)
def test_a_text_is_indexed_whole(alphabet: str) -> None:
    """Tens of thousands of different words are all indexed, within a tsvector."""
    text = distinct_words(alphabet)
    terms = index_terms("", text)
    assert {term[1:] for term in terms} == set(words_of(text))
    assert sum(len(term.encode()) + PREFIX_LENGTH for term in terms) < LARGEST_TSVECTOR


def test_a_text_is_indexed_as_far_as_there_is_room() -> None:
    """Of the most different words that 256 KiB can hold, the first are found and the terms fit into a tsvector."""
    letters = string.ascii_lowercase + string.digits
    words = ("".join(w) for n in range(1, 5) for w in itertools.product(letters, repeat=n))
    terms = index_terms("first", " ".join(itertools.islice(words, 62_000)))
    size = sum(len(term.encode()) + PREFIX_LENGTH for term in terms)
    assert terms[0] == "pfirst"
    assert MAX_INDEXED_BYTES * 0.9 < size < LARGEST_TSVECTOR


def test_a_run_of_marks_costs_no_more_than_other_text() -> None:
    """A text of only marks, which NFKD would sort in quadratic time, is done in a moment."""
    assert words_of("a" + "\u0300\u0316" * (TEXT_BYTES // 4)) == ["a"]


MISTAKES = {
    "": "is empty: enter 1-10 words",
    "  ": "is empty: enter 1-10 words",
    "!?*\"'": "has no letter and no digit: enter 1-10 words",
    "one two " * 5
    + "the ELEVENTH word": "has 13 words: at most 10 are allowed, so leave out “the” and what follows",
    "x" * (MAX_QUERY + 1): "has 1,001 characters: at most 1,000 are allowed",
}


@pytest.mark.parametrize("query", MISTAKES)
def test_a_mistake_in_a_query_is_explained(query: str) -> None:
    """1-10 words in at most 1,000 characters; the refusal says what is wrong, and where."""
    with pytest.raises(Invalid) as refused:
        parse_query(query)
    [error] = refused.value.errors
    assert (error.pointer, error.detail) == ("query:query", MISTAKES[query])


def test_words_of_a_query() -> None:
    """Ten words are allowed, repetitions count once, and the last stays the last."""
    ten = [f"w{n}" for n in range(MAX_QUERY_WORDS)]
    assert parse_query(" ".join(ten)) == Query(tuple(ten[:-1]), (), "w9")
    assert parse_query("a b a b") == Query(("a", "b"), (), "b")
    assert parse_query('"Crème" AND NEAR*') == Query(("creme", "and"), (), "near")
    assert parse_query("漢字 x") == Query((), ("漢字",), "x")
    assert parse_query("x 漢字検") == Query(("x",), ("漢字", "字検"), "")
    assert parse_query("漢") == Query((), ("漢",), "")


def test_a_long_run_in_a_query_is_bounded() -> None:
    """A run without spaces is one word of the ten, and its first eleven characters count."""
    run = "".join(map(chr, range(0x4E00, 0x4E40)))
    assert parse_query(" ".join([run] * 10)).spaceless == tuple(
        run[start : start + 2] for start in range(10)
    )


def test_what_a_query_asks() -> None:
    """All words must occur; only the last is a beginning too, and only from two letters on."""
    whole = (Term("papi"), Term("wapi"))
    query = parse_query("api ke")
    assert query.clauses(prefix=True) == [whole, (Term("pke", prefix=True), Term("wke"))]
    assert query.clauses(prefix=False) == [whole, (Term("pke"), Term("wke"))]
    assert not parse_query("api k").has_prefix
    assert parse_query("漢字").clauses(prefix=True) == [(Term("w漢字"),)]


@pytest.mark.parametrize(
    ("title", "is_whole", "points"),
    [
        ("", False, 0),
        ("", True, 1),
        ("Api", False, 2),
        ("API keys", False, 3),
        ("API key", True, 5),
        ("Schlüssel: key api", True, 5),
        ("rapid", False, 0),
    ],
)
def test_points(title: str, is_whole: bool, points: int) -> None:
    """A word in the title counts two, its beginning one, and having the last word whole one."""
    assert parse_query("api key").points(title, is_whole=is_whole) == points


def test_positions_are_read_as_they_are_written() -> None:
    """A position survives a cursor; a forged one is refused."""
    position = SearchPosition(3, 17, 100_000)
    assert SearchPosition.parse(str(position)) == position
    for forged in (
        "",
        "1.2",
        "1.2.3.4",
        "-1.2.3",
        "1.0.3",
        "1.2.9999999999999999999",
        "\u0661.2.3",
    ):
        with pytest.raises(InvalidCursor):
            SearchPosition.parse(forged)


@pytest.mark.parametrize(
    ("text", "query", "shown"),
    [
        ("", "key", ""),
        ("A short text\n with  a key.", "key", "A short text with a key."),
        ("no hit", "key", "no hit"),
        ("Straße", "strasse", "Straße"),
    ],
)
def test_short_snippets(text: str, query: str, shown: str) -> None:
    """A short text is shown whole, on one line."""
    assert snippet(text, parse_query(query)) == shown


@pytest.mark.parametrize(
    ("hit", "query"),
    [
        ("passwords", "password"),
        ("\uff30asswörter", "passworter"),
        ("パスワード", "スワ"),
        ("İstanbul", "ist"),
        ("pass\u00adword", "password"),
    ],
)
def test_a_snippet_is_around_the_first_hit(hit: str, query: str) -> None:
    """In a long text it shows the first hit with words before and after it, cut between words."""
    text = f"{'ﬁller é ' * 200}the {hit} here {'more words ' * 200}"
    shown = snippet(text, parse_query(query))
    assert f"the {hit} here" in shown
    assert len(shown) <= MAX_SNIPPET + 2
    assert shown.startswith("…")
    assert shown.endswith(("more…", "words…"))


@pytest.mark.parametrize("more", ["", "ก"])
def test_a_snippet_begins_with_a_letter(more: str) -> None:
    """A mark whose letter is cut off is cut off too: it would be shown on the ellipsis."""
    shown = snippet("ก\u0e48" * 60 + more + "ข", parse_query("ข"))
    assert shown.startswith("…ก")


@given(st.text(max_size=400), st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=4))
def test_any_text_has_a_snippet(text: str, word: str) -> None:
    """For any text and query the snippet is short, on one line, and made of the text's words."""
    try:
        query = parse_query(word)
    except Invalid:
        return
    shown = snippet(text, query)
    assert len(shown) <= MAX_SNIPPET + 2
    assert len(shown.splitlines()) <= 1
    assert shown.strip("…") in " ".join(text.split())
