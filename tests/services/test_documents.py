"""Collections and documents, on both engines: created, read, pushed, counted, listed and deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from keystead.domain import scopes
from keystead.domain.documents import (
    CollectionDraft,
    CollectionPatch,
    DocumentDraft,
    Push,
    PushReport,
)
from keystead.domain.errors import (
    CollectionNotEmpty,
    InsufficientScope,
    Invalid,
    KeysteadError,
    LimitReached,
    NameTaken,
    NotFound,
)
from keystead.domain.events import EventType, Origin
from keystead.domain.principals import Principal
from keystead.domain.scopes import Scopes
from keystead.domain.text import is_visible
from keystead.services.documents import DELETED_AT_ONCE, Documents
from keystead.storage.schema import tables as schema
from keystead.storage.tables import collections, plans
from tests.support.document_store import Store, opened

ORIGIN = Origin("192.0.2.1", "req_1")
STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
A = DocumentDraft("a", "Alpha", title="First", url="https://example.com/a", attributes={"n": [1]})


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """One database for all tests of this file, which keep to workspaces of their own."""
    with opened(request, tmp_path_factory, request.param) as store:
        yield store


def many(count: int, start: int = 0) -> Push:
    """Return this many small documents."""
    return Push([DocumentDraft(f"n{number}", "") for number in range(start, start + count)])


def ids_of(store: Store, tenant: Principal, name: str = "docs") -> list[str]:
    """Return the ids of a collection's documents, as the list returns them."""
    return [document.id for document in store.documents.list(tenant, name, limit=200).items]


def recorded(store: Store, tenant: Principal) -> list[tuple[EventType, dict[str, object]]]:
    """Return the contents of the events, oldest first, without the creation of the collection."""
    return [(event.type, dict(event.data)) for event in store.events(tenant)[1:]]


# Collections


def test_a_new_collection(store: Store) -> None:
    """A new collection is empty, titled by its name by default, and an event names its creator."""
    tenant = store.tenant()
    collection = store.documents.create_collection(tenant, CollectionDraft("docs"), ORIGIN)
    assert (collection.name, collection.title, collection.documents) == ("docs", "docs", 0)
    assert collection.created_at == collection.updated_at == store.clock.now()
    assert store.documents.get_collection(tenant, "docs") == collection
    titled = store.documents.create_collection(tenant, CollectionDraft("notes", "My notes"))
    assert titled.title == "My notes"
    event = store.events(tenant)[0]
    assert (event.type, event.target.id, event.actor) == (
        "collection.created",
        "docs",
        tenant.actor,
    )
    assert event.origin == ORIGIN


def test_a_name_is_taken_once_in_each_workspace(store: Store) -> None:
    """A name is refused twice in one workspace, and free in another."""
    one, other = store.shelf(), store.tenant()
    with pytest.raises(NameTaken):
        store.documents.create_collection(one, CollectionDraft("docs"))
    store.documents.create_collection(other, CollectionDraft("docs"))
    assert len(store.documents.list_collections(one).items) == 1


def test_collections_are_limited(store: Store) -> None:
    """The plan's limit is enforced, recorded as an event, and deleting a collection makes room."""
    tenant = store.tenant("free", collections=2)
    for name in ("a", "b"):
        store.documents.create_collection(tenant, CollectionDraft(name))
    with pytest.raises(LimitReached) as refused:
        store.documents.create_collection(tenant, CollectionDraft("c"))
    assert (refused.value.limit, refused.value.used, refused.value.plan) == (2, 2, "Free")
    store.documents.delete_collection(tenant, "a")
    store.documents.create_collection(tenant, CollectionDraft("c"))


def test_collections_come_newest_first_in_pages(store: Store) -> None:
    """Pages neither repeat nor miss collections, even of the same time; later ones are not included."""
    tenant = store.tenant()
    for number in range(5):
        store.documents.create_collection(tenant, CollectionDraft(f"c{number}"))
    first = store.documents.list_collections(tenant, limit=2)
    store.documents.create_collection(tenant, CollectionDraft("later"))
    second = store.documents.list_collections(tenant, limit=2, before=first.next)
    last = store.documents.list_collections(tenant, limit=2, before=second.next)
    pages = [[c.name for c in page.items] for page in (first, second, last)]
    assert pages == [["c4", "c3"], ["c2", "c1"], ["c0"]]
    assert last.next is None


def test_a_collection_is_retitled(store: Store) -> None:
    """A new title is stored, with its time and an event; the same title again changes nothing."""
    tenant = store.shelf()
    before = store.documents.get_collection(tenant, "docs")
    later = store.clock.advance(seconds=1)
    changed = store.documents.update_collection(tenant, "docs", CollectionPatch("Handbook"))
    raised = before.version + 1
    assert changed == replace(before, title="Handbook", updated_at=later, version=raised)
    store.clock.advance(seconds=1)
    assert store.documents.update_collection(tenant, "docs", CollectionPatch("Handbook")) == changed
    assert store.documents.update_collection(tenant, "docs", CollectionPatch()) == changed
    assert store.documents.get_collection(tenant, "docs") == changed
    assert [type for type, _ in recorded(store, tenant)] == ["collection.updated"]


def test_a_collection_with_documents_goes_only_when_they_are_to_go_too(store: Store) -> None:
    """Otherwise it is refused and nothing is lost; then all is gone, and the name is free."""
    tenant = store.shelf(Push([A]))
    with pytest.raises(CollectionNotEmpty):
        store.documents.delete_collection(tenant, "docs")
    assert ids_of(store, tenant) == ["a"]
    store.documents.delete_collection(tenant, "docs", with_documents=True)
    assert_gone(store, tenant)
    assert recorded(store, tenant)[-1] == ("collection.deleted", {"documents": 1})
    store.documents.create_collection(tenant, CollectionDraft("docs"))
    assert ids_of(store, tenant) == []


def test_a_large_collection_goes_whole(store: Store) -> None:
    """Many documents are deleted in several transactions; none is left, and a neighbour's stay."""
    tenant, neighbour = store.shelf(many(DELETED_AT_ONCE)), store.shelf(many(3))
    store.documents.push(tenant, "docs", many(5, start=DELETED_AT_ONCE))
    store.documents.delete_collection(tenant, "docs", with_documents=True)
    assert_gone(store, tenant)
    assert len(ids_of(store, neighbour)) == 3


def test_a_deletion_that_was_cut_short_is_finished(store: Store) -> None:
    """Once acknowledged, a deleted collection is gone for all; its remaining rows are deleted at the next start."""
    tenant = store.shelf(many(3))
    with store.database.write(tenant.workspace_id) as tx:
        collection = collections.find_collection(tx, tenant.workspace_id, "docs")
        assert collection is not None
        collections.unname_collection(tx, collection)
    assert store.documents.list_collections(tenant).items == []
    with store.database.read(tenant.workspace_id) as tx:
        for name in ("collections", "documents"):
            assert plans.plan_with_used(tx, tenant.workspace_id, name)[1] == 0
    store.documents.create_collection(tenant, CollectionDraft("docs"))
    store.documents.finish_deletions()
    store.documents.delete_collection(tenant, "docs")
    assert_gone(store, tenant)


def assert_gone(store: Store, tenant: Principal) -> None:
    """Check that the workspace has neither collections nor documents, in any row."""
    with pytest.raises(NotFound):
        store.documents.get_collection(tenant, "docs")
    with store.database.read(tenant.workspace_id) as tx:
        for table in (schema.collections, schema.documents):
            rows = select(func.count()).where(table.c.workspace_id == tenant.workspace_id)
            assert tx.execute(rows).scalar_one() == 0


# One document


def test_a_document_is_put(store: Store) -> None:
    """The first put creates it, and it reads as it was sent."""
    tenant = store.shelf()
    put = store.documents.put(tenant, "docs", A)
    assert put.created
    document = store.documents.get(tenant, "docs", "a")
    assert document == put.document
    assert (document.id, document.text, document.title, document.url) == (
        A.id,
        A.text,
        A.title,
        A.url,
    )
    assert document.attributes == A.attributes
    assert document.created_at == document.updated_at == store.clock.now()
    assert recorded(store, tenant) == [
        ("documents.pushed", {"created": 1, "updated": 0, "id": "a"})
    ]


def test_a_put_replaces_the_whole_document(store: Store) -> None:
    """What the second put omits is gone; the creation time stays."""
    tenant = store.shelf(Push([A]))
    before = store.documents.get(tenant, "docs", "a")
    later = store.clock.advance(seconds=1)
    put = store.documents.put(tenant, "docs", DocumentDraft("a", "Beta"))
    assert not put.created
    assert (put.document.text, put.document.title, put.document.url) == ("Beta", "", None)
    assert put.document.attributes == {}
    assert (put.document.created_at, put.document.updated_at) == (before.created_at, later)
    assert store.documents.get_collection(tenant, "docs").documents == 1
    assert recorded(store, tenant)[-1] == (
        "documents.pushed",
        {"created": 0, "updated": 1, "id": "a"},
    )


def test_the_same_put_again_changes_nothing(store: Store) -> None:
    """Neither the document's times nor its collection's change, and there is no event."""
    tenant = store.shelf(Push([A]))
    before = store.documents.get_collection(tenant, "docs")
    first = store.documents.get(tenant, "docs", "a")
    store.clock.advance(seconds=1)
    again = store.documents.put(tenant, "docs", A)
    assert (again.document, again.created) == (first, False)
    assert store.documents.get_collection(tenant, "docs") == before
    assert len(recorded(store, tenant)) == 1


@settings(max_examples=40)
@given(st.data())
def test_accepted_text_is_returned_unchanged(store: Store, data: st.DataObject) -> None:
    """Any text that can be stored is returned unchanged, to the character, on both engines."""
    scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | STORABLE
    values = st.recursive(
        scalars | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(STORABLE, inner, max_size=2),
        max_leaves=5,
    )
    draft = DocumentDraft(
        "same",
        data.draw(STORABLE),
        title=data.draw(STORABLE),
        attributes=data.draw(st.dictionaries(STORABLE, values, max_size=2)),
    )
    tenant = store.shelf()
    try:
        store.documents.put(tenant, "docs", draft)
    except Invalid:
        return
    document = store.documents.get(tenant, "docs", "same")
    # A title without visible characters counts as absent.
    title = draft.title if is_visible(draft.title) else ""
    assert (document.text, document.title, document.attributes) == (
        draft.text,
        title,
        draft.attributes,
    )
    assert list(document.attributes) == list(draft.attributes)
    assert store.documents.push(tenant, "docs", Push([draft])) == PushReport(0, 0, 1, 0)


def test_a_document_is_deleted_once(store: Store) -> None:
    """It is gone and no longer counted; a second time there is nothing to delete."""
    tenant = store.shelf(Push([A, replace(A, id="b")]))
    store.documents.delete(tenant, "docs", "a")
    assert ids_of(store, tenant) == ["b"]
    assert store.documents.get_collection(tenant, "docs").documents == 1
    assert recorded(store, tenant)[1:] == [("documents.deleted", {"deleted": 1, "id": "a"})]
    with pytest.raises(NotFound):
        store.documents.delete(tenant, "docs", "a")


# A push


def test_a_push_reports_what_became_of_it(store: Store) -> None:
    """The report counts created, updated, unchanged and deleted; the same push again finds everything unchanged."""
    tenant = store.shelf(Push([A, replace(A, id="b"), replace(A, id="c")]))
    push = Push([A, replace(A, id="b", text="Beta"), replace(A, id="d")], ["c", "absent"])
    assert store.documents.push(tenant, "docs", push) == PushReport(1, 1, 1, 1)
    assert sorted(ids_of(store, tenant)) == ["a", "b", "d"]
    assert store.documents.get(tenant, "docs", "b").text == "Beta"
    assert store.documents.get_collection(tenant, "docs").documents == 3
    assert recorded(store, tenant)[1:] == [
        ("documents.pushed", {"created": 1, "updated": 1}),
        ("documents.deleted", {"deleted": 1}),
    ]
    assert store.documents.push(tenant, "docs", push) == PushReport(0, 0, 3, 0)
    assert len(recorded(store, tenant)) == 3


def test_a_refused_push_leaves_nothing(store: Store) -> None:
    """With one bad entry, or one document too many, no entry is written, deleted or counted."""
    tenant = store.tenant(documents=2)
    store.documents.create_collection(tenant, CollectionDraft("docs"))
    store.documents.push(tenant, "docs", Push([A]))
    before = store.documents.get_collection(tenant, "docs"), recorded(store, tenant)
    with pytest.raises(LimitReached):
        store.documents.push(
            tenant, "docs", replace(many(2), upsert=[*many(2).upsert, replace(A, text="x")])
        )
    with pytest.raises(Invalid):
        store.documents.push(
            tenant, "docs", Push([DocumentDraft("b", ""), DocumentDraft("c", "\0")], ["a"])
        )
    assert (store.documents.get_collection(tenant, "docs"), recorded(store, tenant)) == before
    assert store.documents.get(tenant, "docs", "a").text == A.text


def test_room_is_checked_after_deletions(store: Store) -> None:
    """At the limit a push may add as many as it deletes, over all collections together."""
    tenant = store.tenant(documents=3)
    for name in ("docs", "other"):
        store.documents.create_collection(tenant, CollectionDraft(name))
    store.documents.push(tenant, "other", Push([A]))
    store.documents.push(tenant, "docs", many(2))
    swap = Push(many(2, start=2).upsert, ["n0", "n1"])
    assert store.documents.push(tenant, "docs", swap) == PushReport(2, 0, 0, 2)
    with pytest.raises(LimitReached) as refused:
        store.documents.push(tenant, "docs", Push(many(2).upsert, ["n2"]))
    assert (refused.value.limit, refused.value.used) == (3, 3)


def test_a_lowered_limit_stops_new_documents_only(store: Store) -> None:
    """Beyond the limit documents can be changed and deleted, and none can be added."""
    tenant = store.shelf(many(4))
    store.limit(tenant, "scale", {"documents": 2})
    changed = Push([DocumentDraft("n0", "changed")])
    assert store.documents.push(tenant, "docs", changed).updated == 1
    with pytest.raises(LimitReached):
        store.documents.put(tenant, "docs", A)
    assert store.documents.push(tenant, "docs", Push([], ["n0"])).deleted == 1
    with pytest.raises(LimitReached):
        store.documents.push(tenant, "docs", Push([A], ["n1"]))


def test_a_limit_holds_under_concurrent_pushes(store: Store) -> None:
    """Of twenty puts at a limit of seven, from eight threads, exactly seven are accepted, and counted."""
    tenant = store.tenant(documents=7)
    store.documents.create_collection(tenant, CollectionDraft("docs"))

    def put(number: int) -> bool:
        try:
            return store.documents.put(tenant, "docs", DocumentDraft(f"d{number}", "")).created
        except LimitReached:
            return False

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(put, range(20)))
    assert sum(taken) == len(ids_of(store, tenant)) == 7
    assert store.documents.get_collection(tenant, "docs").documents == 7


def test_concurrent_puts_create_one_document(store: Store) -> None:
    """Of eight equal puts at the same time one creates, and the count is one."""
    tenant = store.shelf()
    with ThreadPoolExecutor(8) as pool:
        puts = list(pool.map(lambda _: store.documents.put(tenant, "docs", A), range(8)))
    assert sum(put.created for put in puts) == 1
    assert store.documents.get_collection(tenant, "docs").documents == 1
    assert len(recorded(store, tenant)) == 1


# Lists


def test_documents_come_newest_first_in_pages(store: Store) -> None:
    """By creation, not by change; pages neither repeat nor miss, and later documents are not included."""
    tenant = store.shelf(many(5))
    store.documents.put(tenant, "docs", DocumentDraft("n0", "changed"))
    first = store.documents.list(tenant, "docs", limit=2)
    store.documents.push(tenant, "docs", Push([A], ["n4", "n3"]))
    store.documents.put(tenant, "docs", DocumentDraft("n3", "again"))
    second = store.documents.list(tenant, "docs", limit=2, before=first.next)
    last = store.documents.list(tenant, "docs", limit=2, before=second.next)
    pages = [[d.id for d in page.items] for page in (first, second, last)]
    assert pages == [["n4", "n3"], ["n2", "n1"], ["n0"]]
    assert last.next is None
    assert ids_of(store, tenant) == ["n3", "a", "n2", "n1", "n0"]


def test_positions_reveal_nothing_of_neighbours(store: Store) -> None:
    """The position where a page continues doesn't depend on other workspaces and collections."""
    store.shelf(many(50))
    tenant = store.shelf(many(4))
    store.documents.create_collection(tenant, CollectionDraft("other"))
    store.documents.push(tenant, "other", many(4))
    assert store.documents.list(tenant, "docs", limit=2).next == 3
    assert store.documents.list(tenant, "other", limit=2).next == 3


# Scopes, and what does not exist

CALLS: list[tuple[str, Callable[[Documents, Principal], object]]] = [
    (scopes.COLLECTIONS_READ, lambda d, p: d.list_collections(p)),
    (scopes.COLLECTIONS_READ, lambda d, p: d.get_collection(p, "docs")),
    (scopes.COLLECTIONS_WRITE, lambda d, p: d.create_collection(p, CollectionDraft("new"))),
    (scopes.COLLECTIONS_WRITE, lambda d, p: d.update_collection(p, "docs", CollectionPatch("x"))),
    (scopes.COLLECTIONS_WRITE, lambda d, p: d.delete_collection(p, "docs", with_documents=True)),
    (scopes.DOCUMENTS_READ, lambda d, p: d.get(p, "docs", "a")),
    (scopes.DOCUMENTS_READ, lambda d, p: d.list(p, "docs")),
    (scopes.DOCUMENTS_READ, lambda d, p: d.search(p, "docs", "alpha")),
    (scopes.DOCUMENTS_WRITE, lambda d, p: d.put(p, "docs", replace(A, text="x"))),
    (scopes.DOCUMENTS_WRITE, lambda d, p: d.push(p, "docs", Push([], ["a"]))),
    (scopes.DOCUMENTS_WRITE, lambda d, p: d.delete(p, "docs", "a")),
]


@pytest.mark.parametrize(("scope", "call"), CALLS)
def test_each_call_needs_its_scope(
    store: Store, scope: str, call: Callable[[Documents, Principal], object]
) -> None:
    """With every other scope it is refused, before anything is read or changed; with its own it is done."""
    tenant = store.shelf(Push([A]))
    others = replace(tenant, scopes=Scopes(set(scopes.BUILT_IN) - {scope, scopes.EVERYTHING}))
    before = recorded(store, tenant)
    with pytest.raises(InsufficientScope) as refused:
        call(store.documents, others)
    assert refused.value.scope == scope
    assert recorded(store, tenant) == before
    call(store.documents, replace(tenant, scopes=Scopes([scope])))


@pytest.mark.parametrize("name", ["theirs", "nowhere", "no slug", "", "a\0b", "\ud800", "x" * 70])
def test_what_belongs_to_others_is_as_if_it_were_not(store: Store, name: str) -> None:
    """A collection of another workspace, one that never existed, and an impossible name: the same NotFound."""
    store.shelf(Push([A]), name="theirs")
    tenant = store.shelf(Push([A]))
    bad = DocumentDraft("not an id", "\0")
    calls: list[Callable[[], object]] = [
        lambda: store.documents.require(tenant, name),
        lambda: store.documents.get_collection(tenant, name),
        lambda: store.documents.update_collection(tenant, name, CollectionPatch("")),
        lambda: store.documents.delete_collection(tenant, name),
        lambda: store.documents.list(tenant, name),
        lambda: store.documents.search(tenant, name, ""),
        lambda: store.documents.get(tenant, name, "a"),
        lambda: store.documents.delete(tenant, name, "a"),
        lambda: store.documents.put(tenant, name, bad),
        lambda: store.documents.push(tenant, name, Push([bad], ["not an id"])),
    ]
    assert {answer(call) for call in calls} == {(NotFound, "There is no such collection.")}


@pytest.mark.parametrize("id", ["absent", "no id", "", "..", "a\0b", "\ud800", "x" * 129])
def test_a_document_that_is_not_there(store: Store, id: str) -> None:
    """An absent id and an impossible id are the same NotFound."""
    tenant = store.shelf(Push([A]))
    assert store.documents.version(tenant, "docs", "a") is not None
    assert store.documents.version(tenant, "docs", id) is None
    calls: list[Callable[[], object]] = [
        lambda: store.documents.get(tenant, "docs", id),
        lambda: store.documents.delete(tenant, "docs", id),
    ]
    assert {answer(call) for call in calls} == {(NotFound, "There is no such document.")}


def answer(call: Callable[[], object]) -> tuple[type[KeysteadError], str]:
    """Return the refusal that a call ends in."""
    with pytest.raises(KeysteadError) as refused:
        call()
    return type(refused.value), refused.value.detail
