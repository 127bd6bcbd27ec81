"""Full-text search: what a word is, what is indexed of a document, what a query asks and how a match is ranked.

Index and query are normalised alike, before any engine sees them: NFKD (Unicode Standard Annex 15), marks dropped, case
folded, split at what is neither letter nor digit. The engines are handed terms only: one letter, then a word.
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
"""Characters of a word that count; longer ones are alike when they begin alike."""

MAX_INDEXED_BYTES: Final = 1_000_000
"""What the terms of one document may take in a PostgreSQL tsvector, which ends at 1,048,575 bytes."""

_TERM_OVERHEAD = 12
_WORD = re.compile(r"[^\W_]+")
_ANYWHERE, _IN_TITLE = "a", "t"
_OFTEN = (("b", 2), ("c", 4), ("d", 8))
_TITLE_POINTS = 4


class Term(NamedTuple):
    """A term to look up; with `prefix`, every term that begins so."""

    text: str
    prefix: bool


class Clause(NamedTuple):
    """Documents that hold all `terms` match, and earn `points` by it."""

    points: int
    terms: tuple[Term, ...]


def words_of(text: str) -> list[str]:
    """The normalised words of `text` in order, each at most MAX_WORD characters of letters and digits."""
    folded = text.lower() if text.isascii() else _folded(text)
    return [word[:MAX_WORD] for word in _WORD.findall(folded)]


def index_terms(title: str, text: str) -> list[str]:
    """The terms to index of a document, each once, in the order of its words.

    They are `a` and the word; `t` and the word for those of the title; `b`, `c`, `d` and the word for those that stand
    at least 2, 4, 8 times in the text. Words are taken in order, the title's first, until their terms reach
    MAX_INDEXED_BYTES; what follows is not found. No text of 256 KiB gets there unless its characters expand under NFKD
    (one becomes up to 18).
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
    """The words of a query, the last being a prefix. Invalid unless there are 1-10."""
    words = words_of(query) if len(query) <= MAX_QUERY else []
    if not 1 <= len(words) <= MAX_QUERY_WORDS:
        raise Invalid.field(
            "query:query",
            f"must hold 1-{MAX_QUERY_WORDS} words in at most {MAX_QUERY:,} characters",
        )
    *whole, last = words
    return (*dict.fromkeys(whole), last)


def clauses(words: Sequence[str]) -> tuple[Clause, ...]:
    """What the words of parse_query ask, and what matches are worth.

    A document matches by the first clause; its rank is the sum of the points of all clauses it fulfils, and of two with
    the same rank the newer comes first. Each word earns 4 points in the title, and one each for standing 2, 4 and 8
    times in the text; the last word one more where it stands whole. Only the document itself counts, never how common
    a word is elsewhere.
    """
    *whole, last = words
    required = tuple(_lookup(_ANYWHERE, whole, last))
    extras = [Clause(1, (*required, Term(_ANYWHERE + last, prefix=False)))]
    for mark, points in ((_IN_TITLE, _TITLE_POINTS), *((mark, 1) for mark, _ in _OFTEN)):
        extras += [Clause(points, (*required, term)) for term in _lookup(mark, whole, last)]
    return (Clause(0, required), *extras)


def _terms_of(word: str, titled: bool, times: int) -> list[str]:
    terms = [_ANYWHERE + word]
    if titled:
        terms.append(_IN_TITLE + word)
    if times > 1:
        terms += [mark + word for mark, least in _OFTEN if times >= least]
    return terms


def _lookup(mark: str, whole: Sequence[str], last: str) -> Iterator[Term]:
    yield from (Term(mark + word, prefix=False) for word in whole)
    yield Term(mark + last, prefix=True)


def _folded(text: str) -> str:
    """Character by character: what NFKD does across characters is to sort marks, and they are dropped.

    It would also take time that grows with the square of a run of marks.
    """
    return text.translate({ord(character): _fold(character) for character in set(text)})


@lru_cache(maxsize=16_384)
def _fold(character: str) -> str:
    folded = unicodedata.normalize("NFKD", character).casefold()
    decomposed = unicodedata.normalize("NFKD", folded)
    return "".join(c for c in decomposed if not unicodedata.category(c).startswith("M"))
