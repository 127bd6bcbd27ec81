"""Events of workspaces and of the installation: appended with the change that they report, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select, update

from keystead.domain.events import (
    Act,
    Event,
    EventType,
    InstallationEvent,
    InstallationEventType,
    Origin,
    Target,
)
from keystead.domain.ids import EventId, WebhookId, WorkspaceId, new_id
from keystead.domain.notification_digests import TOPIC_OF
from keystead.domain.revocation_log import entry_of
from keystead.storage.database import Tx
from keystead.storage.freshness.revocation_log import note_revocation
from keystead.storage.schema.columns import actor_of, actor_values
from keystead.storage.schema.tables import events, installation_events, workspaces
from keystead.storage.tables.delivery_queues import enqueue, enqueue_for, listening
from keystead.storage.tables.notification_digests import make_digest_due


def append_event(
    tx: Tx,
    workspace_id: WorkspaceId,
    type: EventType,
    act: Act,
    target: Target,
    data: Mapping[str, object] | None = None,
) -> Event:
    """Append an event with the workspace's next sequence number, and a delivery for each webhook that chose it.

    The caller holds the workspace's lock.
    """
    sequence, has_listeners = _next_sequence(tx, workspace_id)
    event = _new_event(workspace_id, sequence, type, act, target, data or {})
    tx.execute(insert(events), _to_row(event))
    if type in TOPIC_OF:
        make_digest_due(tx, event)
    if (ending := entry_of(event)) is not None:
        note_revocation(tx, ending)
    if has_listeners:
        enqueue(tx, event)
    return event


def append_event_for(
    tx: Tx,
    workspace_id: WorkspaceId,
    webhook_id: WebhookId,
    type: EventType,
    act: Act,
    target: Target,
) -> Event:
    """Append an event with a delivery for that webhook only, whatever types it chose."""
    sequence, _ = _next_sequence(tx, workspace_id)
    event = _new_event(workspace_id, sequence, type, act, target, {})
    tx.execute(insert(events), _to_row(event))
    enqueue_for(tx, event, [webhook_id])
    return event


def page_of_events(
    tx: Tx,
    workspace_id: WorkspaceId,
    *,
    limit: int,
    before: int | None = None,
    types: Sequence[EventType] = (),
    target_id: str | None = None,
) -> list[Event]:
    """Return at most `limit` events, newest first, with a sequence below `before`.

    `types` and `target_id` narrow them, if given.
    """
    query = select(events).where(events.c.workspace_id == workspace_id)
    if before is not None:
        query = query.where(events.c.sequence < before)
    if types:
        query = query.where(events.c.type.in_(types))
    if target_id is not None:
        query = query.where(_about(tx, target_id))
    rows = tx.execute(query.order_by(events.c.sequence.desc()).limit(limit))
    return [event_of(row) for row in rows]


def event_of(row: Row[Any]) -> Event:
    """Return the event of a row of `events`."""
    return Event(
        id=row.id,
        workspace_id=row.workspace_id,
        sequence=row.sequence,
        type=EventType(row.type),
        occurred_at=row.occurred_at,
        actor=actor_of(row, "actor"),
        target=Target(row.target_type, row.target_id),
        origin=Origin(row.address, row.request_id),
        data=row.data,
    )


def _about(tx: Tx, target_id: str) -> ColumnElement[bool]:
    # We keep no statistics on SQLite: without the hint its planner doesn't use the index by target.
    about = events.c.target_id == target_id
    return func.unlikely(about) if tx.dialect.name == "sqlite" else about


def _next_sequence(tx: Tx, workspace_id: WorkspaceId) -> tuple[int, bool]:
    """Take the workspace's next number; returns it, and whether the workspace has active endpoints."""
    counted = (
        update(workspaces)
        .where(workspaces.c.id == workspace_id)
        .values(last_event=workspaces.c.last_event + 1)
        .returning(workspaces.c.last_event, listening(workspace_id).label("has_listeners"))
    )
    row = tx.execute(counted).one()
    return row.last_event, bool(row.has_listeners)


def _new_event(
    workspace_id: WorkspaceId,
    sequence: int,
    type: EventType,
    act: Act,
    target: Target,
    data: Mapping[str, object],
) -> Event:
    return Event(
        id=EventId(new_id("evt", act.at)),
        workspace_id=workspace_id,
        sequence=sequence,
        type=type,
        occurred_at=act.at,
        actor=act.actor,
        target=target,
        origin=act.origin,
        data=data,
    )


def _to_row(event: Event) -> dict[str, Any]:
    return {
        "workspace_id": event.workspace_id,
        "sequence": event.sequence,
        "id": event.id,
        "type": event.type,
        "occurred_at": event.occurred_at,
        **actor_values("actor", event.actor),
        "target_type": event.target.type,
        "target_id": event.target.id,
        "address": event.origin.address,
        "request_id": event.origin.request_id,
        "data": dict(event.data),
    }


def append_installation_event(
    tx: Tx, type: InstallationEventType, act: Act, target: Target, data: Mapping[str, object]
) -> None:
    """Insert an event that belongs to no workspace."""
    row = {
        "id": new_id("evt", act.at),
        "type": type,
        "occurred_at": act.at,
        **actor_values("actor", act.actor),
        "target_type": target.type,
        "target_id": target.id,
        "data": dict(data),
    }
    tx.execute(insert(installation_events), row)


def page_of_installation_events(
    tx: Tx, *, limit: int, before: EventId | None = None
) -> list[InstallationEvent]:
    """Return at most `limit` events, newest first, with an id below `before`."""
    query = select(installation_events).order_by(installation_events.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(installation_events.c.id < before)
    return [_installation_event(row) for row in tx.execute(query)]


def installation_events_after(tx: Tx, mark: str, limit: int) -> list[InstallationEvent]:
    """Return at most `limit` events, oldest first, with an id above `mark`."""
    query = select(installation_events).where(installation_events.c.id > mark)
    rows = tx.execute(query.order_by(installation_events.c.id).limit(limit))
    return [_installation_event(row) for row in rows]


def _installation_event(row: Row[Any]) -> InstallationEvent:
    return InstallationEvent(
        id=row.id,
        # Not made an InstallationEventType: one of a later version must not hide the others.
        type=row.type,
        occurred_at=row.occurred_at,
        actor=actor_of(row, "actor"),
        target=Target(row.target_type, row.target_id),
        data=row.data,
    )
