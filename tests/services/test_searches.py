"""Where searches run: the event loop answers only those that have little to read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keystead.domain.documents import DocumentDraft, Push
from keystead.services.execution import TakesLong
from keystead.services.searches import QUICK_CHARACTERS, QUICK_DOCUMENTS
from tests.support.document_store import Store, opened


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """One database for all tests of this file, which keep to workspaces of their own."""
    with opened(request, tmp_path_factory, request.param) as store:
        yield store


def drafts(count: int, text: str = "", title: str = "") -> list[DocumentDraft]:
    """Return this many documents with a word."""
    return [DocumentDraft(f"d{n}", f"key {text}", title) for n in range(count)]


MANY = drafts(QUICK_DOCUMENTS + 1)
LONG_TITLES = drafts(QUICK_CHARACTERS // 300 + 1, title="t" * 300)
LONG_TEXTS = drafts(4, text="w " * 4_000)


@pytest.mark.parametrize(
    "documents", [MANY, LONG_TITLES, LONG_TEXTS], ids=["many", "titles", "texts"]
)
def test_a_search_that_takes_long_is_not_answered_at_once(
    store: Store, documents: list[DocumentDraft]
) -> None:
    """Many documents, many characters of titles or of texts: TakesLong, and a result without haste."""
    tenant = store.shelf(Push(documents[:1_000]))
    store.documents.push(tenant, "docs", Push(documents[1_000:]))
    with pytest.raises(TakesLong):
        store.documents.search(tenant, "docs", "key", at_once=True)
    assert store.documents.search(tenant, "docs", "key").total == min(len(documents), 1_000)


def test_a_small_search_is_answered_at_once(store: Store) -> None:
    """Short documents, and few of long ones, are found just as without haste."""
    for documents in (drafts(100, "and words", "Title"), drafts(2, "w " * 4_000)):
        tenant = store.shelf(Push(documents))
        at_once = store.documents.search(tenant, "docs", "key", at_once=True)
        assert at_once == store.documents.search(tenant, "docs", "key")
