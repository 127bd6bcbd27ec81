"""Reading what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keystead.domain.events import Event, EventType
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVENTS_READ
from keystead.storage import events as rows
from keystead.storage.anew import anew
from keystead.storage.database import Database


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events, newest first; `next` is the sequence to continue below, None at the end."""

    events: list[Event]
    next: int | None


class Events:
    """The audit log of workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @anew
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
