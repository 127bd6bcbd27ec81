"""Forgetting what is past its keeping time: a little at a time, so that nobody waits long behind it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from keystead.domain.ids import WorkspaceId
from keystead.domain.retention import Keeping, before
from keystead.storage import retention as rows
from keystead.storage.anew import anew
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.purposes import Purpose
from keystead.storage.retention import CallerId

BATCH: Final = 500
CALLERS_A_RUN: Final = 50_000
"""So many are looked at in one run, and the next one goes on: all of a large installation within days."""


class Retention:
    """One server's broom. Several servers may sweep at once: what one has dropped the other does not find."""

    def __init__(self, database: Database, clock: Clock, keeping: Keeping) -> None:
        self._database = database
        self._clock = clock
        self._keeping = keeping
        self._looked_at: CallerId | None = None

    def sweep(self) -> int:
        """Forgets what is due; how many rows that were."""
        now = self._clock.now()
        return self._sweep_workspaces(now) + self._sweep_use(now) + self._sweep_callers(now)

    @anew
    def _sweep_workspaces(self, now: datetime) -> int:
        events_before = before(self._keeping.events, now)
        deliveries_before = before(self._keeping.deliveries, now)
        total, after = 0, None
        while True:
            with self._database.read_across(Purpose.WORKER) as tx:
                found = rows.workspaces_with_old_rows(
                    tx, after, events_before, deliveries_before, BATCH
                )
            for workspace_id in found:
                total += self._sweep_workspace(workspace_id, events_before, deliveries_before)
            if len(found) < BATCH:
                return total
            after = found[-1]

    def _sweep_workspace(
        self,
        workspace_id: WorkspaceId,
        events_before: datetime | None,
        deliveries_before: datetime | None,
    ) -> int:
        """Deliveries first: an event stays for as long as a delivery of it does."""
        total = 0
        if deliveries_before is not None:
            drop = partial(rows.delete_old_deliveries, instant=deliveries_before)
            total += self._in_batches(lambda tx: drop(tx, workspace_id, limit=BATCH))
        if events_before is not None:
            forget = partial(rows.delete_old_events, instant=events_before)
            total += self._in_batches(lambda tx: forget(tx, workspace_id, limit=BATCH))
        return total

    def _sweep_use(self, now: datetime) -> int:
        until = before(self._keeping.use, now)
        if until is None:
            return 0
        return self._in_batches(lambda tx: rows.delete_old_use(tx, until.date(), BATCH))

    @anew
    def _sweep_callers(self, now: datetime) -> int:
        until = before(self._keeping.callers, now)
        if until is None:
            return 0
        total = 0
        for _ in range(CALLERS_A_RUN // BATCH):
            with self._database.read_across(Purpose.WORKER) as tx:
                seen = rows.walk_over_callers(tx, self._looked_at, BATCH)
            old = [caller for caller, last_at in seen if last_at < until]
            if old:
                total += self._batch(partial(rows.delete_callers, among=old, instant=until))
            self._looked_at = seen[-1][0] if len(seen) == BATCH else None
            if self._looked_at is None:
                break
        return total

    def _in_batches(self, delete: Callable[[Tx], int]) -> int:
        total = 0
        while True:
            gone = self._batch(delete)
            total += gone
            if gone < BATCH:
                return total

    @anew
    def _batch(self, delete: Callable[[Tx], int]) -> int:
        with self._database.write_across(Purpose.WORKER) as tx:
            return delete(tx)
