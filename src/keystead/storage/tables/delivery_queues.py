"""Delivery queues: which endpoints have due deliveries, and which worker is sending them.

An endpoint's queue is leased as a whole, so a slow endpoint delays no other. Deliveries that arrive
meanwhile make the queue due again when its lease is released.

Locks: a transaction that waits for a queue's row waits for that one only, or holds its workspace's lock.
Workers lock several queues with SKIP LOCKED. So no two transactions can deadlock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Exists,
    Subquery,
    and_,
    case,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from keystead.domain.events import Event
from keystead.domain.ids import WebhookId, WorkspaceId, new_id
from keystead.domain.shares import FreePlaces
from keystead.domain.webhooks import ALL_EVENTS, DeliveryStatus, WebhookStatus
from keystead.storage.database import Tx
from keystead.storage.schema.tables import deliveries, webhook_endpoints, webhook_queues

QueueId = tuple[WorkspaceId, WebhookId]
_ROW: ColumnElement[Any] = literal_column("1")
"""For EXISTS: `*` would need SELECT on every column."""


@dataclass(frozen=True, slots=True)
class Queue:
    """An endpoint's queue, locked by this transaction: its lease, and the last successful attempt."""

    workspace_id: WorkspaceId
    webhook_id: WebhookId
    lease: str | None
    succeeded_at: datetime | None


def has_status(status: DeliveryStatus) -> ColumnElement[bool]:
    """Return the condition on `deliveries`, with a literal: the partial indexes don't match a bound parameter."""
    return deliveries.c.status == literal_column(f"'{status}'")


def listening(workspace_id: WorkspaceId | ColumnElement[str]) -> Exists:
    """Return the condition that an active endpoint of the workspace exists."""
    return exists(_ROW).where(*_active(workspace_id))


def enqueue(tx: Tx, event: Event) -> None:
    """Insert a delivery of the event for each active endpoint that chose its type, under the workspace's lock."""
    chosen = (
        select(webhook_queues.c.webhook_id)
        .join(
            webhook_endpoints,
            and_(
                webhook_endpoints.c.workspace_id == webhook_queues.c.workspace_id,
                webhook_endpoints.c.id == webhook_queues.c.webhook_id,
            ),
        )
        .where(*_active(event.workspace_id), _chose(event))
        .order_by(webhook_queues.c.webhook_id)
        .with_for_update(of=webhook_queues)
    )
    enqueue_for(tx, event, list(tx.execute(chosen).scalars()))


def enqueue_for(tx: Tx, event: Event, webhook_ids: Sequence[WebhookId]) -> None:
    """Insert a delivery of the event for each of these endpoints, due immediately."""
    if not webhook_ids:
        return
    at = event.occurred_at
    tx.execute(insert(deliveries), [_new_row(event, webhook_id) for webhook_id in webhook_ids])
    tx.execute(
        update(webhook_queues)
        .where(
            webhook_queues.c.workspace_id == event.workspace_id,
            webhook_queues.c.webhook_id.in_(webhook_ids),
            or_(webhook_queues.c.due_at.is_(None), webhook_queues.c.due_at > at),
        )
        .values(due_at=at)
    )


def is_any_due(tx: Tx, now: datetime) -> bool:
    """Return whether any queue is due and not leased."""
    return tx.execute(select(exists(_ROW).where(*_due(now)))).scalar_one()


def claim_queues(
    tx: Tx, now: datetime, places: FreePlaces, *, limit: int, lease: str, until: datetime
) -> list[QueueId]:
    """Lease at most `limit` due queues, fairly: no workspace gets more than its share of the free places.

    Workspaces with fewer places come first, then the queue that is due for longest. Skips queues that
    another worker is claiming at the same time.
    """
    ranked = _ranked(now, places.held)
    # PostgreSQL cannot lock rows of a query with a window function. So the ranked rows are joined to the
    # table again, and `_due` is checked again on the locked rows: another worker may have leased them
    # since the ranking read them. SKIP LOCKED skips those that are being claimed right now.
    waiting = (
        select(webhook_queues.c.workspace_id, webhook_queues.c.webhook_id)
        .join(
            ranked,
            and_(
                ranked.c.workspace_id == webhook_queues.c.workspace_id,
                ranked.c.webhook_id == webhook_queues.c.webhook_id,
            ),
        )
        .where(*_due(now))
        .order_by(ranked.c.turn, ranked.c.due_at, ranked.c.workspace_id)
        .limit(limit)
        .with_for_update(of=webhook_queues, skip_locked=True)
    )
    rows = [(row.workspace_id, row.webhook_id) for row in tx.execute(waiting)]
    admitted = rows[: places.admitted(owner for owner, _ in rows)]
    if admitted:
        leased = update(webhook_queues).where(_among(admitted))
        tx.execute(leased.values(lease=lease, leased_until=until))
    return admitted


def _ranked(now: datetime, held: Mapping[WorkspaceId, int]) -> Subquery:
    """Due queues, each with the number of places that its workspace would then have."""
    ours = webhook_queues.c.workspace_id
    nth = func.row_number().over(partition_by=ours, order_by=webhook_queues.c.due_at)
    turn = nth + case(dict(held), value=ours, else_=0) if held else nth
    columns = (ours, webhook_queues.c.webhook_id, webhook_queues.c.due_at, turn.label("turn"))
    return select(*columns).where(*_due(now)).subquery("ranked")


def lock_queues(tx: Tx, wanted: Iterable[QueueId], *, wait: bool = False) -> dict[QueueId, Queue]:
    """Lock those of the queues that no other transaction has locked; with `wait`, wait for all of them."""
    free = (
        select(
            webhook_queues.c.workspace_id,
            webhook_queues.c.webhook_id,
            webhook_queues.c.lease,
            webhook_queues.c.succeeded_at,
        )
        .where(_among(wanted))
        .with_for_update(skip_locked=not wait)
    )
    rows = tx.execute(free)
    return {
        (row.workspace_id, row.webhook_id): Queue(
            row.workspace_id, row.webhook_id, row.lease, row.succeeded_at
        )
        for row in rows
    }


def extend_leases(tx: Tx, queues: Collection[QueueId], until: datetime) -> None:
    """Extend leases of the caller, who has locked the queues."""
    if queues:
        tx.execute(update(webhook_queues).where(_among(queues)).values(leased_until=until))


def hold_queue(tx: Tx, queue: QueueId) -> Queue | None:
    """Lock one queue, under the workspace's lock, before any of its deliveries is changed."""
    return lock_queues(tx, [queue], wait=True).get(queue)


def note_success(tx: Tx, queue: QueueId, at: datetime) -> None:
    """Record a successful attempt; the time only moves forward."""
    later = or_(webhook_queues.c.succeeded_at.is_(None), webhook_queues.c.succeeded_at < at)
    tx.execute(update(webhook_queues).where(_among([queue]), later).values(succeeded_at=at))


def release_queue(tx: Tx, queue: QueueId, lease: str) -> None:
    """Release the lease of a locked queue, which is next due with its first pending delivery.

    Does nothing if another worker has the lease.
    """
    released = update(webhook_queues).where(_among([queue]), webhook_queues.c.lease == lease)
    tx.execute(released.values(lease=None, leased_until=None, due_at=_first_due(queue)))


def make_due(tx: Tx, queue: QueueId) -> None:
    """Make the queue due with its first pending delivery, after its endpoint was enabled or disabled."""
    tx.execute(update(webhook_queues).where(_among([queue])).values(due_at=_first_due(queue)))


def postpone_queue(tx: Tx, queue: QueueId, until: datetime | None) -> None:
    """Release the lease and postpone the queue; None: until the endpoint's next event."""
    values = {"lease": None, "leased_until": None, "due_at": until}
    tx.execute(update(webhook_queues).where(_among([queue])).values(values))


def _first_due(queue: QueueId) -> Any:
    """Return the time of the first pending delivery; null without one, or if the endpoint is not active."""
    workspace_id, webhook_id = queue
    return (
        select(func.min(deliveries.c.next_attempt_at))
        .where(
            deliveries.c.workspace_id == workspace_id,
            deliveries.c.webhook_id == webhook_id,
            has_status(DeliveryStatus.PENDING),
            exists(_ROW).where(*_active(workspace_id), webhook_endpoints.c.id == webhook_id),
        )
        .scalar_subquery()
    )


def _due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    free = or_(webhook_queues.c.leased_until.is_(None), webhook_queues.c.leased_until <= now)
    return webhook_queues.c.due_at <= now, free


def _active(workspace_id: WorkspaceId | ColumnElement[str]) -> tuple[ColumnElement[bool], ...]:
    return (
        webhook_endpoints.c.workspace_id == workspace_id,
        webhook_endpoints.c.status == WebhookStatus.ACTIVE,
        webhook_endpoints.c.deleted_at.is_(None),
    )


def _chose(event: Event) -> ColumnElement[bool]:
    listed = literal(" ").concat(webhook_endpoints.c.event_types).concat(" ")
    return or_(
        webhook_endpoints.c.event_types == ALL_EVENTS,
        listed.contains(f" {event.type} ", autoescape=True),
    )


def _among(queues: Iterable[QueueId]) -> ColumnElement[bool]:
    return tuple_(webhook_queues.c.workspace_id, webhook_queues.c.webhook_id).in_(list(queues))


def _new_row(event: Event, webhook_id: WebhookId) -> dict[str, Any]:
    at = event.occurred_at
    return {
        "workspace_id": event.workspace_id,
        "id": new_id("dlv", at),
        "webhook_id": webhook_id,
        "event_sequence": event.sequence,
        "status": DeliveryStatus.PENDING,
        "created_at": at,
        "started_at": at,
        "step": 0,
        "attempts": 0,
        "next_attempt_at": at,
    }
