"""Full-text search: words, the index terms of a document, and the clauses and ranking of a query.

Documents and queries are normalised alike before any engine sees them: NFKD (Unicode Standard Annex 15) without marks,
case folded, split at everything that is neither letter nor digit. An engine gets only terms: a class, then a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from keystead.domain.errors import Invalid

MAX_QUERY: Final = 1_000
MAX_QUERY_WORDS: Final = 10
MAX_WORD: Final = 64
"""Characters of a word that count; the rest of a longer word is ignored."""

MAX_INDEXED_BYTES: Final = 1_000_000
"""Bytes for the terms of a document in a PostgreSQL tsvector, which has at most 1,048,575."""

_TERM_OVERHEAD = 12
_WORD = re.compile(r"[^\W_]+")
_ANYWHERE, _IN_TITLE = "a", "t"
_OFTEN = (("b", 2), ("c", 4), ("d", 8))
_TITLE_POINTS = 4


class Term(NamedTuple):
    """A term to look up; with `prefix`, all terms that begin with it."""

    text: str
    prefix: bool


class Clause(NamedTuple):
    """Documents with all `terms` match, and get `points`."""

    points: int
    terms: tuple[Term, ...]


def words_of(text: str) -> list[str]:
    """Return the normalised words of `text` in order, each at most MAX_WORD characters of letters and digits."""
    folded = text.lower() if text.isascii() else _folded(text)
    return [word[:MAX_WORD] for word in _WORD.findall(folded)]


def index_terms(title: str, text: str) -> list[str]:
    """Return the terms to index of a document, each once, in the order of its words.

    Every word has a term `a` + word; words of the title also `t` + word; words that occur at least 2, 4 or 8 times in
    the text also `b`, `c` or `d` + word. Words are indexed in order, the title's first, up to MAX_INDEXED_BYTES. A text
    of 256 KiB reaches that limit only with characters that expand under NFKD, of which one becomes up to 18.
    """
    in_title, in_text = dict.fromkeys(words_of(title)), Counter(words_of(text))
    terms: list[str] = []
    room = MAX_INDEXED_BYTES
    for word in dict.fromkeys([*in_title, *in_text]):
        added = _terms_of(word, word in in_title, in_text[word])
        room -= len(added) * (len(word.encode()) + _TERM_OVERHEAD)
        if room < 0:
            break
        terms += added
    return terms


def parse_query(query: str) -> tuple[str, ...]:
    """Return the words of a query; the last one is a prefix. Invalid unless there are 1-10."""
    words = words_of(query) if len(query) <= MAX_QUERY else []
    if not 1 <= len(words) <= MAX_QUERY_WORDS:
        raise Invalid.field(
            "query:query",
            f"must have 1-{MAX_QUERY_WORDS} words in at most {MAX_QUERY:,} characters",
        )
    *whole, last = words
    return (*dict.fromkeys(whole), last)


def clauses(words: Sequence[str]) -> tuple[Clause, ...]:
    """Return the clauses of the words from parse_query.

    A document matches by the first clause. Its rank is the sum of the points of all clauses that it fulfils; newer
    documents come first within a rank. Each word gets 4 points in the title, and one each for 2, 4 and 8 occurrences in
    the text; the last word gets one more if it is whole. How common a word is elsewhere doesn't count.
    """
    *whole, last = words
    required = tuple(_lookup(_ANYWHERE, whole, last))
    extras = [Clause(1, (*required, Term(_ANYWHERE + last, prefix=False)))]
    classes = ((_IN_TITLE, _TITLE_POINTS), *((name, 1) for name, _ in _OFTEN))
    for name, points in classes:
        extras += [Clause(points, (*required, term)) for term in _lookup(name, whole, last)]
    return (Clause(0, required), *extras)


def _terms_of(word: str, in_title: bool, times: int) -> list[str]:
    terms = [_ANYWHERE + word]
    if in_title:
        terms.append(_IN_TITLE + word)
    if times > 1:
        terms += [name + word for name, least in _OFTEN if times >= least]
    return terms


def _lookup(name: str, whole: Sequence[str], last: str) -> Iterator[Term]:
    yield from (Term(name + word, prefix=False) for word in whole)
    yield Term(name + last, prefix=True)


def _folded(text: str) -> str:
    # Each character on its own: across characters NFKD only sorts marks, which are dropped, and takes quadratic time
    # for a run of them.
    return text.translate({ord(character): _fold(character) for character in set(text)})


@lru_cache(maxsize=16_384)
def _fold(character: str) -> str:
    folded = unicodedata.normalize("NFKD", character).casefold()
    decomposed = unicodedata.normalize("NFKD", folded)
    return "".join(c for c in decomposed if not unicodedata.category(c).startswith("M"))
