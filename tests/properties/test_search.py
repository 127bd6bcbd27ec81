"""Search on both engines: the same documents, in the same order, as a few lines of Python over the same words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.errors import Invalid
from keystead.domain.principals import Principal
from keystead.domain.search import CANDIDATES, SEGMENT, Query, parse_query, words_of
from tests.support.document_store import Store, opened

ODD = [
    "key",
    "keys",
    "Key",
    "kéy",
    "ke\u0301y",
    "ﬁne",
    "fine",
    "Straße",
    "STRASSE",
    "漢字",
    "漢",
    "かな",
    "İ",
    "i",
]
ODD += [
    "v2.1",
    "a_b",
    "\uff10",
    "0",
    "½",
    "Ǆ",
    "ǆ",
    "\u200d",
    "\u0301",
    "ﷺ",
    "ｶﾞ",
    "\U0001d424ey",
    "🔑",
    "漢字検索",
    "key漢字",
    "ไทย",
    "k\u00adey",
    "\ufeffkey",
    "x" * 70,
    "x" * 66,
]
SYNTAX = [
    '"',
    "'",
    "*",
    ":",
    "\\",
    "&",
    "|",
    "!",
    "(",
    ")",
    "-",
    "^",
    "+",
    "{",
    "}",
    "NEAR",
    "AND",
    "OR",
    "NOT",
]
word = st.sampled_from(ODD + SYNTAX) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4
)
phrase = st.lists(word, max_size=12).map(" ".join)
document = st.tuples(st.lists(word, max_size=3).map(" ".join), phrase)
query = st.lists(word, min_size=1, max_size=4).map(" ".join)
Library = Sequence[tuple[str, str]]
"""Documents as title and text, the oldest first."""

_numbers = count(1)


@pytest.fixture(scope="module")
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[tuple[Store, Principal]]]:
    """A workspace on each engine."""
    with (
        opened(request, tmp_path_factory, "sqlite") as sqlite,
        opened(request, tmp_path_factory, "postgresql") as postgresql,
    ):
        yield [(store, store.tenant()) for store in (sqlite, postgresql)]


def points(title: str, text: str, query: Query) -> int | None:
    """Return a document's points, by the rule as it is written, or None if it does not match."""
    titled, words = set(words_of(title)), {*words_of(title), *words_of(text)}
    wanted, last = {*query.whole, *query.spaceless}, query.last
    begun = {word for word in words if len(last) > 1 and word.startswith(last)}
    is_whole = wanted | ({last} if last else set()) <= words
    if not is_whole and not (wanted <= words and begun):
        return None
    earned = is_whole + 2 * len(wanted & titled)
    return earned + (2 if last in titled else bool(begun & titled))


def expected(library: Library, text: str) -> list[str] | None:
    """Return the ids of the matches, best first, equals newest first, or None for a query that is refused."""
    try:
        query = parse_query(text)
    except Invalid:
        return None
    scores = [(points(*each, query), number) for number, each in enumerate(library)]
    ranked = sorted((earned, number) for earned, number in scores if earned is not None)
    return [f"d{number}" for _, number in reversed(ranked)]


def answered(
    store: Store, tenant: Principal, name: str, query: str, limit: int = 200
) -> list[str] | None:
    """Return the engine's answer: all pages of that limit."""
    ids: list[str] = []
    position, total = None, 0
    while True:
        try:
            page = store.documents.search(tenant, name, query, limit=limit, after=position)
        except Invalid:
            return None
        assert len(page.items) <= limit
        assert (total or page.total, page.total_exact) == (page.total, True)
        ids += [hit.id for hit in page.items]
        position, total = page.next, page.total
        if position is None:
            assert len(ids) == total
            return ids


def shelved(stores: list[tuple[Store, Principal]], library: Library) -> str:
    """Create a collection on each engine that has the library."""
    name = f"c{next(_numbers)}"
    drafts = [DocumentDraft(f"d{n}", text, title=title) for n, (title, text) in enumerate(library)]
    for store, tenant in stores:
        store.documents.create_collection(tenant, CollectionDraft(name))
        store.documents.push(tenant, name, Push(drafts))
    return name


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(document, max_size=6), st.lists(query, min_size=1, max_size=5))
@example([("", "key " * n) for n in (1, 2)] + [("key", "")], ["key", "k", "ke key"])
@example([("", "漢字検索"), ("検索", ""), ("", "検 索")], ["検索", "索", "検索 検", "漢字検索"])
@example([("keys", ""), ("", "key"), ("", "keys keys")], ["key", "keys", "ke"])
def test_both_engines_find_what_the_rule_says(
    stores: list[tuple[Store, Principal]], library: Library, queries: list[str]
) -> None:
    """For any documents and queries, SQLite, PostgreSQL and the rule agree on the matches and on their order."""
    name = shelved(stores, library)
    for searched in [*queries, *(text[:9] for _, text in library)]:
        wanted = expected(library, searched)
        for limit in (200, 2):
            answers = [answered(store, tenant, name, searched, limit) for store, tenant in stores]
            assert answers == [wanted] * 2, searched


@settings(max_examples=15)
@given(st.lists(document, min_size=1, max_size=5), st.data())
def test_search_follows_every_change(
    stores: list[tuple[Store, Principal]], library: Library, data: st.DataObject
) -> None:
    """After documents were replaced and deleted, their former text is not found."""
    name = shelved(stores, library)
    remaining = list(library)
    changes = data.draw(st.dictionaries(st.integers(0, len(remaining) - 1), document, max_size=3))
    for number, changed in changes.items():
        remaining[number] = changed
    gone = data.draw(st.sets(st.integers(0, len(remaining) - 1)))
    upserts = [
        DocumentDraft(f"d{n}", c[1], title=c[0]) for n, c in changes.items() if n not in gone
    ]
    for store, tenant in stores:
        store.documents.push(tenant, name, Push(upserts, [f"d{n}" for n in gone]))
    for query in [" ".join(words) for words in {*library, *remaining}]:
        answers = [answered(store, tenant, name, query) for store, tenant in stores]
        left = expected(remaining, query)
        wanted = None if left is None else [id for id in left if int(id[1:]) not in gone]
        assert answers == [wanted] * 2, query


def test_a_noisy_neighbour_changes_nothing(stores: list[tuple[Store, Principal]]) -> None:
    """A thousand documents with the same words in another workspace: the same matches in the same order as before."""
    texts = ["key " * n + "rotate " * (10 - n) for n in range(10)]
    library = [(f"Guide {n} {'key' * (n == 3)}", text) for n, text in enumerate(texts)]
    name, queries = shelved(stores, library), ["key", "rot", "key rotate", "guide ke", "guide 3"]
    for store, tenant in stores:
        before = [answered(store, tenant, name, query) for query in queries]
        neighbour = store.tenant()
        store.documents.create_collection(neighbour, CollectionDraft(name))
        noise = [DocumentDraft(f"d{n}", texts[n % 10], title="key") for n in range(CANDIDATES)]
        store.documents.push(neighbour, name, Push(noise))
        assert [answered(store, tenant, name, query) for query in queries] == before
        assert [expected(library, query) for query in queries] == before
        assert store.documents.search(neighbour, name, "key").total == CANDIDATES


def test_only_the_newest_matches_are_ranked(stores: list[tuple[Store, Principal]]) -> None:
    """Both engines rank the newest of many matches in several segments; an older one is found by its own words."""
    name, count = f"c{next(_numbers)}", SEGMENT + CANDIDATES // 2
    drafts = [DocumentDraft(f"d{n}", f"common words n{n}") for n in range(count)]
    drafts[0] = DocumentDraft("d0", "common oldest", title="common")
    for store, tenant in stores:
        store.documents.create_collection(tenant, CollectionDraft(name))
        for start in range(0, count, 1000):
            store.documents.push(tenant, name, Push(drafts[start : start + 1000]))
        newest = [f"d{count - number}" for number in range(1, CANDIDATES + 1)]
        page = store.documents.search(tenant, name, "common", limit=CANDIDATES)
        assert [hit.id for hit in page.items] == newest
        assert (page.total, page.total_exact, page.next) == (CANDIDATES, False, None)
        for query, found in {
            "common oldest": ["d0"],
            "oldes": ["d0"],
            "words n7": ["d7"],
            f"n{SEGMENT} common": [f"d{SEGMENT}"],
            "absent": [],
            "absent common": [],
        }.items():
            page = store.documents.search(tenant, name, query)
            assert [hit.id for hit in page.items][:1] == found[:1], query
            assert page.total_exact, query


def test_pages_are_stable_while_documents_are_pushed(stores: list[tuple[Store, Principal]]) -> None:
    """Between two pages documents are pushed and deleted: nothing is repeated, missing or new."""
    name = shelved(stores, [("key" * (n % 2), "key") for n in range(9)])
    for store, tenant in stores:
        first = store.documents.search(tenant, name, "key", limit=4)
        assert [hit.id for hit in first.items] == ["d7", "d5", "d3", "d1"]
        new = [DocumentDraft(f"new{n}", "key", title="key" * (n % 2)) for n in range(3)]
        store.documents.push(tenant, name, Push(new, ["d1", "d4"]))
        second = store.documents.search(tenant, name, "key", limit=4, after=first.next)
        assert [hit.id for hit in second.items] == ["d8", "d6", "d2", "d0"]
        assert second.next is None
