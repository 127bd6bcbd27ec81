"""What happens to the installation, in the servers' log: credentials are made by commands, which have no log."""

from __future__ import annotations

from typing import Final

from keystead.domain.events import InstallationEvent
from keystead.logger import Logger
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables.installation_events import installation_events_after
from keystead.storage.tables.key_lifecycle import find_watermark, move_watermark

TASK: Final = "log installation"
MARK: Final = "installation events"
BATCH: Final = 100

_log: Final = Logger("keystead.installation")


class InstallationLog:
    """Logs each event of the installation once, however many servers run."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def write(self) -> int:
        """Log the events that no server has logged yet. Returns how many."""
        fresh = self._claim()
        for event in fresh:
            _log.warning(
                "installation event",
                type=event.type,
                workspace=None,
                id=event.target.id,
                by=event.actor.name,
                at=event.occurred_at.isoformat(),
                **event.data,
            )
        return len(fresh)

    @retry_on_conflict
    def _claim(self) -> list[InstallationEvent]:
        """Return them to the one server that has moved the mark past them; to the others, nothing."""
        with self._database.read_across(Purpose.WORKER) as tx:
            found = find_watermark(tx, MARK)
            mark = None if found is None else found[0]
            fresh = installation_events_after(tx, mark or "", BATCH)
        if not fresh:
            return []
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            mine = move_watermark(tx, MARK, mark, fresh[-1].id, self._clock.now())
        return fresh if mine else []
