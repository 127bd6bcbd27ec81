"""Collections and their documents: create, list, push, search, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import sleep
from typing import Final

from keystead.domain import documents as rules
from keystead.domain.documents import (
    Collection,
    CollectionDraft,
    CollectionId,
    CollectionPatch,
    Document,
    DocumentDraft,
    DocumentSummary,
    Incoming,
    Push,
    PushPlan,
    PushReport,
    Stored,
)
from keystead.domain.errors import CollectionNotEmpty, Invalid, NameTaken, NotFound
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin, Target
from keystead.domain.ids import WorkspaceId, new_id
from keystead.domain.principals import Principal, system
from keystead.domain.scopes import (
    COLLECTIONS_READ,
    COLLECTIONS_WRITE,
    DOCUMENTS_READ,
    DOCUMENTS_WRITE,
)
from keystead.domain.search import SearchPosition, index_terms, parse_query
from keystead.domain.versions import IfMatch, first_version, require_match
from keystead.services.authorization import Authorization
from keystead.services.isolation import Isolation, OnFailure
from keystead.services.paging import Page, page_of
from keystead.services.plans import require_room
from keystead.services.searches import SearchPage, search_page
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import collections, events
from keystead.storage.tables import documents as rows

DELETIONS: Final = "collection_deletions"
DELETED_AT_ONCE: Final = 1_000
"""Documents that one transaction deletes with their collection: about 0.2 s of SQLite's only writer."""
PAUSE_SECONDS: Final = 0.05
"""Between two such transactions: a thread that locks again immediately would often get the lock before others."""


@dataclass(frozen=True, slots=True)
class PutDocument:
    """A document after a put. `created`: whether there was none of its id."""

    document: Document
    created: bool


class Documents:
    """The collections of workspaces and the documents in them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        plans_url: str | None = None,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)
        self._plans_url = plans_url
        self._deletions = Isolation[tuple[WorkspaceId, CollectionId]](
            DELETIONS, clock, on_failure, name=lambda collection: collection[1]
        )

    @retry_on_conflict
    def create_collection(
        self, principal: Principal, draft: CollectionDraft, origin: Origin = NO_ORIGIN
    ) -> Collection:
        """Create an empty collection. Raises Invalid, NameTaken, LimitReached."""
        principal.require(COLLECTIONS_WRITE)
        draft = rules.check_collection(draft)
        with self._authorization.changing(
            principal, origin, COLLECTIONS_WRITE, keeps_access=True
        ) as (tx, act):
            if collections.find_collection(tx, principal.workspace_id, draft.name) is not None:
                raise NameTaken(f"There is a collection {draft.name} already.")
            self._require_room(tx, principal.workspace_id, "collections")
            collection = _new_collection(tx, principal.workspace_id, draft, act)
            collections.insert_collection(tx, collection)
            _record(tx, EventType.COLLECTION_CREATED, collection, act)
        return collection

    @retry_on_conflict
    def list_collections(
        self, principal: Principal, *, limit: int = 50, before: CollectionId | None = None
    ) -> Page[Collection, CollectionId]:
        """Return one page of collections, newest first."""
        principal.require(COLLECTIONS_READ)
        with self._database.read_once(principal.workspace_id) as tx:
            page = collections.page_of_collections(
                tx, principal.workspace_id, limit=limit + 1, before=before
            )
        return page_of(page, limit, lambda collection: collection.id)

    def get_collection(self, principal: Principal, name: str) -> Collection:
        """Return one collection. Raises NotFound, also for a name of another workspace."""
        principal.require(COLLECTIONS_READ)
        return self.require(principal, name)

    @retry_on_conflict
    def require(self, principal: Principal, name: str) -> Collection:
        """Return the collection, without a check of scopes. Raises NotFound, which comes before Invalid values."""
        with self._database.read_once(principal.workspace_id) as tx:
            return _find(tx, principal, name)

    @retry_on_conflict
    def version(self, principal: Principal, name: str, id: str) -> int | None:
        """Return the document's version, or None without the document. Raises NotFound without the collection."""
        with self._database.read(principal.workspace_id) as tx:
            return _version(tx, _find(tx, principal, name), id)

    @retry_on_conflict
    def update_collection(
        self,
        principal: Principal,
        name: str,
        patch: CollectionPatch,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> Collection:
        """Change the collection by `patch`. If nothing changes, nothing is written, and there is no event."""
        with self._authorization.changing(
            principal, origin, COLLECTIONS_WRITE, keeps_access=True
        ) as (tx, act):
            collection = _find(tx, principal, name)
            require_match(if_match, collection.version)
            rules.check_collection_patch(patch)
            changed = rules.apply_collection_patch(collection, patch)
            if changed != collection:
                version = collection.version + 1
                changed = replace(changed, updated_at=act.at, version=version)
                collections.retitle_collection(tx, changed)
                _record(tx, EventType.COLLECTION_UPDATED, changed, act, changed=("title",))
        return changed

    def delete_collection(
        self,
        principal: Principal,
        name: str,
        *,
        with_documents: bool = False,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> None:
        """Delete a collection immediately. Raises CollectionNotEmpty unless it is empty or `with_documents`."""
        # The first transaction makes it disappear for every reader. The rows of many documents are deleted after it,
        # in transactions that are short enough to let others write in between.
        collection, done = self._delete_collection(
            principal, name, with_documents, origin, if_match
        )
        if not done:
            self._remove_rest(collection.workspace_id, collection.id)

    @retry_on_conflict
    def finish_deletions(self) -> None:
        """Delete what deletions of collections left when their process died. A task of every server."""
        with self._database.read_across(Purpose.WORKER) as tx:
            unnamed = collections.unnamed_collections(tx)
        self._deletions.each(unnamed, lambda collection: self._remove_rest(*collection))

    @retry_on_conflict
    def put(
        self,
        principal: Principal,
        name: str,
        draft: DocumentDraft,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> PutDocument:
        """Create or replace one document. The same content again changes nothing."""
        change = self._prepare_put(principal, name, draft, if_match)
        with self._authorization.changing(
            principal, origin, DOCUMENTS_WRITE, keeps_access=True
        ) as (tx, act):
            collection = _find(tx, principal, name)
            stored = change.stored(tx, collection)
            if if_match is not None:
                if_match.require(stored[draft.id].version if draft.id in stored else None)
            plan, number = self._apply(tx, collection, change, stored, act)
            if plan.created:
                return PutDocument(_created(plan.created[0], number, act), created=True)
            if plan.updated:
                (updated,) = plan.updated.values()
                return PutDocument(_updated(updated, stored[draft.id], act), created=False)
            return PutDocument(_find_document(tx, collection, draft.id), created=False)

    @retry_on_conflict
    def _prepare_put(
        self, principal: Principal, name: str, draft: DocumentDraft, if_match: IfMatch | None
    ) -> _Change:
        """Return the change with its index terms, which take time, before the lock is taken."""
        principal.require(DOCUMENTS_WRITE)
        try:
            change = _Change([rules.check_document(draft)], single=draft.id)
        except Invalid:
            # A missing collection or another version comes before invalid values.
            with self._database.read(principal.workspace_id) as tx:
                _require_match(tx, _find(tx, principal, name), draft.id, if_match)
            raise
        change.index_all()
        return change

    @retry_on_conflict
    def push(
        self, principal: Principal, name: str, push: Push, origin: Origin = NO_ORIGIN
    ) -> PushReport:
        """Put and delete documents together, all or nothing. The same push again finds everything unchanged."""
        principal.require(DOCUMENTS_WRITE)
        with self._database.read(principal.workspace_id) as tx:
            collection = _find(tx, principal, name)
            change = _Change(rules.check_push(push), push.delete)
            plan = change.plan(change.stored(tx, collection))
        if plan.changes_nothing:
            return plan.report
        change.index(plan)
        with self._authorization.changing(
            principal, origin, DOCUMENTS_WRITE, keeps_access=True
        ) as (tx, act):
            collection = _find(tx, principal, name)
            plan, _ = self._apply(tx, collection, change, change.stored(tx, collection), act)
            return plan.report

    @retry_on_conflict
    def delete(
        self,
        principal: Principal,
        name: str,
        id: str,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> None:
        """Delete one document. Raises NotFound."""
        with self._authorization.changing(
            principal, origin, DOCUMENTS_WRITE, keeps_access=True
        ) as (tx, act):
            collection, change = _find(tx, principal, name), _Change(deletes=[id], single=id)
            stored = change.stored(tx, collection) if rules.is_document_id(id) else {}
            document = NotFound.unless(stored.get(id), "document")
            require_match(if_match, document.version)
            self._apply(tx, collection, change, stored, act)

    @retry_on_conflict
    def get(self, principal: Principal, name: str, id: str) -> Document:
        """Return one whole document."""
        principal.require(DOCUMENTS_READ)
        if rules.is_collection_name(name) and rules.is_document_id(id):
            with self._database.read_once(principal.workspace_id) as tx:
                document = rows.read_document(tx, principal.workspace_id, name, id)
            if document is not None:
                return document
        with self._database.read(principal.workspace_id) as tx:
            return _find_document(tx, _find(tx, principal, name), id)

    @retry_on_conflict
    def list(
        self, principal: Principal, name: str, *, limit: int = 50, before: int | None = None
    ) -> Page[DocumentSummary, int]:
        """Return one page of a collection's documents, newest first."""
        principal.require(DOCUMENTS_READ)
        documents: Sequence[DocumentSummary] = ()
        if rules.is_collection_name(name):
            with self._database.read_once(principal.workspace_id) as tx:
                documents = rows.page_of_documents(
                    tx, principal.workspace_id, name, limit=limit + 1, before=before
                )
        if not documents:
            self.require(principal, name)
        return page_of(documents, limit, lambda document: document.number)

    @retry_on_conflict
    def search(
        self,
        principal: Principal,
        name: str,
        query: str,
        *,
        limit: int = 50,
        after: SearchPosition | None = None,
        at_once: bool = False,
    ) -> SearchPage:
        """Return one page of a collection's best matches, the best first: see domain.search.

        `at_once`: raise TakesLong instead of what could hold up the event loop.
        """
        principal.require(DOCUMENTS_READ)
        with self._database.read(principal.workspace_id) as tx:
            collection = _find(tx, principal, name)
            return search_page(tx, collection, parse_query(query), limit, after, at_once)

    @retry_on_conflict
    def _delete_collection(
        self,
        principal: Principal,
        name: str,
        with_documents: bool,
        origin: Origin,
        if_match: IfMatch | None,
    ) -> tuple[Collection, bool]:
        """Return the deleted collection, and whether all its documents are deleted with it."""
        with self._authorization.changing(
            principal, origin, COLLECTIONS_WRITE, keeps_access=True
        ) as (tx, act):
            collection = _find(tx, principal, name)
            require_match(if_match, collection.version)
            if collection.documents and not with_documents:
                raise CollectionNotEmpty(
                    f"The collection contains {collection.documents:,} documents."
                )
            collections.unname_collection(tx, collection)
            _record(
                tx, EventType.COLLECTION_DELETED, collection, act, documents=collection.documents
            )
            return collection, _remove_some(tx, collection.workspace_id, collection.id)

    def _apply(
        self,
        tx: Tx,
        collection: Collection,
        change: _Change,
        stored: Mapping[str, Stored],
        act: Act,
    ) -> tuple[PushPlan, int]:
        """Write what the change means for the rows as they are under the lock, and record it.

        Returns what was written, and the number of the first created document.
        """
        plan = change.plan(stored)
        if plan.changes_nothing:
            return plan, 0
        if plan.created:
            self._require_room(tx, collection.workspace_id, "documents", plan.added)
        created, deleted = len(plan.created), len(plan.deleted)
        number = collections.take_numbers(
            tx, collection, created=created, deleted=deleted, now=act.at
        )
        rows.delete_documents(tx, collection, plan.deleted)
        terms = change.index(plan)
        rows.update_documents(tx, collection, plan.updated, terms, act.at)
        rows.insert_documents(tx, collection, plan.created, terms, number, act.at)
        _record_change(tx, collection, plan, act, change.single)
        return plan, number

    def _require_room(self, tx: Tx, workspace_id: WorkspaceId, name: str, added: int = 1) -> None:
        require_room(tx, workspace_id, name, added=added, plans_url=self._plans_url)

    def _remove_rest(self, workspace_id: WorkspaceId, collection_id: CollectionId) -> None:
        done = False
        while not done:
            sleep(PAUSE_SECONDS)
            done = self._remove_more(workspace_id, collection_id)

    @retry_on_conflict
    def _remove_more(self, workspace_id: WorkspaceId, collection_id: CollectionId) -> bool:
        with self._authorization.changing(system(workspace_id), keeps_access=True) as (tx, _):
            return _remove_some(tx, workspace_id, collection_id)


class _Change:
    """Documents to put and ids to delete, with their index terms, which are computed before the lock is taken."""

    def __init__(
        self,
        incoming: Sequence[Incoming] = (),
        deletes: Sequence[str] = (),
        *,
        single: str | None = None,
    ) -> None:
        self.single = single
        self._incoming = incoming
        self._deletes = deletes
        self._terms: dict[str, list[str]] = {}

    def stored(self, tx: Tx, collection: Collection) -> dict[str, Stored]:
        """Return what the collection has now of the change's documents."""
        ids = [*(document.draft.id for document in self._incoming), *self._deletes]
        return rows.stored_documents(tx, collection, ids)

    def plan(self, stored: Mapping[str, Stored]) -> PushPlan:
        """Return what it changes."""
        return rules.diff(stored, self._incoming, self._deletes)

    def index(self, plan: PushPlan) -> Mapping[str, Sequence[str]]:
        """Return the index terms of the documents that the plan writes, computed once."""
        self._index([*plan.created, *plan.updated.values()])
        return self._terms

    def index_all(self) -> None:
        """Compute the index terms of all documents, in case the plan writes them."""
        self._index(self._incoming)

    def _index(self, written: Sequence[Incoming]) -> None:
        for draft, _ in written:
            if draft.id not in self._terms:
                self._terms[draft.id] = index_terms(draft.title, draft.text)


def _find(tx: Tx, principal: Principal, name: str) -> Collection:
    collection = None
    if rules.is_collection_name(name):
        collection = collections.find_collection(tx, principal.workspace_id, name)
    return NotFound.unless(collection, "collection")


def _find_document(tx: Tx, collection: Collection, id: str) -> Document:
    document = rows.find_document(tx, collection, id) if rules.is_document_id(id) else None
    return NotFound.unless(document, "document")


def _created(incoming: Incoming, number: int, act: Act) -> Document:
    return _document(incoming, number, act.at, act.at, first_version(act.at))


def _updated(incoming: Incoming, before: Stored, act: Act) -> Document:
    return _document(incoming, before.number, before.created_at, act.at, before.version + 1)


def _document(
    incoming: Incoming, number: int, created_at: datetime, updated_at: datetime, version: int
) -> Document:
    """Return the document as it was written, without reading it again."""
    draft = incoming.draft
    return Document(
        id=draft.id,
        number=number,
        title=draft.title,
        url=draft.url,
        attributes=draft.attributes,
        created_at=created_at,
        updated_at=updated_at,
        version=version,
        text=draft.text,
    )


def _version(tx: Tx, collection: Collection, id: str) -> int | None:
    return rows.find_version(tx, collection, id) if rules.is_document_id(id) else None


def _require_match(tx: Tx, collection: Collection, id: str, if_match: IfMatch | None) -> None:
    if if_match is not None:
        if_match.require(_version(tx, collection, id))


def _new_collection(
    tx: Tx, workspace_id: WorkspaceId, draft: CollectionDraft, act: Act
) -> Collection:
    newest = collections.newest_collection_id(tx, workspace_id)
    return Collection(
        id=CollectionId(new_id("col", act.at, newest)),
        workspace_id=workspace_id,
        name=draft.name,
        title=draft.name if draft.title is None else draft.title,
        documents=0,
        created_at=act.at,
        updated_at=act.at,
        version=first_version(act.at),
    )


def _remove_some(tx: Tx, workspace_id: WorkspaceId, collection_id: CollectionId) -> bool:
    """Delete documents of a deleted collection, and the collection with the last. Returns whether that is done."""
    removed = rows.delete_some_documents(tx, workspace_id, collection_id, DELETED_AT_ONCE)
    if removed == DELETED_AT_ONCE:
        return False
    collections.delete_collection(tx, workspace_id, collection_id)
    return True


def _record_change(
    tx: Tx, collection: Collection, plan: PushPlan, act: Act, single: str | None
) -> None:
    """Append one event for what was put and one for what was deleted, with the id of a single document."""
    which = {} if single is None else {"id": single}
    created, updated, deleted = len(plan.created), len(plan.updated), len(plan.deleted)
    if created or updated:
        data = {"created": created, "updated": updated}
        _record(tx, EventType.DOCUMENTS_PUSHED, collection, act, **data, **which)
    if deleted:
        _record(tx, EventType.DOCUMENTS_DELETED, collection, act, deleted=deleted, **which)


def _record(tx: Tx, type: EventType, collection: Collection, act: Act, **data: object) -> None:
    target = Target("collection", collection.name)
    events.append_event(tx, collection.workspace_id, type, act, target, data)
