"""Events in rows: appended in the transaction of the change they tell of, read newest first, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select, update

from keystead.domain.events import Act, Event, EventType, Origin, Target
from keystead.domain.ids import EventId, WorkspaceId, new_id
from keystead.domain.principals import Actor, PrincipalKind
from keystead.storage.database import Tx
from keystead.storage.schema import events, workspaces


def append_event(
    tx: Tx,
    workspace_id: WorkspaceId,
    type: EventType,
    act: Act,
    target: Target,
    data: Mapping[str, object] | None = None,
) -> Event:
    """Records what happened under the workspace's next sequence number. The caller holds the workspace's lock."""
    event = Event(
        id=EventId(new_id("evt", act.at)),
        workspace_id=workspace_id,
        sequence=_next_sequence(tx, workspace_id),
        type=type,
        occurred_at=act.at,
        actor=act.actor,
        target=target,
        origin=act.origin,
        data=data or {},
    )
    tx.execute(insert(events), _to_row(event))
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
    """At most `limit` events, newest first, with a sequence below `before`; of these types, or of all.

    `target_id`: only what happened to that one thing.
    """
    query = select(events).where(events.c.workspace_id == workspace_id)
    if before is not None:
        query = query.where(events.c.sequence < before)
    if types:
        query = query.where(events.c.type.in_(types))
    if target_id is not None:
        query = query.where(_about(tx, target_id))
    rows = tx.execute(query.order_by(events.c.sequence.desc()).limit(limit))
    return [_from_row(row) for row in rows]


def _about(tx: Tx, target_id: str) -> ColumnElement[bool]:
    """SQLite, which keeps no statistics here, must be told that few events are about one thing, to use their index."""
    about = events.c.target_id == target_id
    return func.unlikely(about) if tx.dialect.name == "sqlite" else about


def _next_sequence(tx: Tx, workspace_id: WorkspaceId) -> int:
    counted = (
        update(workspaces)
        .where(workspaces.c.id == workspace_id)
        .values(last_event=workspaces.c.last_event + 1)
        .returning(workspaces.c.last_event)
    )
    return int(tx.execute(counted).scalar_one())


def _to_row(event: Event) -> dict[str, Any]:
    return {
        "workspace_id": event.workspace_id,
        "sequence": event.sequence,
        "id": event.id,
        "type": event.type,
        "occurred_at": event.occurred_at,
        "actor_kind": event.actor.kind,
        "actor_id": event.actor.id,
        "actor_name": event.actor.name,
        "target_type": event.target.type,
        "target_id": event.target.id,
        "address": event.origin.address,
        "request_id": event.origin.request_id,
        "data": dict(event.data),
    }


def _from_row(row: Row[Any]) -> Event:
    return Event(
        id=row.id,
        workspace_id=row.workspace_id,
        sequence=row.sequence,
        type=EventType(row.type),
        occurred_at=row.occurred_at,
        actor=Actor(PrincipalKind(row.actor_kind), row.actor_id, row.actor_name),
        target=Target(row.target_type, row.target_id),
        origin=Origin(row.address, row.request_id),
        data=row.data,
    )
