"""Searching a collection: the newest candidates are ranked, and the page asked for gets its snippets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from keystead.domain.documents import Collection, Document, Hit
from keystead.domain.search import CANDIDATES, MAX_SEGMENTS, Query, SearchPosition, snippet
from keystead.services.execution import TakesLong
from keystead.services.paging import Page, page_of
from keystead.storage.database import Tx
from keystead.storage.tables import documents, searches
from keystead.storage.tables.searches import Match

QUICK_DOCUMENTS: Final = 1_000
"""The largest collection whose index is looked up on the event loop, which no search may hold up for 10 ms."""
QUICK_CHARACTERS: Final = 20_000
"""The most characters of titles, and of the page's texts, that are read there."""
_NEWEST: Final = 2**63 - 1
"""Above every document's number."""


@dataclass(frozen=True, slots=True)
class SearchPage(Page[Hit, SearchPosition]):
    """A page of the ranked matches. `total` counts them all; unless `total_exact`, older documents may match too."""

    total: int
    total_exact: bool


_Place = tuple[int, int]
"""A match's place in the results: its points and its number, both negative, so that the best is the lowest."""


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The places of the candidates, the best first, and whether they are all matches."""

    places: Sequence[_Place]
    is_complete: bool


def search_page(
    tx: Tx,
    collection: Collection,
    query: Query,
    limit: int,
    after: SearchPosition | None,
    at_once: bool = False,
) -> SearchPage:
    """Return at most `limit` matches that rank below `after`, the best first.

    With `at_once`, TakesLong is raised before anything that could take the event loop 10 ms.
    """
    if at_once and collection.documents > QUICK_DOCUMENTS:
        raise TakesLong
    numbers = searches.newest_numbers(tx, collection, after.newest if after else _NEWEST)
    ranking = _rank(tx, collection, query, numbers, at_once)
    begin = bisect_right(ranking.places, (-after.points, -after.number)) if after else 0
    rest = ranking.places[begin : begin + limit + 1]
    page = page_of(rest, limit, lambda place: SearchPosition(-place[0], -place[1], numbers[0]))
    found = documents.found_documents(tx, collection, [-number for _, number in page.items])
    _limit([document.text for document in found], at_once)
    hits = [_hit(document, query) for document in found]
    return SearchPage(hits, page.next, len(ranking.places), ranking.is_complete)


def _rank(
    tx: Tx, collection: Collection, query: Query, numbers: Sequence[int], at_once: bool
) -> _Ranking:
    """Rank the newest documents with the words as they are, then the newest with the last one as a beginning."""
    begun, whole = searches.newest_matches(tx, collection, numbers[:MAX_SEGMENTS], query)
    is_complete = max(len(whole), len(begun)) <= CANDIDATES and len(numbers) <= MAX_SEGMENTS
    titles = dict(_newest(whole))
    last_whole = set(titles)
    if len(whole) <= CANDIDATES:
        titles |= _newest(begun)
    _limit(titles.values(), at_once)
    if not query.may_occur("\n".join(titles.values())):
        titles = dict.fromkeys(titles, "")
    places = [
        (-query.points(title, is_whole=number in last_whole), -number)
        for number, title in titles.items()
    ]
    return _Ranking(sorted(places), is_complete)


def _limit(texts: Iterable[str], at_once: bool) -> None:
    if at_once and sum(map(len, texts)) > QUICK_CHARACTERS:
        raise TakesLong


def _hit(document: Document, query: Query) -> Hit:
    return Hit(
        document.id,
        document.number,
        document.title,
        document.url,
        document.attributes,
        document.created_at,
        document.updated_at,
        document.version,
        snippet(document.text, query),
    )


def _newest(matches: list[Match]) -> list[Match]:
    """Return the candidates: one too many says that there are others."""
    return matches if len(matches) <= CANDIDATES else sorted(matches)[-CANDIDATES:]
