"""Searching a collection: the newest candidates are ranked, and the page asked for gets its snippets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keystead.domain.documents import Collection, Hit
from keystead.domain.search import CANDIDATES, MAX_SEGMENTS, SEGMENT, Query, SearchPosition
from keystead.services.paging import Page, page_of
from keystead.storage.database import Tx
from keystead.storage.tables import documents, searches
from keystead.storage.tables.searches import Match

_NEWEST: Final = 2**63 - 1
"""Above every document's number."""


@dataclass(frozen=True, slots=True)
class SearchPage(Page[Hit, SearchPosition]):
    """A page of the ranked matches. `total` counts them all; unless `total_exact`, older documents may match too."""

    total: int
    total_exact: bool


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The positions of the candidates, the best first, and whether they are all matches."""

    positions: Sequence[SearchPosition]
    is_complete: bool


def search_page(
    tx: Tx, collection: Collection, query: Query, limit: int, after: SearchPosition | None
) -> SearchPage:
    """Return at most `limit` matches that rank below `after`, the best first."""
    numbers = searches.newest_numbers(tx, collection, after.newest if after else _NEWEST)
    ranking = _rank(tx, collection, query, numbers)
    rest = [each for each in ranking.positions if after is None or _order(each) > _order(after)]
    page = page_of(rest[: limit + 1], limit, lambda position: position)
    hits = documents.hits_of(tx, collection, [each.number for each in page.items], query)
    return SearchPage(hits, page.next, len(ranking.positions), ranking.is_complete)


def _rank(tx: Tx, collection: Collection, query: Query, numbers: Sequence[int]) -> _Ranking:
    """Rank the newest documents with the words as they are, then the newest with the last one as a beginning."""
    searched = numbers[:MAX_SEGMENTS]
    begun: list[Match] = []
    if query.has_prefix:
        begun = searches.newest_matches(tx, collection, searched, query.clauses(prefix=True))
        if len(begun) <= CANDIDATES:
            # These are all matches, so only their segments can have some with whole words.
            searched = _in_segments_of(begun, searched)
    whole = searches.newest_matches(tx, collection, searched, query.clauses(prefix=False))
    if len(whole) > CANDIDATES:
        begun = []
    titles = {match.number: (match.title, False) for match in _newest(begun)}
    titles |= {match.number: (match.title, True) for match in _newest(whole)}
    newest = numbers[0] if numbers else 0
    positions = [
        SearchPosition(query.points(title, is_whole=is_whole), number, newest)
        for number, (title, is_whole) in titles.items()
    ]
    is_complete = max(len(whole), len(begun)) <= CANDIDATES and len(numbers) <= MAX_SEGMENTS
    return _Ranking(sorted(positions, key=_order), is_complete)


def _in_segments_of(matches: Sequence[Match], numbers: Sequence[int]) -> list[int]:
    segments = {match.number // SEGMENT for match in matches}
    return [number for number in numbers if number // SEGMENT in segments]


def _newest(matches: Sequence[Match]) -> Sequence[Match]:
    """Return the candidates: matches come in any order, and one too many says that there are others."""
    return sorted(matches, reverse=True)[:CANDIDATES]


def _order(position: SearchPosition) -> tuple[int, int]:
    return -position.points, -position.number
