"""Counting the keys that count towards a workspace's limit, without reading them: see `key_count_triggers`."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import case, func, literal, select, update

from keystead.domain.ids import WorkspaceId
from keystead.storage.database import Tx
from keystead.storage.schema.columns import Instant
from keystead.storage.schema.tables import api_keys, key_counts

SETTLED_AT: Final = 200
"""With that many keys expired since the count was written, it is written again."""


def count_keys(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> int:
    """Return how many keys count towards the limit: active, and not in the overlap of a rotation."""
    return _count(tx, workspace_id, now)[0]


def settled_count(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> int:
    """Like `count_keys`, under the workspace's lock. Writes the count again if many keys have expired since."""
    keys, expired = _count(tx, workspace_id, now)
    if expired >= SETTLED_AT:
        settled = update(key_counts).where(key_counts.c.workspace_id == workspace_id)
        tx.execute(settled.values(counted=keys, at=now))
    return keys


def count_overlapping_keys(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> int:
    """Return how many rotated keys are still active in their overlap."""
    keys = api_keys.c
    counted = select(func.count()).select_from(api_keys)
    overlapping = counted.where(
        keys.workspace_id == workspace_id,
        keys.revoked_at.is_(None),
        keys.rotated_to.is_not(None),
        keys.expires_at > now,
    )
    return tx.execute(overlapping).scalar_one()


def _count(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> tuple[int, int]:
    """Return how many keys count at `now`, and how many expire between `now` and the time of the written count.

    The clock may be behind that time, so the difference is added or subtracted.
    """
    keys, at = api_keys.c, key_counts.c.at
    instant = literal(now, Instant)
    ended_between = (
        select(func.count())
        .select_from(api_keys)
        .where(
            keys.workspace_id == key_counts.c.workspace_id,
            keys.revoked_at.is_(None),
            keys.rotated_to.is_(None),
            keys.expires_at > case((at < instant, at), else_=instant),
            keys.expires_at <= case((at < instant, instant), else_=at),
        )
        .scalar_subquery()
    )
    written = select(key_counts.c.counted, at, ended_between)
    row = tx.execute(written.where(key_counts.c.workspace_id == workspace_id)).first()
    if row is None:
        return 0, 0
    counted, then, between = row
    return (counted - between if then < now else counted + between), between
