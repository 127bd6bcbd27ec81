"""Reading what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keystead.domain.events import Event, EventType, InstallationEvent
from keystead.domain.ids import EventId
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVENTS_READ
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events as rows
from keystead.storage.tables.installation_events import page_of_installation_events


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events, newest first; `next` is the sequence to continue below, None at the end."""

    events: list[Event]
    next: int | None


@dataclass(frozen=True, slots=True)
class InstallationEventPage:
    """Events of the installation, newest first; `next` is the id to continue below, None at the end."""

    events: list[InstallationEvent]
    next: EventId | None


class Events:
    """The audit log of workspaces and of the installation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retry_on_conflict
    def list(
        self,
        principal: Principal,
        *,
        types: Sequence[EventType] = (),
        target_id: str | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> EventPage:
        """One page of events, newest first; of these types and about that one thing, where given."""
        principal.require(EVENTS_READ)
        workspace_id = principal.workspace_id
        with self._database.read(workspace_id) as tx:
            found = rows.page_of_events(
                tx,
                workspace_id,
                limit=limit + 1,
                before=before,
                types=types,
                target_id=target_id,
            )
        page = found[:limit]
        return EventPage(page, page[-1].sequence if len(found) > limit else None)

    @retry_on_conflict
    def of_installation(
        self, *, limit: int = 50, before: EventId | None = None
    ) -> InstallationEventPage:
        """Return one page of what happened to the installation itself, newest first."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            found = page_of_installation_events(tx, limit=limit + 1, before=before)
        page = found[:limit]
        return InstallationEventPage(page, page[-1].id if len(found) > limit else None)
