"""Deliveries and their attempts: listed for users, read by the worker, settled after an attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    func,
    insert,
    not_,
    or_,
    select,
    tuple_,
    update,
)

from keystead.domain.events import Event, EventType
from keystead.domain.ids import DeliveryId, EventId, WebhookId, WorkspaceId
from keystead.domain.webhook_health import COUNTED, DeliveryCounts
from keystead.domain.webhooks import Attempt, AttemptError, Delivery, DeliveryStatus
from keystead.storage.database import Tx
from keystead.storage.schema.tables import deliveries, delivery_attempts, events, webhook_endpoints
from keystead.storage.tables.delivery_queues import has_status
from keystead.storage.tables.events import EVENT, event_of

SHOWN_ATTEMPTS: Final = 30
"""The latest attempts that are read of a delivery; it has more only after several manual retries."""

_OF_EVENT = and_(
    events.c.workspace_id == deliveries.c.workspace_id,
    events.c.sequence == deliveries.c.event_sequence,
)
_COLUMNS = (*deliveries.c, events.c.id.label("event_id"), events.c.type.label("event_type"))
_IS_PENDING = has_status(DeliveryStatus.PENDING)

_DUE: Final = (
    select(deliveries)
    .where(
        deliveries.c.workspace_id == bindparam("workspace"),
        deliveries.c.webhook_id == bindparam("webhook"),
        _IS_PENDING,
        deliveries.c.next_attempt_at <= bindparam("now"),
    )
    .order_by(deliveries.c.next_attempt_at)
    .limit(bindparam("most", type_=Integer))
)
_EVENTS: Final = select(*EVENT).where(
    events.c.workspace_id == bindparam("workspace"),
    events.c.sequence.in_(bindparam("sequences", expanding=True)),
)
_PENDING: Final = (
    select(deliveries.c.id, deliveries.c.attempts, deliveries.c.started_at)
    .where(
        tuple_(deliveries.c.workspace_id, deliveries.c.id).in_(
            bindparam("deliveries", expanding=True)
        ),
        _IS_PENDING,
    )
    .with_for_update(skip_locked=True)
)
_WRITE: Final = update(deliveries).where(
    deliveries.c.workspace_id == bindparam("workspace"), deliveries.c.id == bindparam("delivery")
)
"""The columns to write are those that it is executed with."""
_FAILED_SINCE: Final = (
    select(deliveries.c.id)
    .where(
        deliveries.c.workspace_id == bindparam("workspace"),
        deliveries.c.webhook_id == bindparam("webhook"),
        has_status(DeliveryStatus.FAILED),
        deliveries.c.created_at >= bindparam("since"),
    )
    .order_by(deliveries.c.event_sequence.desc())
    .limit(bindparam("most", type_=Integer))
)


def _counts() -> Select[Any]:
    """Return the numbers of attempted deliveries by status, after the event that is COUNTED deliveries back.

    That event is found along the index of each endpoint, so the count reads no more than COUNTED rows of it.
    """
    endpoint, earlier = webhook_endpoints.c, deliveries.alias("earlier").c
    back = (
        select(earlier.event_sequence)
        .where(earlier.workspace_id == endpoint.workspace_id, earlier.webhook_id == endpoint.id)
        .order_by(earlier.event_sequence.desc())
        .limit(1)
        .offset(COUNTED)
        .correlate(webhook_endpoints)
        .scalar_subquery()
    )
    return (
        select(deliveries.c.webhook_id, deliveries.c.status, func.count().label("number"))
        .join(
            webhook_endpoints,
            and_(
                endpoint.workspace_id == deliveries.c.workspace_id,
                endpoint.id == deliveries.c.webhook_id,
            ),
        )
        .where(
            endpoint.workspace_id == bindparam("workspace"),
            endpoint.id.in_(bindparam("webhooks", expanding=True)),
            deliveries.c.event_sequence > func.coalesce(back, -1),
            or_(deliveries.c.step > 0, not_(_IS_PENDING)),
        )
        .group_by(deliveries.c.webhook_id, deliveries.c.status)
    )


_COUNTS: Final = _counts()


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
    query = select(*EVENT).where(
        events.c.workspace_id == delivery.workspace_id,
        events.c.sequence == delivery.event_sequence,
    )
    return event_of(tx.execute(query).one())


def due_deliveries(
    tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId, now: datetime, limit: int
) -> list[tuple[Delivery, Event]]:
    """Return at most `limit` due deliveries of an endpoint with their events but no attempts, longest due first."""
    which = {"workspace": workspace_id, "webhook": webhook_id, "now": now, "most": limit}
    due = tx.execute(_DUE, which).all()
    if not due:
        return []
    numbers = [row.event_sequence for row in due]
    rows = tx.execute(_EVENTS, {"workspace": workspace_id, "sequences": numbers})
    reported = {row.sequence: event_of(row) for row in rows}
    of_rows = ((row, reported[row.event_sequence]) for row in due)
    return [(_delivery(row, event.id, event.type), event) for row, event in of_rows]


def lock_unchanged(tx: Tx, wanted: Sequence[Delivery]) -> list[Delivery]:
    """Lock those of the deliveries that have not changed since they were read, each once. Their queues are locked.

    Another worker may have settled one after our lease expired, or a user may have restarted it.
    """
    if not wanted:
        return []
    ids = [(delivery.workspace_id, delivery.id) for delivery in wanted]
    rows = tx.execute(_PENDING, {"deliveries": ids})
    pending = {row.id: (row.attempts, row.started_at) for row in rows}
    # A delivery occurs twice if its first outcome could not be written for so long that it was sent again.
    unchanged = {
        delivery.id: delivery
        for delivery in reversed(wanted)
        if pending.get(delivery.id) == (delivery.attempted, delivery.started_at)
    }
    return list(unchanged.values())


def settle_deliveries(tx: Tx, settled: Sequence[Delivery]) -> None:
    """Write the states of locked deliveries after an attempt each, and the attempts."""
    if settled:
        tx.execute(_WRITE, [_state_of(delivery) for delivery in settled])
        tx.execute(insert(delivery_attempts), [_attempt_row(delivery) for delivery in settled])


def restart_deliveries(tx: Tx, restarted: Sequence[Delivery]) -> None:
    """Write deliveries whose schedules start again."""
    tx.execute(_WRITE, [_state_of(delivery) for delivery in restarted])


def failed_since(
    tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId, since: datetime, *, limit: int
) -> list[DeliveryId]:
    """Return at most `limit` failed deliveries of events since then, newest first."""
    which = {"workspace": workspace_id, "webhook": webhook_id, "since": since, "most": limit}
    return list(tx.execute(_FAILED_SINCE, which).scalars())


def failed_among(
    tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId, ids: Sequence[DeliveryId]
) -> list[Delivery]:
    """Return those of an endpoint's deliveries that have failed, without their attempts."""
    among = _deliveries_of(workspace_id).where(
        deliveries.c.webhook_id == webhook_id,
        deliveries.c.id.in_(ids),
        has_status(DeliveryStatus.FAILED),
    )
    return [_from_row(row) for row in tx.execute(among)]


def count_latest(
    tx: Tx, workspace_id: WorkspaceId, webhook_ids: Sequence[WebhookId]
) -> dict[WebhookId, DeliveryCounts]:
    """Return how many of the latest COUNTED deliveries of each endpoint are in each state; none: it is absent."""
    if not webhook_ids:
        return {}
    counts: dict[WebhookId, dict[str, int]] = {}
    for row in tx.execute(_COUNTS, {"workspace": workspace_id, "webhooks": list(webhook_ids)}):
        counts.setdefault(row.webhook_id, {})[row.status] = row.number
    return {
        webhook_id: DeliveryCounts(
            by_status.get(DeliveryStatus.DELIVERED, 0),
            by_status.get(DeliveryStatus.PENDING, 0),
            by_status.get(DeliveryStatus.FAILED, 0),
        )
        for webhook_id, by_status in counts.items()
    }


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


def _state_of(delivery: Delivery) -> dict[str, Any]:
    return {
        "workspace": delivery.workspace_id,
        "delivery": delivery.id,
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
    return _delivery(row, row.event_id, EventType(row.event_type))


def _delivery(row: Row[Any], event_id: EventId, event_type: EventType) -> Delivery:
    return Delivery(
        id=row.id,
        workspace_id=row.workspace_id,
        webhook_id=row.webhook_id,
        event_id=event_id,
        event_sequence=row.event_sequence,
        event_type=event_type,
        status=DeliveryStatus(row.status),
        created_at=row.created_at,
        started_at=row.started_at,
        step=row.step,
        attempted=row.attempts,
        next_attempt_at=row.next_attempt_at,
    )
