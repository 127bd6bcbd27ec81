"""Full-text search: the terms of a document, what a query looks up, its ranking, and snippets.

Documents and queries are normalised alike before any engine sees them: NFKD (Unicode Standard Annex 15) without marks,
case folded, without invisible separators inside words, split at everything that is neither letter nor digit. Runs of a
script without spaces, such as Chinese or Thai, are looked up by their characters and pairs of neighbouring characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from operator import add
from typing import Final, NamedTuple, Self

from keystead.domain.errors import FieldError, Invalid, InvalidCursor

MAX_QUERY: Final = 1_000
MAX_QUERY_WORDS: Final = 10
MAX_WORD: Final = 64
"""Characters of a word that count; the rest of a longer word is ignored."""
MAX_QUERY_PAIRS: Final = 10
"""Pairs of characters of a query's run without spaces that count."""
MIN_PREFIX: Final = 2
"""Characters that the last word must have to count as the beginning of a word."""
SAME_BEGINNING: Final = 64
"""How many of a document's words with the same two first characters can be found by their beginning.

It bounds what a prefix matches, whatever people wrote: further words are found whole only.
"""
CANDIDATES: Final = 1_000
"""The newest matches that a search ranks."""
SEGMENT: Final = 2_048
"""Documents of a collection, in the order of their numbers, whose words are looked up together."""
MAX_SEGMENTS: Final = 500
"""The newest segments that a search looks through: about a million documents."""

MAX_INDEXED_BYTES: Final = 1_040_000
"""Bytes for the terms of a document in a PostgreSQL tsvector, which has at most 1,048,575."""
SNIPPET_SOURCE: Final = 8_000
"""Characters of a text, from its beginning, that a snippet can be taken from."""
MAX_SNIPPET: Final = 200

_TERM_OVERHEAD = (
    16  # of bytes: the collection's mark and the segment, which storage puts before each term
)
_BEFORE_HIT = 60
_PREFIXABLE, _WHOLE = "p", "w"
_TITLE_WORD, _TITLE_BEGINNING, _WHOLE_WORDS = 2, 1, 1
_WORD = re.compile(r"[^\W_]+")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_INSIDE_WORDS = (
    "\u00ad\u200b\u2060\ufeff"  # soft hyphen, zero-width space, word joiner, its predecessor
)
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f"  # Thai to Bali
    "\u3005-\u3007\u3041-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"  # Japanese, Chinese
    "\ua000-\ua4cf\ua980-\ua9ff\uaa60-\uaadf\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_HAS_SPACELESS = re.compile(f"[{_SPACELESS}]")
_SAME_KIND = re.compile(f"[{_SPACELESS}]+|[^{_SPACELESS}]+")
_POSITION = re.compile(r"(0|[1-9][0-9]{0,3})\.([1-9][0-9]{0,17})\.([1-9][0-9]{0,17})")


class Term(NamedTuple):
    """A term to look up; with `prefix`, all terms that begin with it."""

    text: str
    prefix: bool = False


Clause = tuple[Term, ...]
"""Terms of which a document must have at least one."""


class SearchPosition(NamedTuple):
    """Where the next page of a search continues: after the document of that rank.

    `newest` is the number of the newest document at the first page: the pages after it leave out later documents.
    """

    points: int
    number: int
    newest: int

    def __str__(self) -> str:
        return f"{self.points}.{self.number}.{self.newest}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the position that `str` wrote. Raises InvalidCursor."""
        match = _POSITION.fullmatch(text)
        if match is None:
            raise InvalidCursor(
                [FieldError("query:cursor", "The cursor is not valid for this list.")]
            )
        return cls(*map(int, match.groups()))


@dataclass(frozen=True)
class Query:
    """The words of a search: `whole` ones, characters and pairs of scripts without spaces, and the last word.

    `last` is empty if the query ends with a script without spaces. It counts as a beginning too if it is long enough.
    """

    whole: tuple[str, ...]
    spaceless: tuple[str, ...]
    last: str

    @property
    def has_prefix(self) -> bool:
        """Whether the last word is also looked up as the beginning of a word."""
        return len(self.last) >= MIN_PREFIX

    def is_beginning(self, word: str) -> bool:
        """Return whether longer words that begin with this one count too."""
        return word == self.last and self.has_prefix

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of scripts with spaces, the last one included."""
        return (*self.whole, self.last) if self.last else self.whole

    def clauses(self, *, prefix: bool) -> list[Clause]:
        """Return what a document must fulfil, all of it. With `prefix`, the last word may be a beginning."""
        found = [_whole(word) for word in self.whole]
        if self.last:
            found.append(_beginning(self.last) if prefix else _whole(self.last))
        return found + [(Term(_WHOLE + gram),) for gram in self.spaceless]

    def may_occur(self, text: str) -> bool:
        """Return whether a text may have some of the words: quickly, so that most titles need no further look."""
        lowered = text.lower()
        return not text.isascii() or any(word in lowered for word in self.words)

    def points(self, title: str, *, is_whole: bool) -> int:
        """Return the points of a match: its place in the results; among equals the newer document comes first.

        A word in the title counts 2, or 1 if only the last word's beginning is there. Having the last word as a whole
        word (`is_whole`) counts 1.
        """
        points = _WHOLE_WORDS * is_whole
        if not title or not self.may_occur(title):
            return points
        words, runs = _split(title)
        titled = {*words, *_grams(runs)}
        points += _TITLE_WORD * sum(word in titled for word in (*self.whole, *self.spaceless))
        if self.last in titled:
            return points + _TITLE_WORD
        is_begun = self.has_prefix and any(word.startswith(self.last) for word in words)
        return points + _TITLE_BEGINNING * is_begun


def index_terms(title: str, text: str) -> list[str]:
    """Return the terms to index of a document, each once: a class, then a word.

    Words come first, in the order of the text, up to MAX_INDEXED_BYTES. A text of 256 KiB reaches that limit only with
    tens of thousands of different words, or with characters that expand under NFKD, of which one becomes up to 18.
    """
    words, runs = _split(f"{title}\n{text}")
    terms = _classified(words)
    terms += [_WHOLE + gram for gram in _grams(runs)]
    most = sum(map(len, terms)) * 4 + len(terms) * _TERM_OVERHEAD  # UTF-8 has at most 4 bytes
    return terms if most <= MAX_INDEXED_BYTES else _fitting(terms)


def parse_query(query: str) -> Query:
    """Return the words of a query. Invalid unless there are 1-10: it says what is wrong, and where."""
    if len(query) > MAX_QUERY:
        raise _wrong(f"has {len(query):,} characters: at most {MAX_QUERY:,} are allowed")
    parts = _parts(query)
    if not parts:
        why = "is empty" if not query.strip() else "has no letter and no digit"
        raise _wrong(f"{why}: enter 1-{MAX_QUERY_WORDS} words")
    if len(parts) > MAX_QUERY_WORDS:
        first = parts[MAX_QUERY_WORDS][:MAX_WORD]
        raise _wrong(
            f"has {len(parts)} words: at most {MAX_QUERY_WORDS} are allowed, so leave out “{first}” and what follows"
        )
    whole, spaceless, last = [], [], ""
    for part in parts:
        if _HAS_SPACELESS.match(part):
            spaceless += _pairs(part[: MAX_QUERY_PAIRS + 1]) or [part]
        else:
            whole.append(part[:MAX_WORD])
    if not _HAS_SPACELESS.match(parts[-1]):
        last = whole.pop()
    return Query(tuple(dict.fromkeys(whole)), tuple(dict.fromkeys(spaceless)), last)


def _wrong(detail: str) -> Invalid:
    return Invalid.field("query:query", detail)


def snippet(text: str, query: Query) -> str:
    """Return at most MAX_SNIPPET characters of `text` on one line, around its first word of the query.

    The text's first SNIPPET_SOURCE characters are searched; without a word of the query there, they begin the snippet.
    """
    source = text[:SNIPPET_SOURCE]
    hit = _first_hit(source, query)
    start = max(0, hit - _BEFORE_HIT)
    while 0 < start < hit and _is_mark(source[start]):  # its letter is cut off
        start += 1
    end = start + MAX_SNIPPET
    shown = " ".join(source[start:end].split())
    # A word that is cut in the middle is left out, unless the script has no spaces.
    if start and " " in shown[:_BEFORE_HIT]:
        shown = shown[shown.index(" ") + 1 :]
    if end < len(text) and " " in shown[-_BEFORE_HIT:]:
        shown = shown[: shown.rindex(" ")]
    return f"{'…' * (start > 0)}{shown}{'…' * (end < len(text))}"


def words_of(text: str) -> list[str]:
    """Return the normalised words of `text`, each once; then the characters and pairs of its runs without spaces."""
    words, runs = _split(text)
    return [*words, *_grams(runs)]


def _split(text: str) -> tuple[list[str], list[str]]:
    """Return the words of `text`, each once, of at most MAX_WORD characters, and its runs without spaces."""
    if text.isascii():
        words = _ASCII_WORD.findall(text.lower())
        runs: list[str] = []
    else:
        parts = _parts(text)
        runs = [part for part in parts if _HAS_SPACELESS.match(part)]
        words = [part for part in parts if not _HAS_SPACELESS.match(part)] if runs else parts
    words = list(dict.fromkeys(words))
    if max(map(len, words), default=0) > MAX_WORD:
        words = list(dict.fromkeys(word[:MAX_WORD] for word in words))
    return words, runs


def _parts(text: str) -> list[str]:
    """Return the normalised words and runs of `text` in order, in full length."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    folded = _folded(text)
    parts = _WORD.findall(folded)
    if _HAS_SPACELESS.search(folded) is None:
        return parts
    return [piece for part in parts for piece in _SAME_KIND.findall(part)]


def _grams(runs: Iterable[str]) -> dict[str, None]:
    """Return every character and pair of neighbouring characters of the runs, each once."""
    grams: dict[str, None] = {}
    for run in runs:
        grams.update(dict.fromkeys(run))
        grams.update(dict.fromkeys(_pairs(run)))
    return grams


def _pairs(run: str) -> list[str]:
    return list(map(add, run, run[1:]))


def _classified(words: Sequence[str]) -> list[str]:
    """Return the words as terms: found by their beginning, or whole only once too many have the same beginning."""
    # At most so many can share a beginning, because each other beginning has a word of its own.
    others = len({word[:MIN_PREFIX] for word in words}) - 1
    if len(words) - others <= SAME_BEGINNING:
        return [_PREFIXABLE + word for word in words]
    seen: Counter[str] = Counter()
    terms = []
    for word in words:
        seen[word[:MIN_PREFIX]] += 1
        is_many = seen[word[:MIN_PREFIX]] > SAME_BEGINNING
        terms.append((_WHOLE if is_many else _PREFIXABLE) + word)
    return terms


def _fitting(terms: Sequence[str]) -> list[str]:
    sizes = accumulate(len(term.encode()) + _TERM_OVERHEAD for term in terms)
    return [term for term, size in zip(terms, sizes, strict=True) if size <= MAX_INDEXED_BYTES]


def _whole(word: str) -> Clause:
    return (Term(_PREFIXABLE + word), Term(_WHOLE + word))


def _beginning(word: str) -> Clause:
    return (Term(_PREFIXABLE + word, prefix=True), Term(_WHOLE + word))


def _first_hit(source: str, query: Query) -> int:
    """Return the position of the first word of the query in `source`, 0 without one."""
    if source.isascii():
        return max(0, _position(source.lower(), query))
    table = _folding(source)
    position = _position(source.translate(table), query)
    ends = accumulate(len(table[ord(character)]) for character in source)
    return 0 if position < 0 else next(index for index, end in enumerate(ends) if end > position)


def _position(folded: str, query: Query) -> int:
    """Return the position of the first word of the query in a normalised text, -1 without one."""
    hits = [_word_position(folded, word, query.is_beginning(word)) for word in query.words]
    hits += [folded.find(gram) for gram in query.spaceless]
    return min((hit for hit in hits if hit >= 0), default=-1)


def _word_position(folded: str, word: str, is_beginning: bool) -> int:
    """Return where the text has the word, -1 without it. `is_beginning`: a longer word that begins with it counts."""
    found = folded.find(word)
    while found >= 0:
        end = found + len(word)
        if _is_edge(folded[found - 1 : found]) and (
            is_beginning or _is_edge(folded[end : end + 1])
        ):
            break
        found = folded.find(word, found + 1)
    return found


def _is_edge(neighbour: str) -> bool:
    """Return whether a word ends at this character, "" at the ends of the text."""
    return not neighbour.isalnum() or _HAS_SPACELESS.match(neighbour) is not None


def _folded(text: str) -> str:
    # Each character on its own: across characters NFKD only sorts marks, which are dropped, and takes quadratic time
    # for a run of them.
    return text.translate(_folding(text))


def _folding(text: str) -> dict[int, str]:
    return {ord(character): _fold(character) for character in set(text)}


@lru_cache(maxsize=16_384)
def _fold(character: str) -> str:
    if character in _INSIDE_WORDS:
        return ""
    folded = unicodedata.normalize("NFKD", character).casefold()
    decomposed = unicodedata.normalize("NFKD", folded)
    return "".join(c for c in decomposed if not _is_mark(c))


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")
