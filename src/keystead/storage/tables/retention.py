"""Deleting what is past its retention period or no longer needed, in small batches found by keys and indexes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Select, Table, delete, exists, or_, select, tuple_

from keystead.domain.ids import WorkspaceId, least_id
from keystead.domain.instants import EPOCH
from keystead.domain.webhooks import DeliveryStatus
from keystead.storage.database import Tx
from keystead.storage.schema import tables as schema
from keystead.storage.schema.tables import deliveries, events, key_callers, key_use_days, workspaces

CallerId = tuple[str, str, str, str]
"""Key, reason, address, agent: a caller of a key."""
UseDayId = tuple[str, int]
"""Key and day since 1970-01-01: a daily count of uses."""


def workspaces_with_old_rows(
    tx: Tx,
    after: WorkspaceId | None,
    events_before: datetime | None,
    deliveries_before: datetime | None,
    limit: int,
) -> list[WorkspaceId]:
    """Return at most `limit` workspaces with rows to delete, in the order of their ids. None keeps everything."""
    old: list[ColumnElement[bool]] = []
    if events_before is not None:
        old.append(_old_event(events_before, workspaces.c.id).correlate(workspaces).exists())
    if deliveries_before is not None:
        old.append(_old_delivery(deliveries_before, workspaces.c.id).correlate(workspaces).exists())
    if not old:
        return []
    query = select(workspaces.c.id).where(or_(*old))
    if after is not None:
        query = query.where(workspaces.c.id > after)
    return list(tx.execute(query.order_by(workspaces.c.id).limit(limit)).scalars())


def delete_old_deliveries(tx: Tx, workspace_id: WorkspaceId, instant: datetime, limit: int) -> int:
    """Delete at most `limit` deliveries from before `instant`, except pending ones, with their attempts."""
    old = _old_delivery(instant, workspace_id).order_by(deliveries.c.id).limit(limit)
    gone = delete(deliveries).where(
        deliveries.c.workspace_id == workspace_id, deliveries.c.id.in_(old)
    )
    return tx.execute(gone).rowcount


def delete_old_events(tx: Tx, workspace_id: WorkspaceId, instant: datetime, limit: int) -> int:
    """Delete at most `limit` events from before `instant`, oldest first, except those of remaining deliveries."""
    old = _old_event(instant, workspace_id).order_by(events.c.sequence).limit(limit)
    gone = delete(events).where(events.c.workspace_id == workspace_id, events.c.sequence.in_(old))
    return tx.execute(gone).rowcount


def find_old_use(tx: Tx, day: date, but: Sequence[UseDayId], limit: int) -> list[UseDayId]:
    """Return at most `limit` counts of days before `day`, without those in `but`."""
    number = day.toordinal() - EPOCH.date().toordinal()
    rows = key_use_days.c
    old = select(rows.key_id, rows.day).where(rows.day < number)
    if but:
        old = old.where(tuple_(rows.key_id, rows.day).not_in(but))
    return [(row.key_id, row.day) for row in tx.execute(old.limit(limit))]


def delete_use(tx: Tx, among: Sequence[UseDayId]) -> int:
    """Delete these counts. Return how many were deleted."""
    rows = key_use_days.c
    return tx.execute(delete(key_use_days).where(tuple_(rows.key_id, rows.day).in_(among))).rowcount


def walk_over_callers(
    tx: Tx, after: CallerId | None, limit: int
) -> list[tuple[CallerId, datetime]]:
    """Return the next `limit` callers in keyset order, and when each last called."""
    identity = _caller_columns()
    query = select(*identity, key_callers.c.last_at).order_by(*identity).limit(limit)
    if after is not None:
        query = query.where(tuple_(*identity) > after)
    return [((row[0], row[1], row[2], row[3]), row.last_at) for row in tx.execute(query)]


def delete_callers(tx: Tx, among: Sequence[CallerId], instant: datetime) -> int:
    """Delete those of these callers who have not called since `instant`."""
    is_among = tuple_(*_caller_columns()).in_(among)
    return tx.execute(delete(key_callers).where(is_among, key_callers.c.last_at < instant)).rowcount


def _old_delivery(instant: datetime, workspace_id: WorkspaceId | ColumnElement[str]) -> Select[Any]:
    return select(deliveries.c.id).where(
        deliveries.c.workspace_id == workspace_id,
        deliveries.c.id < least_id("dlv", instant),
        deliveries.c.status != DeliveryStatus.PENDING,
    )


def _old_event(instant: datetime, workspace_id: WorkspaceId | ColumnElement[str]) -> Select[Any]:
    is_delivered = exists().where(
        deliveries.c.workspace_id == events.c.workspace_id,
        deliveries.c.event_sequence == events.c.sequence,
    )
    return select(events.c.sequence).where(
        events.c.workspace_id == workspace_id, events.c.id < least_id("evt", instant), ~is_delivered
    )


def _caller_columns() -> list[Any]:
    return [key_callers.c[name] for name in ("key_id", "reason", "address", "agent")]


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
    key = _primary_key_of(kind)
    old = select(key).where(_AGES[kind] < instant)
    if but:
        old = old.where(key.not_in(but))
    return list(tx.execute(old.limit(limit)).scalars())


def delete_spent(tx: Tx, kind: Spent, keys: Sequence[bytes | str], instant: datetime) -> int:
    """Delete those of the rows that are still from before `instant`. Return how many were deleted."""
    key = _primary_key_of(kind)
    gone = delete(_table_of(kind)).where(key.in_(keys), _AGES[kind] < instant)
    return len(tx.execute(gone.returning(key)).all())


def _table_of(kind: Spent) -> Table:
    return schema.metadata.tables[kind]


def _primary_key_of(kind: Spent) -> Column[Any]:
    [key] = _table_of(kind).primary_key
    return key
