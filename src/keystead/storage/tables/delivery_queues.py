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
from typing import Any, Final

from sqlalchemy import (
    JSON,
    ColumnElement,
    Exists,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    cast,
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
from sqlalchemy.dialects import postgresql

from keystead.domain.events import Event
from keystead.domain.ids import WebhookId, WorkspaceId, new_id
from keystead.domain.shares import FreePlaces
from keystead.domain.webhooks import ALL_EVENTS, DeliveryStatus, WebhookStatus
from keystead.storage.database import MAKES_DUE, Tx
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


def _active(workspace_id: Any) -> tuple[ColumnElement[bool], ...]:
    return (
        webhook_endpoints.c.workspace_id == workspace_id,
        webhook_endpoints.c.status == WebhookStatus.ACTIVE,
        webhook_endpoints.c.deleted_at.is_(None),
    )


_QUEUE: Final = (webhook_queues.c.workspace_id, webhook_queues.c.webhook_id)
_IS_DUE: Final = (
    webhook_queues.c.due_at <= bindparam("now"),
    or_(webhook_queues.c.leased_until.is_(None), webhook_queues.c.leased_until <= bindparam("now")),
)
_IS_AMONG: Final = tuple_(*_QUEUE).in_(bindparam("queues", expanding=True))
_AMONG: Final = update(webhook_queues).where(_IS_AMONG)
_ONE: Final = update(webhook_queues).where(
    webhook_queues.c.workspace_id == bindparam("workspace"),
    webhook_queues.c.webhook_id == bindparam("webhook"),
)
"""The columns to write are those that these two are executed with."""

_CHOSEN: Final = (
    select(webhook_queues.c.webhook_id)
    .join(
        webhook_endpoints,
        and_(
            webhook_endpoints.c.workspace_id == webhook_queues.c.workspace_id,
            webhook_endpoints.c.id == webhook_queues.c.webhook_id,
        ),
    )
    .where(
        *_active(bindparam("workspace")),
        or_(
            webhook_endpoints.c.event_types == ALL_EVENTS,
            literal(" ")
            .concat(webhook_endpoints.c.event_types)
            .concat(" ")
            .like(bindparam("pattern"), escape="/"),
        ),
    )
    .order_by(webhook_queues.c.webhook_id)
    .with_for_update(of=webhook_queues)
)
_ADVANCE: Final = (
    update(webhook_queues)
    .where(
        webhook_queues.c.workspace_id == bindparam("workspace"),
        webhook_queues.c.webhook_id.in_(bindparam("webhooks", expanding=True)),
        or_(webhook_queues.c.due_at.is_(None), webhook_queues.c.due_at > bindparam("at")),
    )
    .values(due_at=bindparam("at"))
)
_IS_ANY_DUE: Final = select(exists(_ROW).where(*_IS_DUE))
_HELD: Final = JSON().with_variant(postgresql.JSONB(), "postgresql")


def _waiting() -> Select[Any]:
    """Return due queues in turn, each ranked by the number of places that its workspace would then have.

    PostgreSQL cannot lock rows of a query with a window function. So the ranked rows are joined to the table
    again, and `_IS_DUE` is checked again on the locked rows: another worker may have leased them since the
    ranking read them. SKIP LOCKED skips those that are being claimed right now.
    """
    ours, theirs = _QUEUE
    due_at = webhook_queues.c.due_at
    nth = func.row_number().over(partition_by=ours, order_by=due_at)
    held = bindparam("held", type_=_HELD).op("->>", return_type=Text())(ours)
    turn = nth + func.coalesce(cast(held, Integer), 0)
    ranked = select(ours, theirs, due_at, turn.label("turn")).where(*_IS_DUE).subquery("ranked")
    return (
        select(*_QUEUE)
        .join(ranked, and_(ranked.c.workspace_id == ours, ranked.c.webhook_id == theirs))
        .where(*_IS_DUE)
        .order_by(ranked.c.turn, ranked.c.due_at, ranked.c.workspace_id)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(of=webhook_queues, skip_locked=True)
    )


_WAITING: Final = _waiting()
_LOCK_ALL: Final = (
    select(*_QUEUE, webhook_queues.c.lease, webhook_queues.c.succeeded_at)
    .where(_IS_AMONG)
    .with_for_update()
)
_LOCK_FREE: Final = _LOCK_ALL.with_for_update(skip_locked=True)
_FIRST_DUE: Final = (
    select(func.min(deliveries.c.next_attempt_at))
    .where(
        deliveries.c.workspace_id == bindparam("workspace"),
        deliveries.c.webhook_id == bindparam("webhook"),
        has_status(DeliveryStatus.PENDING),
        exists(_ROW).where(
            *_active(bindparam("workspace")), webhook_endpoints.c.id == bindparam("webhook")
        ),
    )
    .scalar_subquery()
)
"""The time of the first pending delivery; null without one, or if the endpoint is not active."""
_MAKE_DUE: Final = _ONE.values(due_at=_FIRST_DUE)
_RELEASE: Final = _MAKE_DUE.values(lease=None, leased_until=None).where(
    webhook_queues.c.lease == bindparam("held")
)
_SUCCESS: Final = _ONE.values(succeeded_at=bindparam("at")).where(
    or_(webhook_queues.c.succeeded_at.is_(None), webhook_queues.c.succeeded_at < bindparam("at"))
)


def enqueue(tx: Tx, event: Event) -> None:
    """Insert a delivery of the event for each active endpoint that chose its type, under the workspace's lock."""
    pattern = f"% {event.type.replace('_', '/_')} %"
    chosen = tx.execute(_CHOSEN, {"workspace": event.workspace_id, "pattern": pattern})
    enqueue_for(tx, event, list(chosen.scalars()))


def enqueue_for(tx: Tx, event: Event, webhook_ids: Sequence[WebhookId]) -> None:
    """Insert a delivery of the event for each of these endpoints, due immediately."""
    if not webhook_ids:
        return
    tx.execute(insert(deliveries), [_new_row(event, webhook_id) for webhook_id in webhook_ids])
    which = {"workspace": event.workspace_id, "webhooks": webhook_ids}
    tx.execute(_ADVANCE, {**which, "at": event.occurred_at})
    tx.info[MAKES_DUE] = True


def is_any_due(tx: Tx, now: datetime) -> bool:
    """Return whether any queue is due and not leased."""
    return bool(tx.execute(_IS_ANY_DUE, {"now": now}).scalar_one())


def claim_queues(
    tx: Tx, now: datetime, places: FreePlaces, *, limit: int, lease: str, until: datetime
) -> list[QueueId]:
    """Lease at most `limit` due queues, fairly: no workspace gets more than its share of the free places.

    Workspaces with fewer places come first, then the queue that is due for longest. Skips queues that
    another worker is claiming at the same time.
    """
    waiting = tx.execute(_WAITING, {"now": now, "held": dict(places.held), "most": limit})
    rows = [(row.workspace_id, row.webhook_id) for row in waiting]
    admitted = rows[: places.admitted(owner for owner, _ in rows)]
    if admitted:
        tx.execute(_AMONG, {"queues": admitted, "lease": lease, "leased_until": until})
    return admitted


def lock_queues(tx: Tx, wanted: Iterable[QueueId], *, wait: bool = False) -> dict[QueueId, Queue]:
    """Lock those of the queues that no other transaction has locked; with `wait`, wait for all of them."""
    rows = tx.execute(_LOCK_ALL if wait else _LOCK_FREE, {"queues": list(wanted)})
    return {
        (row.workspace_id, row.webhook_id): Queue(
            row.workspace_id, row.webhook_id, row.lease, row.succeeded_at
        )
        for row in rows
    }


def extend_leases(tx: Tx, queues: Collection[QueueId], until: datetime) -> None:
    """Extend leases of the caller, who has locked the queues."""
    if queues:
        tx.execute(_AMONG, {"queues": list(queues), "leased_until": until})


def hold_queue(tx: Tx, queue: QueueId) -> Queue | None:
    """Lock one queue, under the workspace's lock, before any of its deliveries is changed."""
    return lock_queues(tx, [queue], wait=True).get(queue)


def note_successes(tx: Tx, latest: Mapping[QueueId, datetime]) -> None:
    """Record when an attempt at each queue last succeeded; the time only moves forward."""
    if latest:
        tx.execute(_SUCCESS, [{**_named(queue), "at": at} for queue, at in latest.items()])


def release_queues(tx: Tx, leases: Mapping[QueueId, str]) -> None:
    """Release leases of locked queues, which are next due with their first pending delivery.

    Does nothing to a queue of which another worker has the lease.
    """
    if leases:
        tx.execute(_RELEASE, [{**_named(queue), "held": held} for queue, held in leases.items()])


def make_due(tx: Tx, queue: QueueId) -> None:
    """Make the queue due with its first pending delivery, after its endpoint was enabled or disabled."""
    tx.execute(_MAKE_DUE, _named(queue))
    tx.info[MAKES_DUE] = True


def postpone_queue(tx: Tx, queue: QueueId, until: datetime | None) -> None:
    """Release the lease and postpone the queue; None: until the endpoint's next event."""
    values = {"lease": None, "leased_until": None, "due_at": until}
    tx.execute(_ONE, {**_named(queue), **values})


def _named(queue: QueueId) -> dict[str, str]:
    return {"workspace": queue[0], "webhook": queue[1]}


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
