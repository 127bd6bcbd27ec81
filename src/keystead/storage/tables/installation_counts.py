"""Counting what the whole database holds, for the gauges of its servers' metrics."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import bindparam, func, select

from keystead.domain.webhooks import DeliveryStatus
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import Instant
from keystead.storage.schema.tables import (
    api_keys,
    deliveries,
    key_counts,
    webhook_queues,
    workspaces,
)
from keystead.storage.tables.delivery_queues import has_status


class InstallationRow(NamedTuple):
    """The counts of all workspaces together; `first_due` is None while no delivery is due or will be."""

    workspaces: int
    counted_keys: int
    expired_keys: int
    waiting_deliveries: int
    first_due: datetime | None


_WORKSPACES: Final = (
    select(func.count()).select_from(workspaces).where(workspaces.c.deleted_at.is_(None))
)
_COUNTED: Final = select(func.coalesce(func.sum(key_counts.c.counted), 0))
# The written counts are of different times. The lower bound of them all lets an index find what has expired since;
# SQLite would rather read every key.
_EXPIRED: Final = (
    select(func.count())
    .select_from(api_keys, key_counts)
    .with_hint(api_keys, "INDEXED BY api_keys_by_expiry", "sqlite")
    .where(
        api_keys.c.workspace_id == key_counts.c.workspace_id,
        api_keys.c.revoked_at.is_(None),
        api_keys.c.rotated_to.is_(None),
        api_keys.c.expires_at > select(func.min(key_counts.c.at)).scalar_subquery(),
        api_keys.c.expires_at > key_counts.c.at,
        api_keys.c.expires_at <= bindparam("now", type_=Instant),
    )
)
_WAITING: Final = (
    select(func.count()).select_from(deliveries).where(has_status(DeliveryStatus.PENDING))
)
_FIRST_DUE: Final = select(func.min(webhook_queues.c.due_at)).where(
    webhook_queues.c.due_at.is_not(None)
)
_COUNTS: Final = Query(
    select(
        _WORKSPACES.scalar_subquery(),
        _COUNTED.scalar_subquery(),
        _EXPIRED.scalar_subquery(),
        _WAITING.scalar_subquery(),
        _FIRST_DUE.scalar_subquery(),
    )
)


def count_installation(tx: Tx, now: datetime) -> InstallationRow:
    """Return the counts at `now`, without reading the rows of keys that are still active."""
    [row] = _COUNTS.all(tx, {"now": now})
    return InstallationRow(*row)
