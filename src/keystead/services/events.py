"""Events: the audit log of workspaces and of the installation, and the latter's copy in the server's log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keystead.domain.events import Event, EventType, InstallationEvent
from keystead.domain.ids import EventId
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVENTS_READ
from keystead.logger import Logger
from keystead.services.paging import Page, page_of
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events as rows
from keystead.storage.tables.key_lifecycle import find_watermark, move_watermark

TASK: Final = "log_installation"
WATERMARK: Final = "installation events"
BATCH: Final = 100

_log: Final = Logger("keystead.installation")


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
    ) -> Page[Event, int]:
        """Return one page of events, newest first, continuing below a sequence.

        Args:
            types: Only events of these types, if any are given.
            target_id: Only events about that key, member, webhook, and so on.
        """
        principal.require(EVENTS_READ)
        with self._database.read_once(principal.workspace_id) as tx:
            events = rows.page_of_events(
                tx,
                principal.workspace_id,
                limit=limit + 1,
                before=before,
                types=types,
                target_id=target_id,
            )
        return page_of(events, limit, lambda event: event.sequence)

    @retry_on_conflict
    def of_installation(
        self, *, limit: int = 50, before: EventId | None = None
    ) -> Page[InstallationEvent, EventId]:
        """Return one page of the installation's own events, newest first."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            events = rows.page_of_installation_events(tx, limit=limit + 1, before=before)
        return page_of(events, limit, lambda event: event.id)


class InstallationLog:
    """The task that logs each event of the installation once, however many servers run.

    Credentials are created and revoked by commands, which have no log of their own.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def write(self) -> int:
        """Log the events that no server has logged yet. Returns how many."""
        events = self._claim()
        for event in events:
            _log.warning(
                "installation event",
                type=event.type,
                workspace=None,
                id=event.target.id,
                by=event.actor.name,
                at=event.occurred_at.isoformat(),
                **event.data,
            )
        return len(events)

    @retry_on_conflict
    def _claim(self) -> list[InstallationEvent]:
        with self._database.read_across(Purpose.WORKER) as tx:
            watermark = find_watermark(tx, WATERMARK)
            before = None if watermark is None else watermark[0]
            events = rows.installation_events_after(tx, before or "", BATCH)
        if not events:
            return []
        # Moving the watermark is a compare-and-swap: of several servers one moves it, and only that one logs.
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            claimed = move_watermark(tx, WATERMARK, before, events[-1].id, self._clock.now())
        return events if claimed else []
