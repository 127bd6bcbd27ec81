"""Sums of use: counted by key and day, added up when they are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import and_, bindparam, func, or_, select

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import from_microseconds
from keystead.domain.usage import (
    MICROSECONDS_AN_HOUR,
    Period,
    UseCount,
    day_number,
    day_of,
)
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import ABOVE_EVERY_ID, LIMIT, age
from keystead.storage.schema.tables import api_keys, key_use_days, key_use_hours
from keystead.storage.tables.workspaces import is_deleted

_DAYS: Final = key_use_days.c
_HOURS: Final = key_use_hours.c
_SUM: Final = (func.sum(_DAYS.uses), func.sum(_DAYS.refused))
_IS_IN_PERIOD: Final = (_DAYS.day >= bindparam("first"), _DAYS.day <= bindparam("last"))

_OF_KEY: Final = Query(
    select(_DAYS.day, _DAYS.uses, _DAYS.refused)
    .where(
        _DAYS.workspace_id == bindparam("workspace"),
        _DAYS.key_id == bindparam("key"),
        *_IS_IN_PERIOD,
    )
    .order_by(_DAYS.day)
)
_HOURS_OF_KEY: Final = Query(
    select(_HOURS.hour, _HOURS.uses, _HOURS.refused)
    .where(
        _HOURS.workspace_id == bindparam("workspace"),
        _HOURS.key_id == bindparam("key"),
        _HOURS.hour >= bindparam("since"),
    )
    .order_by(_HOURS.hour)
)
_OF_WORKSPACE: Final = Query(
    # The days one by one: so the index by day and workspace finds the workspace's rows only.
    select(_DAYS.day, *_SUM)
    .where(
        _DAYS.day.in_(bindparam("days", expanding=True)),
        _DAYS.workspace_id == bindparam("workspace"),
    )
    .group_by(_DAYS.day)
    .order_by(_DAYS.day)
)
_BY_KEY: Final = Query(
    # Key by key, in the order of the index of keys: a page stops at its limit.
    select(age(api_keys.c.id).label("id"), *_SUM)
    .join(
        key_use_days,
        and_(_DAYS.key_id == api_keys.c.id, _DAYS.workspace_id == api_keys.c.workspace_id),
    )
    .where(
        api_keys.c.workspace_id == bindparam("workspace"),
        age(api_keys.c.id) < bindparam("before"),
        *_IS_IN_PERIOD,
    )
    .group_by(age(api_keys.c.id))
    .order_by(age(api_keys.c.id).desc())
    .limit(LIMIT)
)
_BY_WORKSPACE: Final = Query(
    select(_DAYS.day, _DAYS.workspace_id, *_SUM)
    .where(
        *_IS_IN_PERIOD,
        or_(_DAYS.day < bindparam("last"), _DAYS.workspace_id < bindparam("before")),
        ~is_deleted(_DAYS.workspace_id),
    )
    .group_by(_DAYS.day, _DAYS.workspace_id)
    .order_by(_DAYS.day.desc(), _DAYS.workspace_id.desc())
    .limit(LIMIT)
)


class KeyUsage(NamedTuple):
    """The use of one key in a period."""

    key_id: KeyId
    use: UseCount


class WorkspaceUsage(NamedTuple):
    """The use of one workspace on one day."""

    day: date
    workspace_id: WorkspaceId
    use: UseCount


def use_of_key(
    tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, period: Period
) -> dict[date, UseCount]:
    """Return the use of a key by day, oldest first."""
    values = {"workspace": workspace_id, "key": key_id, **_bounds(period)}
    return _by_day(_OF_KEY.all(tx, values))


def hours_of_key(
    tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, since: int
) -> dict[datetime, UseCount]:
    """Return the use of a key by the hour, oldest first, from that hour since 1970 on."""
    values = {"workspace": workspace_id, "key": key_id, "since": since}
    return {
        from_microseconds(hour * MICROSECONDS_AN_HOUR): UseCount(uses, refused)
        for hour, uses, refused in _HOURS_OF_KEY.all(tx, values)
    }


def use_of_workspace(tx: Tx, workspace_id: WorkspaceId, period: Period) -> dict[date, UseCount]:
    """Return the use of all keys of the workspace by day, oldest first."""
    days = range(day_number(period.first), day_number(period.last) + 1)
    return _by_day(_OF_WORKSPACE.all(tx, {"workspace": workspace_id, "days": list(days)}))


def use_by_key(
    tx: Tx, workspace_id: WorkspaceId, period: Period, limit: int, before: KeyId | None
) -> list[KeyUsage]:
    """Return at most `limit` keys with any use, newest first, with an id below `before`."""
    values = {
        "workspace": workspace_id,
        "before": before or ABOVE_EVERY_ID,
        "limit": limit,
        **_bounds(period),
    }
    return [KeyUsage(id, _count(sums)) for id, *sums in _BY_KEY.all(tx, values)]


def use_by_workspace(
    tx: Tx, period: Period, limit: int, before: tuple[date, WorkspaceId] | None
) -> list[WorkspaceUsage]:
    """Return at most `limit` days of workspaces with any use, newest first, behind that day and workspace."""
    last, workspace_id = before or (period.last, ABOVE_EVERY_ID)
    bounds = _bounds(Period(period.first, min(period.last, last)))
    values = {**bounds, "before": workspace_id, "limit": limit}
    return [
        WorkspaceUsage(day_of(day), id, _count(sums))
        for day, id, *sums in _BY_WORKSPACE.all(tx, values)
    ]


def _bounds(period: Period) -> dict[str, int]:
    return {"first": day_number(period.first), "last": day_number(period.last)}


def _by_day(found: Iterable[Sequence[Any]]) -> dict[date, UseCount]:
    return {day_of(day): _count(counts) for day, *counts in found}


def _count(sums: Sequence[Any]) -> UseCount:
    # PostgreSQL adds up 64-bit integers to a decimal number.
    return UseCount(int(sums[0]), int(sums[1]))
