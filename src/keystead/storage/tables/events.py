"""Events of workspaces and of the installation: appended with the change that they report, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update

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
from keystead.storage.queries import Change, Query
from keystead.storage.schema.columns import (
    ABOVE_EVERY_ID,
    ABOVE_EVERY_NUMBER,
    LIMIT,
    actor_of,
    actor_values,
    unlikely,
)
from keystead.storage.schema.tables import events, installation_events, workspaces
from keystead.storage.tables.delivery_queues import enqueue, enqueue_for, listening
from keystead.storage.tables.notification_digests import make_digest_due

EVENT: Final = tuple(column for column in events.c if column is not events.c.position)
"""The columns of an event. Its position belongs to the feed, and is known only later."""
_INSTALLATION_EVENT: Final = tuple(
    column for column in installation_events.c if column is not installation_events.c.position
)

_TYPES: Final = {str(type): type for type in EventType}

_INSERT: Final = Change(insert(events))
_NEXT_NUMBER: Final = Change(
    update(workspaces)
    .where(workspaces.c.id == bindparam("workspace"))
    .values(last_event=workspaces.c.last_event + 1)
    .returning(workspaces.c.last_event, listening(bindparam("workspace")))
)
_PAGE: Final = (
    select(*EVENT)
    .where(events.c.workspace_id == bindparam("workspace"), events.c.sequence < bindparam("before"))
    .order_by(events.c.sequence.desc())
    .limit(LIMIT)
)
_INSERT_INSTALLATION: Final = insert(installation_events)
_PAGE_OF_INSTALLATION: Final = Query(
    select(*_INSTALLATION_EVENT)
    .where(installation_events.c.id < bindparam("before"))
    .order_by(installation_events.c.id.desc())
    .limit(LIMIT)
)
_INSTALLATION_AFTER: Final = Query(
    select(*_INSTALLATION_EVENT)
    .where(installation_events.c.id > bindparam("mark"))
    .order_by(installation_events.c.id)
    .limit(LIMIT)
)


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
    _INSERT.run(tx, _to_row(event))
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
    _INSERT.run(tx, _to_row(event))
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
    values = {
        "workspace": workspace_id,
        "before": ABOVE_EVERY_NUMBER if before is None else before,
        "limit": limit,
        "types": list(types),
        "target": target_id,
    }
    page = _page(bool(types), target_id is not None)
    return [event_of(row) for row in page.all(tx, values)]


def event_of(row: Sequence[Any]) -> Event:
    """Return the event of a row with the columns EVENT."""
    (
        workspace_id,
        sequence,
        id,
        type,
        occurred_at,
        actor_kind,
        actor_id,
        actor_name,
        target_type,
        target_id,
        address,
        request_id,
        data,
    ) = row
    return Event(
        id,
        workspace_id,
        sequence,
        _TYPES[type],
        occurred_at,
        actor_of(actor_kind, actor_id, actor_name),
        Target(target_type, target_id),
        Origin(address, request_id),
        data,
    )


@cache
def _page(has_types: bool, has_target: bool) -> Query:
    """Return the query of a page with these filters: one for each of four combinations."""
    page = _PAGE
    if has_types:
        page = page.where(events.c.type.in_(bindparam("types", expanding=True)))
    if has_target:
        # Without the hint SQLite's planner doesn't use the index by target.
        page = page.where(unlikely(events.c.target_id == bindparam("target")))
    return Query(page)


def _next_sequence(tx: Tx, workspace_id: WorkspaceId) -> tuple[int, bool]:
    """Take the workspace's next number; returns it, and whether the workspace has active endpoints."""
    row = _NEXT_NUMBER.run(tx, {"workspace": workspace_id})
    assert row is not None  # noqa: S101 - the caller holds the workspace's lock
    return row[0], row[1]


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
    tx.execute(_INSERT_INSTALLATION, row)


def page_of_installation_events(
    tx: Tx, *, limit: int, before: EventId | None = None
) -> list[InstallationEvent]:
    """Return at most `limit` events, newest first, with an id below `before`."""
    values = {"before": before or ABOVE_EVERY_ID, "limit": limit}
    return [_installation_event(row) for row in _PAGE_OF_INSTALLATION.all(tx, values)]


def installation_events_after(tx: Tx, mark: str, limit: int) -> list[InstallationEvent]:
    """Return at most `limit` events, oldest first, with an id above `mark`."""
    rows = _INSTALLATION_AFTER.all(tx, {"mark": mark, "limit": limit})
    return [_installation_event(row) for row in rows]


def _installation_event(row: Sequence[Any]) -> InstallationEvent:
    id, type, occurred_at, actor_kind, actor_id, actor_name, target_type, target_id, data = row
    return InstallationEvent(
        id,
        type,  # not made an InstallationEventType: one of a later version must not hide the others
        occurred_at,
        actor_of(actor_kind, actor_id, actor_name),
        Target(target_type, target_id),
        data,
    )
