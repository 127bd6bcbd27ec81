"""The rows of documents: how they are found, that their index is complete, what a text may cost."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from keystead.domain.documents import Collection, DocumentDraft, Push, check_document
from keystead.domain.principals import Principal
from keystead.domain.search import clauses, index_terms
from keystead.storage.database import Database
from keystead.storage.schema import search
from keystead.storage.tables import collections, documents
from tests.support.administrator import write_behind
from tests.support.document_store import Store, opened

TEXT_BYTES = 256 * 1024


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """One database for all tests of this file, which keep to workspaces of their own."""
    with opened(request, tmp_path_factory, request.param) as store:
        yield store


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Record every statement that is executed during the block, with its parameters."""
    executed: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: Any) -> None:
        executed.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    yield executed
    event.remove(database.engine, "before_cursor_execute", note)


def collection_of(store: Store, tenant: Principal) -> Collection:
    """Return the tenant's collection."""
    with store.database.read(tenant.workspace_id) as tx:
        collection = collections.find_collection(tx, tenant.workspace_id, "docs")
    assert collection is not None
    return collection


def plan_of(tx: Connection, statement: str, parameters: Any) -> str:
    """Return the engine's plan of a statement."""
    if tx.dialect.name == "sqlite":
        rows = tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        return "\n".join(str(row[-1]) for row in rows)
    rows = tx.exec_driver_sql(f"EXPLAIN {statement}", parameters).all()
    return "\n".join(str(row[0]) for row in rows)


def test_every_reading_goes_by_an_index(store: Store) -> None:
    """One document, the digests of many and a page are found by indexes, and no table is read from end to end."""
    tenant = store.shelf(Push([DocumentDraft(f"d{n}", f"key {n}") for n in range(300)]))
    shelf = collection_of(store, tenant)
    with store.database.read(tenant.workspace_id) as tx, statements(store.database) as executed:
        assert documents.find_document(tx, shelf, "d7")
        assert len(documents.digests_of(tx, shelf, ["d1", "d2"])) == 2
        assert len(documents.page_of_documents(tx, shelf, limit=5, before=200)) == 5
    with store.database.read(tenant.workspace_id) as tx:
        search.forbid_sequential_scans(tx)
        plans = [plan_of(tx, statement, parameters) for statement, parameters in executed[-3:]]
    for plan in plans:
        assert "documents_" in plan
        assert "SCAN" not in plan
        assert "Seq Scan" not in plan


def test_search_asks_the_index_of_words(store: Store) -> None:
    """Every clause is looked up in the index, however few the documents, and the rows of matches by their keys."""
    tenant = store.shelf(Push([DocumentDraft("d", "key")]))
    shelf, query = collection_of(store, tenant), clauses(("key", "words"))
    with store.database.read(tenant.workspace_id) as tx, statements(store.database) as executed:
        documents.search_documents(tx, shelf, query, 5)
        plan = plan_of(tx, *executed[-1])
    index = (
        "VIRTUAL TABLE INDEX"
        if store.database.is_sqlite
        else "Index Scan on document_words_by_word"
    )
    assert plan.count(index) == len(query)
    assert "SCAN documents" not in plan
    assert "Seq Scan" not in plan


def test_every_statement_names_the_workspace(store: Store) -> None:
    """With the right collection and the wrong workspace nothing is found, changed or deleted."""
    draft = DocumentDraft("d", "key")
    tenant, other = store.shelf(Push([draft])), store.tenant()
    shelf = collection_of(store, tenant)
    wrong, change = replace(shelf, workspace_id=other.workspace_id), check_document(draft)
    with store.database.write(other.workspace_id) as tx:
        assert documents.find_document(tx, wrong, "d") is None
        assert documents.digests_of(tx, wrong, ["d"]) == {}
        assert documents.page_of_documents(tx, wrong, limit=5) == []
        assert documents.search_documents(tx, wrong, clauses(("key",)), 5) == []
        documents.update_documents(tx, wrong, [change], {"d": []}, store.clock.advance(seconds=1))
        documents.delete_documents(tx, wrong, ["d"])
        assert documents.delete_some_documents(tx, other.workspace_id, shelf.id, 5) == 0
        collections.retitle_collection(tx, replace(wrong, title="Theirs"))
        collections.unname_collection(tx, wrong)
        collections.delete_collection(tx, other.workspace_id, shelf.id)
    assert collection_of(store, tenant) == shelf
    document = store.documents.get(tenant, "docs", "d")
    assert (document.text, document.updated_at) == ("key", document.created_at)
    assert [d.id for d in store.documents.search(tenant, "docs", "key")] == ["d"]


def indexed_terms(tx: Connection) -> set[str]:
    """Return every term of the index of words, of all workspaces."""
    if tx.dialect.name == "postgresql":
        query = "SELECT unnest(tsvector_to_array(words)) FROM documents"
        return set(tx.execute(text(query)).scalars())
    vocabulary = (
        "CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab('main', 'document_search', 'row')"
    )
    tx.execute(text(vocabulary))
    terms = set(tx.execute(text("SELECT term FROM vocabulary")).scalars())
    tx.execute(text("DROP TABLE vocabulary"))
    return terms


def test_every_indexed_word_bears_its_collection(store: Store) -> None:
    """No index entry is of two collections: the cost of a search cannot depend on a neighbour's documents."""
    shelves = [collection_of(store, store.shelf(Push([DocumentDraft("d", "key")]))) for _ in "ab"]
    with write_behind(store.database) as tx:
        terms = indexed_terms(tx)
        marks = {
            id[-10:].lower() for id in tx.execute(text("SELECT id FROM collections")).scalars()
        }
    assert {f"{shelf.id[-10:].lower()}akey" for shelf in shelves} <= terms
    assert {term[:10] for term in terms} <= marks


@pytest.mark.slow
def test_engines_leave_our_terms_as_they_are(store: Store) -> None:
    """Both engines index exactly the given terms, with any letter or digit of Unicode in a word."""
    letters = [chr(number) for number in range(0x40000) if chr(number).isalnum()]
    texts = [" ".join(f"x{c}y" for c in letters[n::8]) for n in range(8)]
    push = Push([DocumentDraft(f"d{n}", each) for n, each in enumerate(texts)])
    mark = collection_of(store, store.shelf(push)).id[-10:].lower()
    with write_behind(store.database) as tx:
        terms = {term for term in indexed_terms(tx) if term.startswith(mark)}
    assert terms == {mark + term for each in texts for term in index_terms("", each)}
    assert len(terms) > 100_000


def test_the_index_says_what_the_documents_say(store: Store) -> None:
    """After documents were pushed, replaced and deleted in every way, SQLite finds its index intact."""
    tenant, other = (
        store.shelf(Push([DocumentDraft(f"d{n}", f"k{n}") for n in range(20)])) for _ in "ab"
    )
    store.documents.push(
        tenant,
        "docs",
        Push([DocumentDraft("d1", "new"), DocumentDraft("d2", "k2", title="t")], ["d3"]),
    )
    store.documents.put(tenant, "docs", DocumentDraft("d1", "newer"))
    store.documents.delete(tenant, "docs", "d4")
    store.documents.delete_collection(other, "docs", with_documents=True)
    if store.database.is_sqlite:
        check = "INSERT INTO document_search (document_search, rank) VALUES ('integrity-check', 1)"
        with write_behind(store.database) as tx:
            tx.execute(text(check))
    assert [d.id for d in store.documents.search(tenant, "docs", "newer")] == ["d1"]


def test_a_push_goes_to_the_database_in_a_few_statements(store: Store) -> None:
    """A hundred documents take as many statements as two: none is sent, read or counted on its own."""
    counted = []
    for size in (2, 100):
        tenant = store.shelf(Push([DocumentDraft(f"old{n}", "x") for n in range(size)]))
        changes = [DocumentDraft(f"{kind}{n}", "y") for kind in ("old", "new") for n in range(size)]
        push = Push(changes[size // 2 :], [f"old{n}" for n in range(size // 2)])
        with statements(store.database) as executed:
            store.documents.push(tenant, "docs", push)
        counted.append(len(executed))
    assert counted[0] == counted[1] <= 20


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize(
    "alphabet",
    [
        string.ascii_lowercase + string.digits,
        "漢字水火木金土日月山川田",
        "".join(map(chr, range(0x3300, 0x3358))),
    ],
    ids=["ascii", "han", "squared"],
)
def test_the_most_words_that_a_text_can_hold(store: Store, alphabet: str) -> None:
    """A text of nothing but different words is accepted, and found by its first and last indexed ones."""
    words = ("".join(w) for n in range(1, 5) for w in itertools.product(alphabet, repeat=n))
    longest = (
        " ".join(itertools.islice(words, TEXT_BYTES)).encode()[:TEXT_BYTES].decode(errors="ignore")
    )
    tenant = store.shelf(Push([DocumentDraft("long", longest, title="of words")]))
    for query in ("of words", longest[:3], longest[3000:3003]):
        assert [d.id for d in store.documents.search(tenant, "docs", query)] == ["long"]
