"""Events of the installation in rows: appended in the transaction of the change that they report, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, insert, select

from keystead.domain.events import Act, InstallationEvent, InstallationEventType, Target
from keystead.domain.ids import EventId, new_id
from keystead.domain.principals import Actor, PrincipalKind
from keystead.storage.database import Tx
from keystead.storage.schema.tables import installation_events


def append_installation_event(
    tx: Tx, type: InstallationEventType, act: Act, target: Target, data: Mapping[str, object]
) -> None:
    """Insert an event that belongs to no workspace."""
    row = {
        "id": new_id("evt", act.at),
        "type": type,
        "occurred_at": act.at,
        "actor_kind": act.actor.kind,
        "actor_id": act.actor.id,
        "actor_name": act.actor.name,
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
    return [_from_row(row) for row in tx.execute(query)]


def installation_events_after(tx: Tx, mark: str, limit: int) -> list[InstallationEvent]:
    """Return at most `limit` events, oldest first, with an id above `mark`."""
    query = select(installation_events).where(installation_events.c.id > mark)
    rows = tx.execute(query.order_by(installation_events.c.id).limit(limit))
    return [_from_row(row) for row in rows]


def _from_row(row: Row[Any]) -> InstallationEvent:
    return InstallationEvent(
        id=row.id,
        # Not made an InstallationEventType: one of a later version must not hide the others.
        type=row.type,
        occurred_at=row.occurred_at,
        actor=Actor(PrincipalKind(row.actor_kind), row.actor_id, row.actor_name),
        target=Target(row.target_type, row.target_id),
        data=row.data,
    )
