"""Queues: which endpoints have deliveries that are due, and which worker is sending them.

An endpoint's queue is leased as a whole: whoever holds it sends to that endpoint alone, and a slow one keeps nobody
else's deliveries waiting. Deliveries that arrive meanwhile make the queue due again when the lease is given back.
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
"""What EXISTS looks for: `*` would need the right to every column."""


@dataclass(frozen=True, slots=True)
class Queue:
    """An endpoint's queue under this transaction's lock: whose lease it is, and when anything was last delivered."""

    workspace_id: WorkspaceId
    webhook_id: WebhookId
    lease: str | None
    succeeded_at: datetime | None


def has_status(status: DeliveryStatus) -> ColumnElement[bool]:
    """Of deliveries; the status written out, as a partial index asks for it: a value sent apart finds none."""
    return deliveries.c.status == literal_column(f"'{status}'")


def listening(workspace_id: WorkspaceId) -> Exists:
    """Whether anybody is told of the workspace's events."""
    return exists(_ROW).where(*_active(workspace_id))


def enqueue(tx: Tx, event: Event) -> None:
    """A delivery of the event for each active endpoint that chose its type. The workspace's lock is held."""
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
    """A delivery of the event for each of these endpoints, due at once."""
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
    """Whether any queue waits for a worker."""
    return tx.execute(select(exists(_ROW).where(*_due(now)))).scalar_one()


def claim_queues(
    tx: Tx, now: datetime, places: FreePlaces, *, limit: int, lease: str, until: datetime
) -> list[QueueId]:
    """Lease at most `limit` due queues, workspace after workspace, each no more than its share of the places.

    Within a workspace the longest due is first, and so it is among workspaces that have as many places. Queues that
    others are about to lease are passed over, never waited for.
    """
    ranked = _ranked(now, places.held)
    # PostgreSQL locks no row through a window; so the rows are joined again, and looked at again under their lock.
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
    """Due queues, each with how many places its workspace would have after it."""
    ours = webhook_queues.c.workspace_id
    nth = func.row_number().over(partition_by=ours, order_by=webhook_queues.c.due_at)
    turn = nth + case(dict(held), value=ours, else_=0) if held else nth
    columns = (ours, webhook_queues.c.webhook_id, webhook_queues.c.due_at, turn.label("turn"))
    return select(*columns).where(*_due(now)).subquery("ranked")


def lock_queues(tx: Tx, wanted: Iterable[QueueId], *, wait: bool = False) -> dict[QueueId, Queue]:
    """Those of the wanted queues that nobody else is changing right now; or, waiting, all that there are."""
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


def extend_leases(tx: Tx, held: Collection[QueueId], until: datetime) -> None:
    """Moves the end of leases. The queues are locked, and the leases the caller's."""
    if held:
        tx.execute(update(webhook_queues).where(_among(held)).values(leased_until=until))


def hold_queue(tx: Tx, queue: QueueId) -> Queue | None:
    """The queue, waited for before any of its deliveries is changed.

    The workspace's lock is held. Who waits for a queue holds that, or no other queue: so no two wait in a circle.
    """
    return lock_queues(tx, [queue], wait=True).get(queue)


def note_success(tx: Tx, queue: QueueId, at: datetime) -> None:
    """Writes down when the endpoint took something; forward only."""
    later = or_(webhook_queues.c.succeeded_at.is_(None), webhook_queues.c.succeeded_at < at)
    tx.execute(update(webhook_queues).where(_among([queue]), later).values(succeeded_at=at))


def release_queue(tx: Tx, queue: QueueId, lease: str) -> None:
    """Gives the lease back; the queue is due when its first pending delivery is. The queue is locked.

    Nothing happens where the lease has passed to somebody else.
    """
    released = update(webhook_queues).where(_among([queue]), webhook_queues.c.lease == lease)
    tx.execute(released.values(lease=None, leased_until=None, due_at=_first_due(queue)))


def make_due(tx: Tx, queue: QueueId) -> None:
    """The queue is due when its first pending delivery is; after an endpoint was enabled or disabled."""
    tx.execute(update(webhook_queues).where(_among([queue])).values(due_at=_first_due(queue)))


def postpone_queue(tx: Tx, queue: QueueId, until: datetime | None) -> None:
    """Gives the lease back and leaves the queue alone until then; None: until its next event."""
    left = {"lease": None, "leased_until": None, "due_at": until}
    tx.execute(update(webhook_queues).where(_among([queue])).values(left))


def _first_due(queue: QueueId) -> Any:
    """The instant of the first pending delivery, null where there is none or the endpoint is not active."""
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


def _active(workspace_id: WorkspaceId) -> tuple[ColumnElement[bool], ...]:
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
