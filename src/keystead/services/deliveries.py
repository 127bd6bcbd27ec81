"""Deliveries of webhooks, as the worker sees them: claim what is due, settle the outcomes. Across workspaces."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from keystead.domain.errors import NotFound, StorageError
from keystead.domain.events import Event
from keystead.domain.ids import WebhookId, WorkspaceId
from keystead.domain.principals import system
from keystead.domain.shares import FreePlaces
from keystead.domain.webhooks import (
    RETRY_DELAYS,
    Delivery,
    Outcome,
    Step,
    WebhookEndpoint,
    WebhookStatus,
    next_step,
)
from keystead.services.authorization import Authorization
from keystead.services.isolation import Isolation, OnFailure
from keystead.services.sealing import Sealed, Sealing, Unsealable, open_secrets, place_of
from keystead.services.webhook_endpoints import disable
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.errors import Busy, StatementFault
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import deliveries as rows
from keystead.storage.tables import delivery_queues as queues
from keystead.storage.tables import webhooks
from keystead.storage.tables.delivery_queues import Queue, QueueId

R = TypeVar("R")

TASK: Final = "deliver"
DELETIONS: Final = "webhook_deletions"
LEASE: Final = timedelta(seconds=10)
"""How long a worker has an endpoint, unless it extends the lease. After that another worker takes over."""
UNREADABLE_FOR: Final = timedelta(minutes=10)
"""How long an endpoint whose secrets can't be opened is left alone."""
REMOVED_AT_ONCE: Final = 500


class _Unloadable(Exception):
    """The due deliveries of one queue can't be read."""

    def __init__(self, queue: QueueId, error: Exception) -> None:
        super().__init__(queue)
        self.queue = queue
        self.error = error


@dataclass(frozen=True, slots=True)
class Message:
    """A delivery with its event."""

    delivery: Delivery
    event: Event = field(repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """An endpoint under a lease: its URL, the secrets to sign with (the new one first), and what is due."""

    lease: str
    endpoint: WebhookEndpoint
    secrets: tuple[str, ...] = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    messages: tuple[Message, ...]

    @property
    def queue(self) -> QueueId:
        """The leased queue."""
        return self.endpoint.workspace_id, self.endpoint.id


@dataclass(frozen=True, slots=True)
class Sent:
    """The outcome of one delivery's attempt."""

    delivery: Delivery
    outcome: Outcome

    @property
    def queue(self) -> QueueId:
        """The queue of the delivery."""
        return self.delivery.workspace_id, self.delivery.webhook_id

    @property
    def may_disable(self) -> bool:
        """Whether its endpoint may have to be disabled, which takes the workspace's lock."""
        last = self.delivery.step == len(RETRY_DELAYS)
        return not self.outcome.succeeded and (last or self.outcome.attempt.status == 410)


class Deliveries:
    """The queues of deliveries. Any number of workers may call every method: leases keep them apart."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        sealing: Sealing,
        *,
        lease: timedelta = LEASE,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)
        self._sealing = sealing
        self.lease = lease
        self._queues = Isolation[QueueId](TASK, clock, on_failure, name=_webhook_of)
        self._deletions = Isolation[QueueId](DELETIONS, clock, on_failure, name=_webhook_of)

    def now(self) -> datetime:
        """Return the time that due deliveries are compared with."""
        return self._clock.now()

    def notify(self, on_due: Callable[[], None] | None) -> None:
        """Call `on_due`, on the committing thread, after each commit of this process that makes deliveries due.

        It replaces the previous one; None calls nothing. It must neither wait nor raise.
        """
        self._database.on_due = on_due

    def claim(
        self, *, endpoints: int, messages: int, places: FreePlaces | None = None
    ) -> list[Batch]:
        """Lease at most `endpoints` endpoints, each with at most `messages` due deliveries; workspaces take turns.

        `places`: the worker's free places, of which each workspace has a share; by default one may have all of them.
        """
        for _ in range(endpoints):
            try:
                return self._claim(endpoints, messages, places)
            except _Unloadable as poisoned:
                # The transaction is rolled back, with the leases of the others, so claim them again.
                self._set_aside(poisoned.queue, poisoned.error)
        return []

    @retry_on_conflict
    def _claim(self, endpoints: int, messages: int, places: FreePlaces | None) -> list[Batch]:
        now = self._clock.now()
        # Look before writing, so that idle workers never write.
        with self._database.read_across(Purpose.WORKER) as tx:
            if not queues.is_any_due(tx, now):
                return []
        lease = secrets.token_hex(8)
        batches = list[Batch | None]()
        loading: QueueId | None = None
        try:
            with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
                # SKIP LOCKED: this skips a queue that another worker is claiming. The lease, which is committed
                # here, keeps it away from others after the transaction too, while requests are sent without one.
                claimed = queues.claim_queues(
                    tx,
                    now,
                    places or FreePlaces(2 * endpoints, {}),
                    limit=endpoints,
                    lease=lease,
                    until=now + self.lease,
                )
                for queue in claimed:
                    loading = queue
                    batches.append(self._load(tx, queue, lease, now, messages))
                loading = None
        except StorageError:
            raise
        except Exception as error:
            if loading is None:
                raise
            raise _Unloadable(loading, error) from None
        return [batch for batch in batches if batch is not None]

    def extend(self, batches: Sequence[Batch]) -> set[QueueId]:
        """Extend the leases of these batches. Returns the queues whose lease we still hold."""
        until = self._clock.now() + self.lease
        leases = {batch.queue: batch.lease for batch in batches}

        def extend(tx: Tx, locked: Mapping[QueueId, Queue]) -> list[QueueId]:
            mine = [id for id, queue in locked.items() if queue.lease == leases[id]]
            queues.extend_leases(tx, mine, until)
            return mine

        return {id for extended in self._with_queues(leases, extend) for id in extended}

    def settle(self, sent: Sequence[Sent], released: Sequence[Batch] = ()) -> None:
        """Write the outcomes of attempts, and release leases; as much as possible in one transaction."""
        # What needs a workspace's lock comes last: it may wait, and must not delay other workspaces' outcomes.
        alone = [each for each in sent if each.may_disable]
        slow = {each.queue for each in alone}
        others = [each for each in sent if not each.may_disable]
        self._settle_together(others, [batch for batch in released if batch.queue not in slow])
        slow -= self._settle_each(alone)
        self._settle_together([], [batch for batch in released if batch.queue in slow])

    def _settle_together(self, sent: Sequence[Sent], released: Sequence[Batch]) -> None:
        def settle(tx: Tx, locked: Mapping[QueueId, Queue]) -> None:
            self._settle(tx, [each for each in sent if each.queue in locked], locked)
            leases = {batch.queue: batch.lease for batch in released if batch.queue in locked}
            queues.release_queues(tx, leases)

        wanted = {each.queue for each in sent} | {batch.queue for batch in released}
        self._with_queues(wanted, settle)
        self._queues.forgive(wanted - set(self._queues.held_back()))

    def _settle_each(self, sent: Sequence[Sent]) -> set[QueueId]:
        """Settle each outcome under its workspace's lock, until one of the locks isn't free in time.

        Returns the queues that are left. They are sent to again when their leases have run out.
        """
        # In random order, so that a workspace that is always busy isn't always the first.
        lots = {each.delivery.workspace_id: secrets.token_bytes(8) for each in sent}
        ordered = sorted(sent, key=lambda each: lots[each.delivery.workspace_id])
        for place, each in enumerate(ordered):
            try:
                self._isolated(each.queue, partial(self._settle_alone, each))
            except Busy:
                return {later.queue for later in ordered[place:]}
        return set()

    def _with_queues(
        self, wanted: Collection[QueueId], work: Callable[[Tx, Mapping[QueueId, Queue]], R]
    ) -> list[R]:
        """Do the work on all queues that aren't locked, together, then on each of the others.

        When one of them fails, each is worked on by itself, and the one that fails is set aside.
        """
        if not wanted:
            return []
        results: list[R] = []
        # Lock several queues with SKIP LOCKED and wait only for a single one, so two workers can't deadlock.
        try:
            first, free = self._with_those_free(wanted, work)
        except StorageError:
            raise
        except Exception:  # noqa: BLE001 - the one at fault fails again below, alone
            free = set()
        else:
            results.append(first)
        for id in sorted(set(wanted) - free):
            results += self._isolated(id, partial(self._with_one, id, work))
        return results

    def _isolated(self, id: QueueId, work: Callable[[], R]) -> list[R]:
        """Return what the work on one queue returns; nothing if it fails, and then the queue is set aside."""
        try:
            return [work()]
        except StorageError:
            raise
        except NotFound:
            return []  # the workspace was deleted meanwhile
        except Exception as error:  # noqa: BLE001 - the other queues are not at fault
            self._set_aside(id, error)
            return []

    def _set_aside(self, id: QueueId, error: Exception) -> None:
        """Leave a queue that fails alone for a while, or, once it is given up, until its next event."""
        failure = self._queues.fail(id, error)
        until = None if failure.is_given_up else self._clock.now() + UNREADABLE_FOR
        # If even that fails, its lease keeps other workers away until it runs out.
        with suppress(StatementFault):
            self._postpone(id, until)

    @retry_on_conflict
    def _postpone(self, id: QueueId, until: datetime | None) -> None:
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            queues.postpone_queue(tx, id, until)

    @retry_on_conflict
    def _with_those_free(
        self, wanted: Collection[QueueId], work: Callable[[Tx, Mapping[QueueId, Queue]], R]
    ) -> tuple[R, set[QueueId]]:
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            locked = queues.lock_queues(tx, wanted)
            return work(tx, locked), set(locked)

    @retry_on_conflict
    def _with_one(self, id: QueueId, work: Callable[[Tx, Mapping[QueueId, Queue]], R]) -> R:
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            return work(tx, queues.lock_queues(tx, [id], wait=True))

    @retry_on_conflict
    def finish_deletions(self) -> int:
        """Remove what deleted endpoints have left, in small batches. Returns how many deliveries that were."""
        with self._database.read_across(Purpose.WORKER) as tx:
            deleted = webhooks.deleted_endpoints(tx, REMOVED_AT_ONCE)
        return sum(self._deletions.each(deleted, self._remove))

    def _remove(self, queue: QueueId) -> int:
        total, removed = 0, REMOVED_AT_ONCE
        while removed == REMOVED_AT_ONCE:
            removed = self._remove_some(*queue)
            total += removed
        return total

    @retry_on_conflict
    def _remove_some(self, workspace_id: WorkspaceId, webhook_id: WebhookId) -> int:
        """Remove deliveries of a deleted endpoint, and the endpoint with the last. Returns how many deliveries."""
        with self._authorization.changing(system(workspace_id), keeps_access=True) as (tx, _):
            removed = webhooks.remove_deliveries(tx, workspace_id, webhook_id, REMOVED_AT_ONCE)
            if removed < REMOVED_AT_ONCE:
                webhooks.remove_endpoint(tx, workspace_id, webhook_id)
            return removed

    def _load(
        self, tx: Tx, queue: QueueId, lease: str, now: datetime, messages: int
    ) -> Batch | None:
        """Return the batch of a queue just leased. If nothing is to be sent, release it and return None."""
        endpoint = webhooks.find_endpoint(tx, *queue)
        if endpoint is None or endpoint.status is WebhookStatus.DISABLED:
            queues.release_queues(tx, {queue: lease})
            return None
        due = rows.due_deliveries(tx, *queue, now, messages)
        if not due:
            queues.release_queues(tx, {queue: lease})
            return None
        sealed = webhooks.find_sealed(tx, *queue)
        try:
            opened = open_secrets(self._sealing, Sealed(*sealed or ("", b"")), place_of(*queue))
        except Unsealable:
            queues.postpone_queue(tx, queue, now + UNREADABLE_FOR)
            return None
        return Batch(
            lease=lease,
            endpoint=endpoint,
            secrets=opened.signing(endpoint, now),
            headers=tuple(opened.headers.items()),
            messages=tuple(Message(delivery, event) for delivery, event in due),
        )

    def _settle(self, tx: Tx, sent: Sequence[Sent], locked: Mapping[QueueId, Queue]) -> list[Step]:
        """Write what follows on attempts at locked queues. Skips deliveries that have changed since."""
        outcomes = {_state_of(each.delivery): each.outcome for each in reversed(sent)}
        steps, successes = list[Step](), dict[QueueId, datetime]()
        for delivery in rows.lock_unchanged(tx, [each.delivery for each in sent]):
            outcome = outcomes[_state_of(delivery)]
            queue = delivery.workspace_id, delivery.webhook_id
            jitter = secrets.randbelow(1_000_000) / 1_000_000
            succeeded_at = locked[queue].succeeded_at
            steps.append(next_step(delivery, outcome, jitter=jitter, succeeded_at=succeeded_at))
            if outcome.succeeded:
                at = outcome.attempt.at
                successes[queue] = max(at, successes.get(queue, at))
        rows.settle_deliveries(tx, [step.delivery for step in steps])
        queues.note_successes(tx, successes)
        return steps

    @retry_on_conflict
    def _settle_alone(self, sent: Sent) -> None:
        """Like `_settle`, under the workspace's lock; disable the endpoint if that follows."""
        workspace_id = sent.delivery.workspace_id
        with self._authorization.changing(system(workspace_id), keeps_access=True) as (tx, act):
            endpoint = webhooks.find_endpoint(tx, *sent.queue)
            if endpoint is None:
                return
            locked = queues.lock_queues(tx, [sent.queue], wait=True)
            for step in self._settle(tx, [sent] if locked else [], locked):
                if step.disable is not None and endpoint.disabled_at is None:
                    disable(tx, endpoint, act, step.disable)


def _state_of(delivery: Delivery) -> tuple[str, int]:
    return delivery.id, delivery.attempted


def _webhook_of(queue: QueueId) -> str:
    return queue[1]
