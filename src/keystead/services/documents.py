"""Collections and their documents: make, see, push, search, delete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
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
)
from keystead.domain.errors import CollectionNotEmpty, NameTaken, NotFound
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin, Target
from keystead.domain.ids import WorkspaceId, new_id
from keystead.domain.plans import Quota, require_room
from keystead.domain.principals import Principal, system
from keystead.domain.scopes import (
    COLLECTIONS_READ,
    COLLECTIONS_WRITE,
    DOCUMENTS_READ,
    DOCUMENTS_WRITE,
)
from keystead.domain.search import clauses, index_terms, parse_query
from keystead.domain.versions import IfMatch, first_version, require_match
from keystead.services.authorization import Authorization
from keystead.services.isolation import Isolation, OnFailure
from keystead.services.limits import tells_of_limits
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import anew
from keystead.storage.tables import collections, events, plans
from keystead.storage.tables import documents as rows

DELETIONS: Final = "finish deletions"
DELETED_AT_ONCE: Final = 1_000
"""How many documents one transaction removes with their collection: SQLite's one writer takes some 0.2 s for it."""
PAUSE_SECONDS: Final = 0.05
"""Between two such transactions others get their turn: who lets go of a lock and asks again at once often gets it."""


@dataclass(frozen=True, slots=True)
class CollectionPage:
    """Collections, newest first; `next` is the id to continue after, None at the end."""

    collections: list[Collection]
    next: CollectionId | None


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Documents, newest first; `next` is the number to continue below, None at the end."""

    documents: list[DocumentSummary]
    next: int | None


@dataclass(frozen=True, slots=True)
class PutDocument:
    """A document after a put; `created` where there was none of its id."""

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

    @anew
    def create_collection(
        self, principal: Principal, draft: CollectionDraft, origin: Origin = NO_ORIGIN
    ) -> Collection:
        """A new, empty collection. Invalid, NameTaken or LimitReached otherwise."""
        principal.require(COLLECTIONS_WRITE)
        draft = rules.check_collection(draft)
        with (
            self._telling(principal, origin),
            self._authorization.changing(principal, origin, COLLECTIONS_WRITE) as (tx, _, act),
        ):
            if collections.find_collection(tx, principal.workspace_id, draft.name) is not None:
                raise NameTaken(f"There is a collection {draft.name} already.")
            self._require_room_for_collection(tx, principal.workspace_id)
            collection = _new_collection(tx, principal.workspace_id, draft, act)
            collections.insert_collection(tx, collection)
            _record(tx, EventType.COLLECTION_CREATED, collection, act)
        return collection

    @anew
    def list_collections(
        self, principal: Principal, *, limit: int = 50, before: CollectionId | None = None
    ) -> CollectionPage:
        """One page of collections, newest first."""
        principal.require(COLLECTIONS_READ)
        with self._database.read(principal.workspace_id) as tx:
            found = collections.page_of_collections(
                tx, principal.workspace_id, limit=limit + 1, before=before
            )
        page = found[:limit]
        return CollectionPage(page, page[-1].id if len(found) > limit else None)

    @anew
    def get_collection(self, principal: Principal, name: str) -> Collection:
        """One collection; NotFound for a name of another workspace too."""
        principal.require(COLLECTIONS_READ)
        with self._database.read(principal.workspace_id) as tx:
            return _find(tx, principal, name)

    @anew
    def require(self, principal: Principal, name: str) -> Collection:
        """NotFound unless the workspace has the collection: asked before a front door refuses a call's values."""
        with self._database.read(principal.workspace_id) as tx:
            return _find(tx, principal, name)

    @anew
    def version(self, principal: Principal, name: str, id: str) -> int | None:
        """Return the document's version, None without one; NotFound without the collection."""
        with self._database.read(principal.workspace_id) as tx:
            return _version(tx, _find(tx, principal, name), id)

    @anew
    def update_collection(
        self,
        principal: Principal,
        name: str,
        patch: CollectionPatch,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> Collection:
        """Return the collection after `patch`. If nothing changes, nothing is written, and no event."""
        with self._authorization.changing(principal, origin, COLLECTIONS_WRITE) as (tx, _, act):
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
        """Deletes a collection, at once for every reader. CollectionNotEmpty unless its documents are to go too.

        The rows of many documents go afterwards, in transactions short enough to let others write in between.
        """
        collection, done = self._delete_collection(
            principal, name, with_documents, origin, if_match
        )
        if not done:
            self._remove_rest(collection.workspace_id, collection.id)

    @anew
    def finish_deletions(self) -> None:
        """Removes what deletions of collections left behind when their process died; a task of every server."""
        with self._database.read_across(Purpose.WORKER) as tx:
            left = collections.unnamed_collections(tx)
        self._deletions.each(left, lambda one: self._remove_rest(*one))

    @anew
    def put(
        self,
        principal: Principal,
        name: str,
        draft: DocumentDraft,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> PutDocument:
        """Create or replace one document; the same again changes nothing."""
        principal.require(DOCUMENTS_WRITE)
        with self._database.read(principal.workspace_id) as tx:
            collection = _find(tx, principal, name)
            _require_match(tx, collection, draft.id, if_match)
            change = _Change([rules.check_document(draft)], single=draft.id)
            if change.prepare(tx, collection).changes_nothing:
                return PutDocument(_find_document(tx, collection, draft.id), created=False)
        with (
            self._telling(principal, origin),
            self._authorization.changing(principal, origin, DOCUMENTS_WRITE) as (tx, _, act),
        ):
            collection = _find(tx, principal, name)
            _require_match(tx, collection, draft.id, if_match)
            plan = self._apply(tx, collection, change, act)
            return PutDocument(_find_document(tx, collection, draft.id), bool(plan.created))

    @anew
    def push(
        self, principal: Principal, name: str, push: Push, origin: Origin = NO_ORIGIN
    ) -> PushReport:
        """Puts and deletes documents together, all or nothing. The same push again finds everything unchanged."""
        principal.require(DOCUMENTS_WRITE)
        with self._database.read(principal.workspace_id) as tx:
            collection = _find(tx, principal, name)
            change = _Change(rules.check_push(push), push.delete)
            plan = change.prepare(tx, collection)
        if plan.changes_nothing:
            return plan.report
        with (
            self._telling(principal, origin),
            self._authorization.changing(principal, origin, DOCUMENTS_WRITE) as (tx, _, act),
        ):
            collection = _find(tx, principal, name)
            return self._apply(tx, collection, change, act).report

    @anew
    def delete(
        self,
        principal: Principal,
        name: str,
        id: str,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> None:
        """Delete one document; NotFound without one of that id."""
        with self._authorization.changing(principal, origin, DOCUMENTS_WRITE) as (tx, _, act):
            collection = _find(tx, principal, name)
            _find_document(tx, collection, id)
            _require_match(tx, collection, id, if_match)
            self._apply(tx, collection, _Change(deletes=[id], single=id), act)

    @anew
    def get(self, principal: Principal, name: str, id: str) -> Document:
        """One whole document."""
        principal.require(DOCUMENTS_READ)
        with self._database.read(principal.workspace_id) as tx:
            return _find_document(tx, _find(tx, principal, name), id)

    @anew
    def list(
        self, principal: Principal, name: str, *, limit: int = 50, before: int | None = None
    ) -> DocumentPage:
        """One page of a collection's documents, newest first."""
        principal.require(DOCUMENTS_READ)
        with self._database.read(principal.workspace_id) as tx:
            collection = _find(tx, principal, name)
            found = rows.page_of_documents(tx, collection, limit=limit + 1, before=before)
        page = found[:limit]
        return DocumentPage(page, page[-1].number if len(found) > limit else None)

    @anew
    def search(
        self, principal: Principal, name: str, query: str, *, limit: int = 50
    ) -> Sequence[DocumentSummary]:
        """The best `limit` matches of a collection, the best first: see domain.search."""
        principal.require(DOCUMENTS_READ)
        with self._database.read(principal.workspace_id) as tx:
            collection = _find(tx, principal, name)
            return rows.search_documents(tx, collection, clauses(parse_query(query)), limit)

    @anew
    def _delete_collection(
        self,
        principal: Principal,
        name: str,
        with_documents: bool,
        origin: Origin,
        if_match: IfMatch | None,
    ) -> tuple[Collection, bool]:
        """The collection that is no more, and whether all its documents went with it."""
        with self._authorization.changing(principal, origin, COLLECTIONS_WRITE) as (tx, _, act):
            collection = _find(tx, principal, name)
            require_match(if_match, collection.version)
            if collection.documents and not with_documents:
                raise CollectionNotEmpty(
                    f"The collection holds {collection.documents:,} documents."
                )
            collections.unname_collection(tx, collection)
            _record(
                tx, EventType.COLLECTION_DELETED, collection, act, documents=collection.documents
            )
            return collection, _remove_some(tx, collection.workspace_id, collection.id)

    def _telling(self, principal: Principal, origin: Origin) -> AbstractContextManager[None]:
        return tells_of_limits(
            self._database, self._clock, principal.workspace_id, principal.actor, origin
        )

    def _apply(self, tx: Tx, collection: Collection, change: _Change, act: Act) -> PushPlan:
        """Makes the change that the rows, now locked, still call for, and records it."""
        plan = change.plan(tx, collection)
        if plan.changes_nothing:
            return plan
        if plan.created:
            self._require_room_for_documents(tx, collection.workspace_id, plan.added)
        created, deleted = len(plan.created), len(plan.deleted)
        number = collections.take_numbers(
            tx, collection, created=created, deleted=deleted, now=act.at
        )
        rows.delete_documents(tx, collection, plan.deleted)
        terms = change.terms_of(plan)
        rows.update_documents(tx, collection, plan.updated, terms, act.at)
        rows.insert_documents(tx, collection, plan.created, terms, number, act.at)
        _record_change(tx, collection, plan, act, change.single)
        return plan

    def _require_room_for_collection(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        plan = plans.plan_of(tx, workspace_id)
        quota = Quota(plan.limits.collections, collections.count_collections(tx, workspace_id))
        require_room("collections", quota, plan, plans_url=self._plans_url)

    def _require_room_for_documents(self, tx: Tx, workspace_id: WorkspaceId, added: int) -> None:
        plan = plans.plan_of(tx, workspace_id)
        quota = Quota(plan.limits.documents, collections.count_documents(tx, workspace_id))
        require_room("documents", quota, plan, added, plans_url=self._plans_url)

    def _remove_rest(self, workspace_id: WorkspaceId, collection_id: CollectionId) -> None:
        done = False
        while not done:
            sleep(PAUSE_SECONDS)
            done = self._remove_more(workspace_id, collection_id)

    @anew
    def _remove_more(self, workspace_id: WorkspaceId, collection_id: CollectionId) -> bool:
        with self._authorization.changing(system(workspace_id)) as (tx, _, _):
            return _remove_some(tx, workspace_id, collection_id)


class _Change:
    """Documents to put and ids to delete, with what is indexed of them, which is made before the lock is taken."""

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

    def plan(self, tx: Tx, collection: Collection) -> PushPlan:
        """What it changes in the collection as it stands."""
        ids = [*(one.draft.id for one in self._incoming), *self._deletes]
        return rules.diff(rows.digests_of(tx, collection, ids), self._incoming, self._deletes)

    def prepare(self, tx: Tx, collection: Collection) -> PushPlan:
        """The plan, by a reading that may be outrun, and what will be indexed if it is not."""
        plan = self.plan(tx, collection)
        self._terms = self.terms_of(plan)
        return plan

    def terms_of(self, plan: PushPlan) -> dict[str, list[str]]:
        """What is indexed of the documents that the plan writes."""
        written = [one.draft for one in (*plan.created, *plan.updated)]
        return {
            draft.id: self._terms.get(draft.id) or index_terms(draft.title, draft.text)
            for draft in written
        }


def _find(tx: Tx, principal: Principal, name: str) -> Collection:
    collection = None
    if rules.is_collection_name(name):
        collection = collections.find_collection(tx, principal.workspace_id, name)
    if collection is None:
        raise NotFound("There is no such collection.")
    return collection


def _find_document(tx: Tx, collection: Collection, id: str) -> Document:
    document = rows.find_document(tx, collection, id) if rules.is_document_id(id) else None
    if document is None:
        raise NotFound("There is no such document.")
    return document


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
    """Removes documents of a deleted collection, and it itself with the last of them; whether that is done."""
    removed = rows.delete_some_documents(tx, workspace_id, collection_id, DELETED_AT_ONCE)
    if removed == DELETED_AT_ONCE:
        return False
    collections.delete_collection(tx, workspace_id, collection_id)
    return True


def _record_change(
    tx: Tx, collection: Collection, plan: PushPlan, act: Act, single: str | None
) -> None:
    """One event for what was put, one for what was deleted; with the id where it was a single document."""
    which = {} if single is None else {"id": single}
    created, updated, deleted = len(plan.created), len(plan.updated), len(plan.deleted)
    if created or updated:
        told = {"created": created, "updated": updated}
        _record(tx, EventType.DOCUMENTS_PUSHED, collection, act, **told, **which)
    if deleted:
        _record(tx, EventType.DOCUMENTS_DELETED, collection, act, deleted=deleted, **which)


def _record(tx: Tx, type: EventType, collection: Collection, act: Act, **data: object) -> None:
    target = Target("collection", collection.name)
    events.append_event(tx, collection.workspace_id, type, act, target, data)
