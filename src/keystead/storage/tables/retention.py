"""Deleting what is past its retention period or no longer needed, in small batches found by keys and indexes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Delete,
    Select,
    Table,
    bindparam,
    delete,
    exists,
    or_,
    select,
    tuple_,
)
from sqlalchemy.sql.dml import ReturningDelete

from keystead.domain.ids import WorkspaceId, least_id
from keystead.domain.webhooks import DeliveryStatus
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema import tables as schema
from keystead.storage.schema.columns import LIMIT
from keystead.storage.schema.tables import deliveries, events, key_callers, workspaces
from keystead.storage.tables.feed import note_expired

CallerId = tuple[str, str, str, str]
"""Key, reason, address, agent: a caller of a key."""


class UseTable(StrEnum):
    """A table of counts of uses, by the time that one count is of."""

    DAY = "key_use_days"
    HOUR = "key_use_hours"


UseId = tuple[UseTable, str, int]
"""Table, key, and day or hour since 1970-01-01: a count of uses."""


def _old_delivery(workspace_id: ColumnElement[str]) -> Select[Any]:
    return select(deliveries.c.id).where(
        deliveries.c.workspace_id == workspace_id,
        deliveries.c.id < bindparam("delivery"),
        deliveries.c.status != DeliveryStatus.PENDING,
    )


def _old_event(workspace_id: ColumnElement[str]) -> Select[Any]:
    is_delivered = exists().where(
        deliveries.c.workspace_id == events.c.workspace_id,
        deliveries.c.event_sequence == events.c.sequence,
    )
    return select(events.c.sequence).where(
        events.c.workspace_id == workspace_id, events.c.id < bindparam("event"), ~is_delivered
    )


_OF_WORKSPACE: Final = bindparam("workspace", type_=workspaces.c.id.type)
_HAS_OLD_EVENT: Final = _old_event(workspaces.c.id).correlate(workspaces).exists()
_HAS_OLD_DELIVERY: Final = _old_delivery(workspaces.c.id).correlate(workspaces).exists()
_WORKSPACES: Final = (
    select(workspaces.c.id)
    .where(workspaces.c.id > bindparam("after"))
    .order_by(workspaces.c.id)
    .limit(LIMIT)
)
_DELETE_DELIVERIES: Final = delete(deliveries).where(
    deliveries.c.workspace_id == _OF_WORKSPACE,
    deliveries.c.id.in_(_old_delivery(_OF_WORKSPACE).order_by(deliveries.c.id).limit(LIMIT)),
)
_DELETE_EVENTS: Final = (
    delete(events)
    .where(
        events.c.workspace_id == _OF_WORKSPACE,
        events.c.sequence.in_(_old_event(_OF_WORKSPACE).order_by(events.c.sequence).limit(LIMIT)),
    )
    .returning(events.c.position)
)
_CALLER: Final = (
    key_callers.c.key_id,
    key_callers.c.reason,
    key_callers.c.address,
    key_callers.c.agent,
)
_ALL_CALLERS: Final = select(*_CALLER, key_callers.c.last_at).order_by(*_CALLER).limit(LIMIT)
_CALLERS: Final = Query(_ALL_CALLERS)
_NEXT_CALLERS: Final = Query(
    _ALL_CALLERS.where(
        tuple_(*_CALLER)
        > tuple_(*(bindparam(f"after_{column.name}", type_=column.type) for column in _CALLER))
    )
)
_DELETE_CALLERS: Final = delete(key_callers).where(
    tuple_(*_CALLER).in_(bindparam("among", expanding=True)),
    key_callers.c.last_at < bindparam("before"),
)


def workspaces_with_old_rows(
    tx: Tx,
    after: WorkspaceId | None,
    events_before: datetime | None,
    deliveries_before: datetime | None,
    limit: int,
) -> list[WorkspaceId]:
    """Return at most `limit` workspaces with rows to delete, in the order of their ids. None keeps everything."""
    values: dict[str, Any] = {"after": after or "", "limit": limit}
    if events_before is not None:
        values["event"] = least_id("evt", events_before)
    if deliveries_before is not None:
        values["delivery"] = least_id("dlv", deliveries_before)
    if events_before is None and deliveries_before is None:
        return []
    return _workspaces_with(events_before is not None, deliveries_before is not None).scalars(
        tx, values
    )


@cache
def _workspaces_with(old_events: bool, old_deliveries: bool) -> Query:
    old = [_HAS_OLD_EVENT] * old_events + [_HAS_OLD_DELIVERY] * old_deliveries
    return Query(_WORKSPACES.where(or_(*old)))


def delete_old_deliveries(tx: Tx, workspace_id: WorkspaceId, instant: datetime, limit: int) -> int:
    """Delete at most `limit` deliveries from before `instant`, except pending ones, with their attempts."""
    old = {"workspace": workspace_id, "delivery": least_id("dlv", instant), "limit": limit}
    return tx.execute(_DELETE_DELIVERIES, old).rowcount


def delete_old_events(tx: Tx, workspace_id: WorkspaceId, instant: datetime, limit: int) -> int:
    """Delete at most `limit` events from before `instant`, oldest first, except those of remaining deliveries.

    The feed notes how far it lost events by that.
    """
    old = {"workspace": workspace_id, "event": least_id("evt", instant), "limit": limit}
    positions = tx.scalars(_DELETE_EVENTS, old).all()
    if expired := [position for position in positions if position is not None]:
        note_expired(tx, max(expired), instant)
    return len(positions)


def find_old_use(
    tx: Tx, table: UseTable, before: int, but: Sequence[UseId], limit: int
) -> list[UseId]:
    """Return at most `limit` counts of the days or hours before `before`, without those in `but`."""
    held = [(key_id, number) for held_table, key_id, number in but if held_table is table]
    rows = _old_use(table).all(tx, {"before": before, "but": held, "limit": limit})
    return [(table, row[0], row[1]) for row in rows]


def delete_use(tx: Tx, table: UseTable, among: Sequence[UseId]) -> int:
    """Delete these counts, all of that table. Return how many were deleted."""
    ids = [(key_id, number) for _, key_id, number in among]
    return tx.execute(_delete_use(table), {"among": ids}).rowcount


@cache
def _old_use(table: UseTable) -> Query:
    key_id, number = schema.metadata.tables[table].primary_key
    is_held = tuple_(key_id, number).in_(bindparam("but", expanding=True))
    return Query(select(key_id, number).where(number < bindparam("before"), ~is_held).limit(LIMIT))


@cache
def _delete_use(table: UseTable) -> Delete:
    counts = schema.metadata.tables[table]
    is_among = tuple_(*counts.primary_key).in_(bindparam("among", expanding=True))
    return delete(counts).where(is_among)


def walk_over_callers(
    tx: Tx, after: CallerId | None, limit: int
) -> list[tuple[CallerId, datetime]]:
    """Return the next `limit` callers in keyset order, and when each last called."""
    page, values = _CALLERS, dict[str, Any](limit=limit)
    if after is not None:
        names = (f"after_{column.name}" for column in _CALLER)
        page, values = _NEXT_CALLERS, {**values, **dict(zip(names, after, strict=True))}
    return [((row[0], row[1], row[2], row[3]), row[4]) for row in page.all(tx, values)]


def delete_callers(tx: Tx, among: Sequence[CallerId], instant: datetime) -> int:
    """Delete those of these callers who have not called since `instant`."""
    return tx.execute(_DELETE_CALLERS, {"among": list(among), "before": instant}).rowcount


class Spent(StrEnum):
    """A kind of row, by the name of its table."""

    LINKS = "sign_in_links"
    CONFIRMATIONS = "email_confirmations"
    SESSIONS = "sessions"
    DEVICES = "known_devices"
    FAILURES = "throttles"


_AGES: Final[Mapping[Spent, Column[Any]]] = {
    Spent.LINKS: schema.sign_in_links.c.expires_at,
    Spent.CONFIRMATIONS: schema.email_confirmations.c.expires_at,
    Spent.SESSIONS: schema.sessions.c.created_at,
    Spent.DEVICES: schema.known_devices.c.used_at,
    Spent.FAILURES: schema.throttles.c.last_at,
}
"""The column with a row's age; null in a confirmation that was not sent yet, which stays."""


def spent_rows(
    tx: Tx, kind: Spent, instant: datetime, but: Collection[bytes | str], limit: int
) -> list[bytes | str]:
    """Return the keys of at most `limit` rows from before `instant`, without those in `but`."""
    values = {"before": instant, "but": list(but), "limit": limit}
    return _spent(kind).scalars(tx, values)


def delete_spent(tx: Tx, kind: Spent, keys: Sequence[bytes | str], instant: datetime) -> int:
    """Delete those of the rows that are still from before `instant`. Return how many were deleted."""
    return len(tx.execute(_delete_spent(kind), {"keys": list(keys), "before": instant}).all())


@cache
def _spent(kind: Spent) -> Query:
    key = _primary_key_of(kind)
    is_spent = (_AGES[kind] < bindparam("before"), key.not_in(bindparam("but", expanding=True)))
    return Query(select(key).where(*is_spent).limit(LIMIT))


@cache
def _delete_spent(kind: Spent) -> ReturningDelete[Any]:
    key = _primary_key_of(kind)
    is_among = key.in_(bindparam("keys", expanding=True))
    gone = delete(_table_of(kind)).where(is_among, _AGES[kind] < bindparam("before"))
    return gone.returning(key)


def _table_of(kind: Spent) -> Table:
    return schema.metadata.tables[kind]


def _primary_key_of(kind: Spent) -> Column[Any]:
    [key] = _table_of(kind).primary_key
    return key
