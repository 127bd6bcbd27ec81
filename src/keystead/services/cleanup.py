"""Forgetting what is past its keeping time: a little at a time, so that nobody waits long behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import partial
from typing import Final

from keystead.domain.events import RetentionPolicy, retention_cutoff
from keystead.domain.ids import WorkspaceId
from keystead.services.isolation import Isolation, OnFailure, run_all
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import anew
from keystead.storage.tables import retention as rows
from keystead.storage.tables.retention import CallerId, UseDayId

TASK: Final = "forget"
BATCH: Final = 500
CALLERS_A_RUN: Final = 50_000
"""So many are looked at in one run, and the next one goes on: all of a large installation within days."""


class Retention:
    """One server's broom. Several servers may sweep at once: what one has dropped the other does not find."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        keeping: RetentionPolicy,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._keeping = keeping
        self._looked_at: CallerId | None = None
        self._workspaces = Isolation[WorkspaceId](TASK, clock, on_failure)
        # Uses and callers are named by their key: a caller's address and agent stay out of the log.
        self._counts = Isolation[UseDayId](TASK, clock, on_failure, name=lambda count: count[0])
        self._callers = Isolation[CallerId](TASK, clock, on_failure, name=lambda caller: caller[0])

    def sweep(self) -> int:
        """Forgets what is due; how many rows that were."""
        now = self._clock.now()
        return run_all(
            partial(self._sweep_workspaces, now),
            partial(self._sweep_use, now),
            partial(self._sweep_callers, now),
        )

    @anew
    def _sweep_workspaces(self, now: datetime) -> int:
        events_before = retention_cutoff(self._keeping.events, now)
        deliveries_before = retention_cutoff(self._keeping.deliveries, now)
        total, after = 0, None
        while True:
            with self._database.read_across(Purpose.WORKER) as tx:
                found = rows.workspaces_with_old_rows(
                    tx, after, events_before, deliveries_before, BATCH
                )
            sweep = partial(
                self._sweep_workspace,
                events_before=events_before,
                deliveries_before=deliveries_before,
            )
            total += sum(self._workspaces.each(found, sweep))
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
        until = retention_cutoff(self._keeping.use, now)
        if until is None:
            return 0
        total = 0

        def delete(counts: Sequence[UseDayId]) -> None:
            nonlocal total
            total += self._batch(partial(rows.delete_use, among=counts))

        while True:
            found, before_this = self._old_use(until.date()), total
            self._counts.together(found, delete)
            if len(found) < BATCH or total == before_this:
                return total

    @anew
    def _old_use(self, day: date) -> list[UseDayId]:
        with self._database.read_across(Purpose.WORKER) as tx:
            return rows.find_old_use(tx, day, self._counts.held(), BATCH)

    def _sweep_callers(self, now: datetime) -> int:
        until = retention_cutoff(self._keeping.callers, now)
        if until is None:
            return 0
        total = 0

        def delete(old: Sequence[CallerId]) -> None:
            nonlocal total
            total += self._batch(partial(rows.delete_callers, among=old, instant=until))

        for _ in range(CALLERS_A_RUN // BATCH):
            seen = self._next_callers()
            self._callers.together([caller for caller, last_at in seen if last_at < until], delete)
            self._looked_at = seen[-1][0] if len(seen) == BATCH else None
            if self._looked_at is None:
                break
        return total

    @anew
    def _next_callers(self) -> Sequence[tuple[CallerId, datetime]]:
        with self._database.read_across(Purpose.WORKER) as tx:
            return rows.walk_over_callers(tx, self._looked_at, BATCH)

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
