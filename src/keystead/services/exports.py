"""The export of a workspace: everything in it but secrets, in pages that are each a snapshot of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from keystead.domain.documents import Collection, Document
from keystead.domain.errors import NotFound
from keystead.domain.events import NO_ORIGIN, Event, EventType, Origin, Target
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import EPOCH
from keystead.domain.invitations import Invitation
from keystead.domain.key_lists import ALL_KEYS
from keystead.domain.keys import ApiKey
from keystead.domain.principals import Principal
from keystead.domain.usage import Period, UseCount
from keystead.domain.webhooks import WebhookEndpoint
from keystead.domain.workspaces import Member
from keystead.services.authorization import Authorization
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import (
    collections,
    documents,
    events,
    invitations,
    key_pages,
    usage_reports,
    webhooks,
    workspaces,
)

PAGE: Final = 200
DOCUMENTS_PAGE: Final = 20
"""Documents of one page: they come with their texts, of up to 256 KiB each."""


@dataclass(frozen=True, slots=True)
class ExportedDocument:
    """A document with its text, and the name of its collection."""

    collection: str
    document: Document


@dataclass(frozen=True, slots=True)
class ExportedUse:
    """The use of one key on one day (UTC)."""

    key_id: KeyId
    day: date
    use: UseCount


Exported = (
    Member
    | Invitation
    | ApiKey
    | ExportedUse
    | Collection
    | ExportedDocument
    | WebhookEndpoint
    | Event
)
_Fetch = Callable[[Tx, WorkspaceId, Any], Sequence[Any]]
_Position = Callable[[Any], Any]


class Exports:
    """Reads what is in a workspace, for the operator."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)

    def now(self) -> datetime:
        """Return the time by which the status of keys is shown."""
        return self._clock.now()

    @retry_on_conflict
    def begin(self, principal: Principal, origin: Origin = NO_ORIGIN) -> None:
        """Record that the workspace's data was exported."""
        workspace_id = principal.workspace_id
        with self._authorization.changing(principal, origin, keeps_access=True) as (tx, act):
            target = Target("workspace", workspace_id)
            events.append_event(tx, workspace_id, EventType.WORKSPACE_EXPORTED, act, target)

    def pages(self, workspace_id: WorkspaceId) -> Iterator[Sequence[Exported]]:
        """Yield page after page: people, keys with their use, collections with their documents, webhooks, events.

        Raises NotFound as soon as the workspace was deleted.
        """
        for fetch, position in _PEOPLE:
            yield from self._all(workspace_id, fetch, position, PAGE)
        for page in self._all(workspace_id, _keys, _id, PAGE):
            yield page
            for key in page:
                if use := self._page(workspace_id, _use_of(key.id), None):
                    yield use
        for page in self._all(workspace_id, _collections, _id, PAGE):
            yield page
            for collection in page:
                fetch = _documents_of(collection.name)
                yield from self._all(workspace_id, fetch, _number, DOCUMENTS_PAGE)
        for fetch, position in _WEBHOOKS_AND_EVENTS:
            yield from self._all(workspace_id, fetch, position, PAGE)

    def _all(
        self, workspace_id: WorkspaceId, fetch: _Fetch, position: _Position, size: int
    ) -> Iterator[Sequence[Any]]:
        at = None
        while page := self._page(workspace_id, fetch, at):
            yield page
            if len(page) < size:
                return
            at = position(page[-1])

    @retry_on_conflict
    def _page(self, workspace_id: WorkspaceId, fetch: _Fetch, at: Any) -> Sequence[Any]:
        with self._database.read(workspace_id) as tx:
            NotFound.unless(workspaces.find_workspace(tx, workspace_id), "workspace")
            return fetch(tx, workspace_id, at)


def _id(value: Any) -> str:
    id: str = value.id
    return id


def _number(exported: ExportedDocument) -> int:
    return exported.document.number


def _members(tx: Tx, workspace_id: WorkspaceId, after: str | None) -> Sequence[Member]:
    return workspaces.page_of_members(tx, workspace_id, limit=PAGE, after=after)


def _invitations(tx: Tx, workspace_id: WorkspaceId, before: str | None) -> Sequence[Invitation]:
    return invitations.page_of_invitations(tx, workspace_id, limit=PAGE, before=before)


def _keys(tx: Tx, workspace_id: WorkspaceId, before: str | None) -> Sequence[ApiKey]:
    # All keys, at whatever time: only their status depends on it.
    return key_pages.page_of_keys(tx, workspace_id, ALL_KEYS, EPOCH, PAGE, before)


def _use_of(key_id: KeyId) -> _Fetch:
    def fetch(tx: Tx, workspace_id: WorkspaceId, _: None) -> list[ExportedUse]:
        by_day = usage_reports.use_of_key(tx, workspace_id, key_id, _ALWAYS)
        return [ExportedUse(key_id, day, use) for day, use in by_day.items()]

    return fetch


def _collections(tx: Tx, workspace_id: WorkspaceId, before: Any) -> Sequence[Collection]:
    return collections.page_of_collections(tx, workspace_id, limit=PAGE, before=before)


def _documents_of(name: str) -> _Fetch:
    def fetch(tx: Tx, workspace_id: WorkspaceId, before: int | None) -> list[ExportedDocument]:
        page = documents.page_of_whole_documents(
            tx, workspace_id, name, limit=DOCUMENTS_PAGE, before=before
        )
        return [ExportedDocument(name, document) for document in page]

    return fetch


def _webhooks(tx: Tx, workspace_id: WorkspaceId, before: Any) -> Sequence[WebhookEndpoint]:
    return webhooks.page_of_endpoints(tx, workspace_id, limit=PAGE, before=before)


def _events(tx: Tx, workspace_id: WorkspaceId, before: int | None) -> Sequence[Event]:
    return events.page_of_events(tx, workspace_id, limit=PAGE, before=before)


_ALWAYS: Final = Period(EPOCH.date(), date.max)
_PEOPLE: Final[tuple[tuple[_Fetch, _Position], ...]] = (
    (_members, lambda member: member.user.id),
    (_invitations, _id),
)
_WEBHOOKS_AND_EVENTS: Final[tuple[tuple[_Fetch, _Position], ...]] = (
    (_webhooks, _id),
    (_events, lambda event: event.sequence),
)
