"""How many of a workspace's keys count towards its limit, told without reading them: see `counting`."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import case, func, literal, select, update

from keystead.domain.ids import WorkspaceId
from keystead.storage.database import Tx
from keystead.storage.schema.columns import Instant
from keystead.storage.schema.tables import api_keys, key_counts

SETTLED_AT: Final = 200
"""So many keys that expired since the count was written are read each time it is asked for; of more, once."""


def count_keys(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> int:
    """How many keys take a place of the limit: active, and not in the overlap of a rotation."""
    return _count(tx, workspace_id, now)[0]


def settled_count(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> int:
    """The same for who holds the workspace's lock, who also writes it down where much has changed by time alone."""
    keys, passed = _count(tx, workspace_id, now)
    if passed >= SETTLED_AT:
        settled = update(key_counts).where(key_counts.c.workspace_id == workspace_id)
        tx.execute(settled.values(counted=keys, at=now))
    return keys


def count_overlapping_keys(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> int:
    """How many rotated keys still live beside their successors; each of them has an end."""
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
    """How many count at `now`, and how many keys' ends lie between then and the instant of the written count."""
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
