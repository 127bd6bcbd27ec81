"""What the whole installation holds, for the gauges: counted periodically, never by a verification or a scrape."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import installation_counts as rows

TASK: Final = "count_installation"


class Counts(NamedTuple):
    """The counts of all workspaces together; `overdue` is how long the oldest due delivery has waited."""

    active_keys: int
    workspaces: int
    waiting_deliveries: int
    overdue: timedelta


class InstallationCounts:
    """Counts active keys, workspaces and waiting deliveries with one statement."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @retry_on_conflict
    def read(self) -> Counts:
        """Return the present counts."""
        now = self._clock.now()
        with self._database.read_across(Purpose.WORKER) as tx:
            row = rows.count_installation(tx, now)
        return Counts(
            row.active_keys,
            row.workspaces,
            row.waiting_deliveries,
            max(now - (row.first_due or now), timedelta()),
        )
