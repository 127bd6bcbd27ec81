"""Counting the keys that count towards a workspace's limit, without reading them: see `key_count_triggers`."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, case, func, select, update

from keystead.domain.ids import WorkspaceId
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import LIMIT, Instant
from keystead.storage.schema.tables import api_keys, key_counts

SETTLED_AT: Final = 200
"""With that many keys expired since the count was written, it is written again."""

_AT: Final = key_counts.c.at
_NOW: Final = bindparam("now", type_=Instant)
_EXPIRED_BETWEEN: Final = (
    select(func.count())
    .select_from(api_keys)
    .where(
        api_keys.c.workspace_id == key_counts.c.workspace_id,
        api_keys.c.revoked_at.is_(None),
        api_keys.c.rotated_to.is_(None),
        api_keys.c.expires_at > case((_AT < _NOW, _AT), else_=_NOW),
        api_keys.c.expires_at <= case((_AT < _NOW, _NOW), else_=_AT),
    )
    .scalar_subquery()
)
COUNT_COLUMNS: Final = (key_counts.c.counted, _AT, _EXPIRED_BETWEEN.label("expired"))
"""The written count, its time, and how many keys expire between that time and the parameter `now`."""
ALL_COUNTED: Final = select(
    func.coalesce(
        func.sum(key_counts.c.counted + case((_AT < _NOW, -1), else_=1) * _EXPIRED_BETWEEN), 0
    )
)
"""The keys of all workspaces that count at the parameter `now`: `count_at` of each, added up."""

_COUNT: Final = Query(
    select(*COUNT_COLUMNS).where(key_counts.c.workspace_id == bindparam("workspace"))
)
_EXPIRED: Final = select(key_counts.c.workspace_id, COUNT_COLUMNS[-1]).subquery()
_UNSETTLED: Final = Query(
    select(_EXPIRED.c.workspace_id)
    .where(_EXPIRED.c.expired > 0)
    .order_by(_EXPIRED.c.expired.desc(), _EXPIRED.c.workspace_id)
    .limit(LIMIT)
)
_IS_OVERLAPPING: Final = (
    api_keys.c.workspace_id == bindparam("workspace"),
    api_keys.c.revoked_at.is_(None),
    api_keys.c.rotated_to.is_not(None),
)
_NUMBER: Final = select(func.count()).select_from(api_keys).where(*_IS_OVERLAPPING)
# Two searches of the index: with an OR the planners choose another one.
_OVERLAPPING: Final = Query(
    select(
        _NUMBER.where(api_keys.c.expires_at > bindparam("now")).scalar_subquery()
        + _NUMBER.where(api_keys.c.expires_at.is_(None)).scalar_subquery()
    )
)
_SETTLE: Final = update(key_counts).where(key_counts.c.workspace_id == bindparam("workspace"))


def count_keys(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> int:
    """Return how many keys count towards the limit: active, and not in the overlap of a rotation."""
    row = _COUNT.first(tx, {"workspace": workspace_id, "now": now})
    return 0 if row is None else count_at(now, *row)


def count_overlapping_keys(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> int:
    """Return how many rotated keys are still active in their overlap."""
    keys: int = _OVERLAPPING.scalar(tx, {"workspace": workspace_id, "now": now})
    return keys


def unsettled_counts(tx: Tx, now: datetime, limit: int) -> list[WorkspaceId]:
    """Return workspaces whose keys have expired since their counts were written, those with most of them first."""
    return _UNSETTLED.scalars(tx, {"now": now, "limit": limit})


def settle_count(tx: Tx, workspace_id: WorkspaceId, counted: int, now: datetime) -> None:
    """Write the count of keys at `now`, under the workspace's lock."""
    tx.execute(_SETTLE, {"workspace": workspace_id, "counted": counted, "at": now})


def count_at(now: datetime, counted: int | None, at: datetime | None, expired: int) -> int:
    """Return how many keys count at `now`, from COUNT_COLUMNS: None without a row, when there was never a key."""
    if counted is None or at is None:
        return 0
    # The clock may be behind the time of the count.
    return counted - expired if at < now else counted + expired
