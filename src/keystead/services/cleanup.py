"""Deletion of rows that are past their retention, in small batches, so that no change waits long behind it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from keystead.domain.events import RetentionPolicy, retention_cutoff
from keystead.domain.ids import WorkspaceId
from keystead.domain.sessions import DEVICE_LIFETIME
from keystead.domain.usage import HOURS_KEPT, day_number, hour_of
from keystead.services.isolation import Isolation, OnFailure, run_all
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import key_counts
from keystead.storage.tables import retention as rows
from keystead.storage.tables.retention import CallerId, Spent, UseId, UseTable

RETENTION_TASK: Final = "retention"
EXPIRED_TASK: Final = "expired_rows"
BATCH: Final = 500
CALLERS_A_RUN: Final = 50_000
"""Callers that one run looks at; the next run continues there. A large installation takes days."""
LINKS_KEPT: Final = timedelta(days=1)
SESSIONS_KEPT: Final = timedelta(days=30)
"""From a session's start: it lasts a day at most."""
FAILURES_KEPT: Final = timedelta(days=90)
"""From an account's last wrong password."""

T = TypeVar("T", bound=Hashable)
_Row = tuple[Spent, bytes | str]


class Retention:
    """Deletes old events, deliveries and uses, by the retention policy.

    Several servers may run it at the same time: what one has deleted the others no longer find.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        policy: RetentionPolicy,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._policy = policy
        self._last_caller: CallerId | None = None
        self._workspaces = Isolation[WorkspaceId](RETENTION_TASK, clock, on_failure)
        # The log names a key, never its caller's address and agent.
        self._uses = Isolation[UseId](RETENTION_TASK, clock, on_failure, name=lambda use: use[1])
        self._callers = Isolation[CallerId](
            RETENTION_TASK, clock, on_failure, name=lambda caller: caller[0]
        )

    def run(self) -> int:
        """Delete what is due. Returns how many rows that were."""
        now = self._clock.now()
        return run_all(
            partial(self._delete_of_workspaces, now),
            partial(self._delete_uses, now),
            partial(self._delete_callers, now),
        )

    @retry_on_conflict
    def _delete_of_workspaces(self, now: datetime) -> int:
        events_before = retention_cutoff(self._policy.events, now)
        deliveries_before = retention_cutoff(self._policy.deliveries, now)
        work = partial(
            self._delete_of_workspace,
            events_before=events_before,
            deliveries_before=deliveries_before,
        )
        total, after = 0, None
        while True:
            with self._database.read_across(Purpose.WORKER) as tx:
                workspace_ids = rows.workspaces_with_old_rows(
                    tx, after, events_before, deliveries_before, BATCH
                )
            total += sum(self._workspaces.each(workspace_ids, work))
            if len(workspace_ids) < BATCH:
                return total
            after = workspace_ids[-1]

    def _delete_of_workspace(
        self,
        workspace_id: WorkspaceId,
        events_before: datetime | None,
        deliveries_before: datetime | None,
    ) -> int:
        total = 0
        # Deliveries first: an event stays for as long as a delivery of it does.
        for delete, instant in (
            (rows.delete_old_deliveries, deliveries_before),
            (rows.delete_old_events, events_before),
        ):
            if instant is None:
                continue
            batch = partial(delete, workspace_id=workspace_id, instant=instant, limit=BATCH)
            deleted = BATCH
            while deleted == BATCH:
                deleted = self._delete(batch)
                total += deleted
        return total

    def _delete_uses(self, now: datetime) -> int:
        total = self._delete_counts(UseTable.HOUR, hour_of(now - HOURS_KEPT))
        until = retention_cutoff(self._policy.use, now)
        if until is not None:
            total += self._delete_counts(UseTable.DAY, day_number(until.date()))
        return total

    def _delete_counts(self, table: UseTable, before: int) -> int:
        return _drain(
            self._uses,
            partial(self._old_uses, table, before),
            lambda uses: self._delete(partial(rows.delete_use, table=table, among=uses)),
        )

    @retry_on_conflict
    def _old_uses(self, table: UseTable, before: int) -> list[UseId]:
        with self._database.read_across(Purpose.WORKER) as tx:
            return rows.find_old_use(tx, table, before, self._uses.held_back(), BATCH)

    def _delete_callers(self, now: datetime) -> int:
        until = retention_cutoff(self._policy.callers, now)
        if until is None:
            return 0
        total = 0

        def delete(callers: Sequence[CallerId]) -> None:
            nonlocal total
            total += self._delete(partial(rows.delete_callers, among=callers, instant=until))

        for _ in range(CALLERS_A_RUN // BATCH):
            callers = self._next_callers()
            self._callers.together([id for id, last_at in callers if last_at < until], delete)
            self._last_caller = callers[-1][0] if len(callers) == BATCH else None
            if self._last_caller is None:
                break
        return total

    @retry_on_conflict
    def _next_callers(self) -> Sequence[tuple[CallerId, datetime]]:
        with self._database.read_across(Purpose.WORKER) as tx:
            return rows.walk_over_callers(tx, self._last_caller, BATCH)

    @retry_on_conflict
    def _delete(self, delete: Callable[[Tx], int]) -> int:
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            return delete(tx)


class ExpiredRows:
    """Deletes spent links and confirmations, old sessions and devices, and old counts of wrong passwords.

    It also writes the counts of keys again, so that what has expired is not counted each time they are read.
    """

    def __init__(
        self, database: Database, clock: Clock, on_failure: OnFailure | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        # The log names a row's table: its key may be the digest of a secret.
        self._isolation = Isolation[_Row](EXPIRED_TASK, clock, on_failure, name=lambda row: row[0])
        self._workspaces = Isolation[WorkspaceId](EXPIRED_TASK, clock, on_failure)

    def run(self) -> int:
        """Delete what is past its retention, and settle counts of keys. Returns how many rows that were."""
        now = self._clock.now()
        return run_all(
            partial(self._settle_counts, now),
            *(
                partial(self._delete_kind, kind, now - kept)
                for kind, kept in (
                    (Spent.LINKS, LINKS_KEPT),
                    (Spent.CONFIRMATIONS, LINKS_KEPT),
                    (Spent.SESSIONS, SESSIONS_KEPT),
                    (Spent.DEVICES, DEVICE_LIFETIME),
                    (Spent.FAILURES, FAILURES_KEPT),
                )
            ),
        )

    @retry_on_conflict
    def _settle_counts(self, now: datetime) -> int:
        """Settle the counts that most keys have expired from; the next run continues."""
        with self._database.read_across(Purpose.WORKER) as tx:
            workspace_ids = key_counts.unsettled_counts(tx, now, BATCH)
        return len(self._workspaces.each(workspace_ids, partial(self._settle_count, now=now)))

    @retry_on_conflict
    def _settle_count(self, workspace_id: WorkspaceId, now: datetime) -> None:
        with self._database.write(workspace_id, keeps_access=True) as tx:
            counted = key_counts.count_keys(tx, workspace_id, now)
            key_counts.settle_count(tx, workspace_id, counted, now)

    def _delete_kind(self, kind: Spent, instant: datetime) -> int:
        return _drain(
            self._isolation,
            lambda: [(kind, key) for key in self._find(kind, instant)],
            lambda batch: self._delete(kind, [key for _, key in batch], instant),
        )

    @retry_on_conflict
    def _find(self, kind: Spent, instant: datetime) -> list[bytes | str]:
        held = [key for held_kind, key in self._isolation.held_back() if held_kind is kind]
        with self._database.read_across(Purpose.WORKER) as tx:
            return rows.spent_rows(tx, kind, instant, held, BATCH)

    @retry_on_conflict
    def _delete(self, kind: Spent, keys: Sequence[bytes | str], instant: datetime) -> int:
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            return rows.delete_spent(tx, kind, keys, instant)


def _drain(
    isolation: Isolation[T], find: Callable[[], list[T]], delete: Callable[[Sequence[T]], int]
) -> int:
    """Find and delete batch after batch. Returns how many rows were deleted.

    `find` leaves out the items that the isolation holds back: they would come again and again.
    """
    total = 0

    def work(batch: Sequence[T]) -> None:
        nonlocal total
        total += delete(batch)

    while True:
        batch, deleted_before = find(), total
        isolation.together(batch, work)
        if len(batch) < BATCH or total == deleted_before:
            return total
