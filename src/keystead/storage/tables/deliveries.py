"""Deliveries and their attempts: listed for users, read by the worker, settled after an attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, insert, select, update

from keystead.domain.events import Event, EventType
from keystead.domain.ids import DeliveryId, WebhookId, WorkspaceId
from keystead.domain.webhooks import Attempt, AttemptError, Delivery, DeliveryStatus
from keystead.storage.database import Tx
from keystead.storage.schema.tables import deliveries, delivery_attempts, events
from keystead.storage.tables.delivery_queues import has_status
from keystead.storage.tables.events import event_of

SHOWN_ATTEMPTS: Final = 30
"""The latest attempts that are read of a delivery; it has more only after several manual retries."""

_OF_EVENT = and_(
    events.c.workspace_id == deliveries.c.workspace_id,
    events.c.sequence == deliveries.c.event_sequence,
)
_COLUMNS = (*deliveries.c, events.c.id.label("event_id"), events.c.type.label("event_type"))


def page_of_deliveries(
    tx: Tx,
    workspace_id: WorkspaceId,
    webhook_id: WebhookId,
    *,
    limit: int,
    before: int | None = None,
    status: DeliveryStatus | None = None,
) -> list[Delivery]:
    """Return at most `limit` deliveries with attempts, newest event first, with a sequence below `before`."""
    page = _deliveries_of(workspace_id).where(deliveries.c.webhook_id == webhook_id)
    if before is not None:
        page = page.where(deliveries.c.event_sequence < before)
    if status is not None:
        page = page.where(has_status(status))
    rows = tx.execute(page.order_by(deliveries.c.event_sequence.desc()).limit(limit))
    return _with_attempts(tx, workspace_id, [_from_row(row) for row in rows])


def find_delivery(tx: Tx, workspace_id: WorkspaceId, delivery_id: DeliveryId) -> Delivery | None:
    """Return the workspace's delivery of that id, with its attempts."""
    row = tx.execute(_deliveries_of(workspace_id).where(deliveries.c.id == delivery_id)).first()
    return None if row is None else _with_attempts(tx, workspace_id, [_from_row(row)])[0]


def find_event_of(tx: Tx, delivery: Delivery) -> Event:
    """Return the delivery's event."""
    query = select(events).where(
        events.c.workspace_id == delivery.workspace_id,
        events.c.sequence == delivery.event_sequence,
    )
    return event_of(tx.execute(query).one())


def due_deliveries(
    tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId, now: datetime, limit: int
) -> list[tuple[Delivery, Event]]:
    """Return at most `limit` due deliveries of an endpoint with their events but no attempts, longest due first."""
    due = (
        _deliveries_of(workspace_id)
        .where(
            deliveries.c.webhook_id == webhook_id,
            has_status(DeliveryStatus.PENDING),
            deliveries.c.next_attempt_at <= now,
        )
        .order_by(deliveries.c.next_attempt_at)
        .limit(limit)
    )
    batch = [_from_row(row) for row in tx.execute(due)]
    reported = select(events).where(
        events.c.workspace_id == workspace_id,
        events.c.sequence.in_([delivery.event_sequence for delivery in batch]),
    )
    by_sequence = {row.sequence: event_of(row) for row in tx.execute(reported)} if batch else {}
    return [(delivery, by_sequence[delivery.event_sequence]) for delivery in batch]


def settle_delivery(tx: Tx, before: Delivery, after: Delivery) -> bool:
    """Write the state after an attempt, and the attempt. Returns False if the delivery has changed since `before`."""
    settled = (
        update(deliveries)
        .where(
            _is(before),
            # Compare and set: another worker may have settled it after our lease expired, or a
            # user may have restarted it.
            deliveries.c.attempts == before.attempted,
            deliveries.c.started_at == before.started_at,
            deliveries.c.status == DeliveryStatus.PENDING,
        )
        .values(_state_of(after))
    )
    if tx.execute(settled).rowcount == 0:
        return False
    tx.execute(insert(delivery_attempts), _attempt_row(after))
    return True


def restart_delivery(tx: Tx, delivery: Delivery) -> None:
    """Write a delivery whose schedule starts again."""
    tx.execute(update(deliveries).where(_is(delivery)).values(_state_of(delivery)))


def _deliveries_of(workspace_id: WorkspaceId) -> Select[Any]:
    joined = select(*_COLUMNS).join(events, _OF_EVENT)
    return joined.where(deliveries.c.workspace_id == workspace_id)


def _with_attempts(tx: Tx, workspace_id: WorkspaceId, batch: Sequence[Delivery]) -> list[Delivery]:
    counts = {delivery.id: delivery.attempted for delivery in batch if delivery.attempted}
    if not counts:
        return list(batch)
    query = select(delivery_attempts).where(
        delivery_attempts.c.workspace_id == workspace_id,
        delivery_attempts.c.delivery_id.in_(counts),
    )
    attempts: dict[str, list[Attempt]] = {}
    for row in tx.execute(query.order_by(delivery_attempts.c.number)):
        if row.number > counts[row.delivery_id] - SHOWN_ATTEMPTS:
            attempts.setdefault(row.delivery_id, []).append(_attempt(row))
    return [replace(delivery, attempts=tuple(attempts.get(delivery.id, ()))) for delivery in batch]


def _is(delivery: Delivery) -> ColumnElement[bool]:
    return and_(deliveries.c.workspace_id == delivery.workspace_id, deliveries.c.id == delivery.id)


def _state_of(delivery: Delivery) -> dict[str, Any]:
    return {
        "status": delivery.status,
        "started_at": delivery.started_at,
        "step": delivery.step,
        "attempts": delivery.attempted,
        "next_attempt_at": delivery.next_attempt_at,
    }


def _attempt_row(delivery: Delivery) -> dict[str, Any]:
    attempt = delivery.attempts[-1]
    return {
        "workspace_id": delivery.workspace_id,
        "delivery_id": delivery.id,
        "number": delivery.attempted,
        "at": attempt.at,
        "status": attempt.status,
        "error": attempt.error,
        "milliseconds": attempt.milliseconds,
    }


def _attempt(row: Row[Any]) -> Attempt:
    error = row.error and AttemptError(row.error)
    return Attempt(row.at, row.status, error, row.milliseconds)


def _from_row(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        workspace_id=row.workspace_id,
        webhook_id=row.webhook_id,
        event_id=row.event_id,
        event_sequence=row.event_sequence,
        event_type=EventType(row.event_type),
        status=DeliveryStatus(row.status),
        created_at=row.created_at,
        started_at=row.started_at,
        step=row.step,
        attempted=row.attempts,
        next_attempt_at=row.next_attempt_at,
    )
