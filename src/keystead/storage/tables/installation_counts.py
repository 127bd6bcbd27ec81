"""Counting what the whole database holds, for the gauges of its servers' metrics."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import func, select

from keystead.domain.webhooks import DeliveryStatus
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.tables import deliveries, webhook_queues, workspaces
from keystead.storage.tables.delivery_queues import has_status
from keystead.storage.tables.key_counts import ALL_COUNTED


class InstallationRow(NamedTuple):
    """The counts of all workspaces together; `first_due` is None while no delivery is due or will be."""

    workspaces: int
    active_keys: int
    waiting_deliveries: int
    first_due: datetime | None


_WORKSPACES: Final = (
    select(func.count()).select_from(workspaces).where(workspaces.c.deleted_at.is_(None))
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
        ALL_COUNTED.scalar_subquery(),
        _WAITING.scalar_subquery(),
        _FIRST_DUE.scalar_subquery(),
    )
)


def count_installation(tx: Tx, now: datetime) -> InstallationRow:
    """Return the counts at `now`, without reading the rows of keys that are still active."""
    [row] = _COUNTS.all(tx, {"now": now})
    return InstallationRow(*row)
