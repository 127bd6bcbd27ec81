"""The rows of documents: how they are found, that their index is complete, what a text may cost."""

from __future__ import annotations

import itertools
import random
import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from keystead.domain.documents import Collection, DocumentDraft, Push, check_document
from keystead.domain.principals import Principal
from keystead.domain.search import SEGMENT, index_terms, parse_query
from keystead.storage.database import Database
from keystead.storage.tables import collections, documents, searches
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
        assert documents.read_document(tx, tenant.workspace_id, "docs", "d7")
        assert len(documents.stored_documents(tx, shelf, ["d1", "d2"])) == 2
        assert (
            len(documents.page_of_documents(tx, tenant.workspace_id, "docs", limit=5, before=200))
            == 5
        )
        assert searches.newest_numbers(tx, shelf, 200) == [200]
        assert len(documents.found_documents(tx, shelf, [3, 2])) == 2
    with store.database.read(tenant.workspace_id) as tx:
        forbid_sequential_scans(tx)
        plans = [plan_of(tx, statement, parameters) for statement, parameters in executed[-6:]]
    for plan in plans:
        assert "documents_" in plan
        assert "SCAN documents" not in plan
        assert "Seq Scan" not in plan
        assert not re.search(r"\bSort\b|TEMP B-TREE FOR ORDER BY", plan)


@pytest.mark.parametrize("query", ["key", "key words", "漢字 key"])
def test_search_asks_the_index_of_words(store: Store, query: str) -> None:
    """Every segment is looked up in the index for both kinds of matches, however few documents there are."""
    tenant = store.shelf(Push([DocumentDraft("d", "key")]))
    shelf = collection_of(store, tenant)
    with store.database.read(tenant.workspace_id) as tx, statements(store.database) as executed:
        numbers = searches.newest_numbers(tx, shelf, 1)
        searches.newest_matches(tx, shelf, numbers, parse_query(query))
        plan = plan_of(tx, *executed[-1])
    index = (
        "document_search VIRTUAL TABLE INDEX"
        if store.database.is_sqlite
        else "Index Scan on document_words_by_word"
    )
    assert plan.count(index) == 2
    assert "SCAN documents" not in plan
    assert "Seq Scan" not in plan
    assert "document_words_pk" not in plan


def test_every_statement_names_the_workspace(store: Store) -> None:
    """With the right collection and the wrong workspace nothing is found, changed or deleted."""
    draft = DocumentDraft("d", "key")
    tenant, other = store.shelf(Push([draft])), store.tenant()
    shelf = collection_of(store, tenant)
    wrong, change = replace(shelf, workspace_id=other.workspace_id), check_document(draft)
    with store.database.write(other.workspace_id) as tx:
        assert documents.find_document(tx, wrong, "d") is None
        assert documents.read_document(tx, other.workspace_id, "docs", "d") is None
        assert documents.stored_documents(tx, wrong, ["d"]) == {}
        assert documents.page_of_documents(tx, other.workspace_id, "docs", limit=5) == []
        assert searches.newest_numbers(tx, wrong, 9) == []
        assert searches.newest_matches(tx, wrong, [1], parse_query("key")) == ([], [])
        documents.update_documents(
            tx, wrong, {1: change}, {"d": []}, store.clock.advance(seconds=1)
        )
        documents.delete_documents(tx, wrong, ["d"])
        assert documents.delete_some_documents(tx, other.workspace_id, shelf.id, 5) == 0
        collections.retitle_collection(tx, replace(wrong, title="Theirs"))
        collections.unname_collection(tx, wrong)
        collections.delete_collection(tx, other.workspace_id, shelf.id)
    assert collection_of(store, tenant) == shelf
    document = store.documents.get(tenant, "docs", "d")
    assert (document.text, document.updated_at) == ("key", document.created_at)
    assert [d.id for d in store.documents.search(tenant, "docs", "key").items] == ["d"]


def forbid_sequential_scans(tx: Connection) -> None:
    """Let PostgreSQL read the tables of a test, which are small, as it would read large ones."""
    if tx.dialect.name == "postgresql":
        tx.execute(text("SET LOCAL enable_seqscan = off"))


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
    assert {f"{shelf.id[-10:].lower()}0pkey" for shelf in shelves} <= terms
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
    assert terms == {f"{mark}0{term}" for each in texts for term in index_terms("", each)}
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
    assert [d.id for d in store.documents.search(tenant, "docs", "newer").items] == ["d1"]


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
    [string.ascii_lowercase + string.digits, "абвгдежзиклмнопрст", "\uff76\uff9e\uff77\uff78"],
    ids=["ascii", "cyrillic", "halfwidth"],
)
def test_the_most_words_that_a_text_can_hold(store: Store, alphabet: str) -> None:
    """A text of nothing but different words is accepted, and found by its first and last indexed ones."""
    words = ("".join(w) for n in range(1, 7) for w in itertools.product(alphabet, repeat=n))
    longest = (
        " ".join(itertools.islice(words, TEXT_BYTES)).encode()[:TEXT_BYTES].decode(errors="ignore")
    )
    tenant = store.shelf(Push([DocumentDraft("long", longest, title="of words")]))
    for query in ("of words", longest[:3], longest[3000:3003]):
        assert ids_of(store, tenant, query) == ["long"]


@pytest.mark.parametrize(
    "script", [range(0x4E00, 0x5600), range(0x3042, 0x3094), range(0x0E01, 0x0E2F)]
)
def test_a_text_of_one_script_without_spaces(store: Store, script: range) -> None:
    """256 KiB without any space are found by any characters that stand next to each other, at the end too."""
    dice = random.Random(7)
    length = TEXT_BYTES // 3
    # A real text repeats itself: a quarter as many different pairs of characters as a text of chance has.
    run = "".join(dice.choices(list(map(chr, script)), k=length // 4)) * 4
    tenant = store.shelf(Push([DocumentDraft("long", run), DocumentDraft("other", "漢字")]))
    for start in (0, 1, length // 2, len(run) - 4):
        assert ids_of(store, tenant, run[start : start + 4]) == ["long"]
    store.documents.put(tenant, "docs", DocumentDraft("long", "nothing of it"))
    assert ids_of(store, tenant, run[:2]) == []


def ids_of(store: Store, tenant: Principal, query: str) -> list[str]:
    """Return the ids of the matches, the best first."""
    return [hit.id for hit in store.documents.search(tenant, "docs", query).items]


def test_segments_without_documents_are_not_looked_up(store: Store) -> None:
    """Each segment that has documents is looked up once, and none whose documents were all deleted."""
    tenant, shelf = store.shelf(), None
    for number in (1, SEGMENT - 1, SEGMENT, SEGMENT + 1, SEGMENT * 2 - 1, SEGMENT * 9):
        shelf = shelf or collection_of(store, tenant)
        with store.database.write(tenant.workspace_id) as tx:
            last = collections.take_numbers(tx, shelf, created=0, deleted=0, now=shelf.updated_at)
            skipped = number - last
            collections.take_numbers(
                tx, shelf, created=skipped, deleted=skipped, now=shelf.updated_at
            )
        store.documents.put(tenant, "docs", DocumentDraft(f"d{number}", "key"))
    assert shelf is not None
    with store.database.read(tenant.workspace_id) as tx:
        assert searches.newest_numbers(tx, shelf, 10**6) == [
            SEGMENT * 9,
            SEGMENT * 2 - 1,
            SEGMENT - 1,
        ]
        assert searches.newest_numbers(tx, shelf, SEGMENT) == [SEGMENT, SEGMENT - 1]
    assert len(ids_of(store, tenant, "key")) == 6
