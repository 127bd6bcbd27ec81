"""Webhook endpoints. Only `find_sealed` reads their secrets, which are sealed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Update, delete, func, insert, select, update

from keystead.domain.ids import WebhookId, WorkspaceId
from keystead.domain.webhooks import DisabledReason, WebhookEndpoint
from keystead.storage.database import Tx
from keystead.storage.schema.columns import actor_of, actor_values
from keystead.storage.schema.tables import (
    deliveries,
    delivery_attempts,
    webhook_endpoints,
    webhook_queues,
)

_UNREAD = {"sealed", "pepper_id"}
_COLUMNS = [column for column in webhook_endpoints.c if column.name not in _UNREAD]


def insert_endpoint(tx: Tx, endpoint: WebhookEndpoint, pepper_id: str, sealed: bytes) -> None:
    """Insert an endpoint with its sealed secrets, and its empty queue."""
    row = _to_row(endpoint) | {"pepper_id": pepper_id, "sealed": sealed}
    tx.execute(insert(webhook_endpoints), row)
    queue = {"workspace_id": endpoint.workspace_id, "webhook_id": endpoint.id}
    tx.execute(insert(webhook_queues), queue)


def find_endpoint(
    tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId
) -> WebhookEndpoint | None:
    """Return the workspace's endpoint of that id, unless it was deleted."""
    row = tx.execute(_living(workspace_id).where(webhook_endpoints.c.id == webhook_id)).first()
    return None if row is None else _from_row(row)


def newest_endpoint_id(tx: Tx, workspace_id: WorkspaceId) -> str | None:
    """Return the workspace's highest endpoint id. A new one must be higher, to keep pages in order."""
    newest = select(func.max(webhook_endpoints.c.id))
    return tx.execute(newest.where(webhook_endpoints.c.workspace_id == workspace_id)).scalar()


def page_of_endpoints(
    tx: Tx, workspace_id: WorkspaceId, *, limit: int, before: WebhookId | None = None
) -> list[WebhookEndpoint]:
    """Return at most `limit` endpoints, newest first, with an id below `before`."""
    page = _living(workspace_id).order_by(webhook_endpoints.c.id.desc()).limit(limit)
    if before is not None:
        page = page.where(webhook_endpoints.c.id < before)
    return [_from_row(row) for row in tx.execute(page)]


def count_endpoints(tx: Tx, workspace_id: WorkspaceId) -> int:
    """Return how many endpoints count towards the limit: all that are not deleted."""
    counted = select(func.count()).select_from(webhook_endpoints)
    return tx.execute(counted.where(*_are_living(workspace_id))).scalar_one()


def update_endpoint(tx: Tx, endpoint: WebhookEndpoint) -> None:
    """Update everything except the secrets."""
    tx.execute(_one(endpoint.workspace_id, endpoint.id).values(_to_row(endpoint)))


def find_sealed(
    tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId
) -> tuple[str, bytes] | None:
    """Return the pepper's id and the sealed secrets of an endpoint that is not deleted."""
    query = select(webhook_endpoints.c.pepper_id, webhook_endpoints.c.sealed)
    living = (*_are_living(workspace_id), webhook_endpoints.c.id == webhook_id)
    row = tx.execute(query.where(*living)).first()
    return None if row is None else (row.pepper_id, row.sealed)


def update_sealed(tx: Tx, endpoint: WebhookEndpoint, pepper_id: str, sealed: bytes) -> None:
    """Replace the sealed secrets."""
    written = {"pepper_id": pepper_id, "sealed": sealed}
    tx.execute(_one(endpoint.workspace_id, endpoint.id).values(written))


def mark_deleted(tx: Tx, endpoint: WebhookEndpoint, now: datetime) -> None:
    """Hide the endpoint, and delete its secrets and its queue. Its deliveries are deleted later, in batches."""
    tx.execute(_one(endpoint.workspace_id, endpoint.id).values(deleted_at=now, sealed=None))
    tx.execute(
        delete(webhook_queues).where(
            webhook_queues.c.workspace_id == endpoint.workspace_id,
            webhook_queues.c.webhook_id == endpoint.id,
        )
    )


def deleted_endpoints(tx: Tx, limit: int) -> list[tuple[WorkspaceId, WebhookId]]:
    """Return hidden endpoints of all workspaces, whose rows are not deleted yet, earliest first."""
    query = select(webhook_endpoints.c.workspace_id, webhook_endpoints.c.id)
    gone = query.where(webhook_endpoints.c.deleted_at.is_not(None))
    rows = tx.execute(gone.order_by(webhook_endpoints.c.deleted_at).limit(limit))
    return [(row.workspace_id, row.id) for row in rows]


def remove_deliveries(tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId, limit: int) -> int:
    """Delete at most `limit` deliveries of a hidden endpoint with their attempts. Returns how many."""
    which = select(deliveries.c.id).where(
        deliveries.c.workspace_id == workspace_id, deliveries.c.webhook_id == webhook_id
    )
    ids = tx.execute(which.limit(limit)).scalars().all()
    for table, column in (
        (delivery_attempts, delivery_attempts.c.delivery_id),
        (deliveries, deliveries.c.id),
    ):
        of_these = (table.c.workspace_id == workspace_id, column.in_(ids))
        tx.execute(delete(table).where(*of_these))
    return len(ids)


def remove_endpoint(tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId) -> None:
    """Delete the row of a hidden endpoint that has no deliveries left."""
    which = (webhook_endpoints.c.workspace_id == workspace_id, webhook_endpoints.c.id == webhook_id)
    tx.execute(delete(webhook_endpoints).where(*which))


def pepper_ids_of_webhooks(tx: Tx) -> set[str]:
    """Return the ids of the peppers that seal secrets of endpoints."""
    query = select(webhook_endpoints.c.pepper_id).distinct()
    return set(tx.execute(query.where(webhook_endpoints.c.deleted_at.is_(None))).scalars())


def _living(workspace_id: WorkspaceId) -> Select[Any]:
    return select(*_COLUMNS).where(*_are_living(workspace_id))


def _are_living(workspace_id: WorkspaceId) -> tuple[ColumnElement[bool], ...]:
    return (
        webhook_endpoints.c.workspace_id == workspace_id,
        webhook_endpoints.c.deleted_at.is_(None),
    )


def _one(workspace_id: WorkspaceId, webhook_id: WebhookId) -> Update:
    return update(webhook_endpoints).where(
        webhook_endpoints.c.workspace_id == workspace_id, webhook_endpoints.c.id == webhook_id
    )


def _to_row(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "workspace_id": endpoint.workspace_id,
        "id": endpoint.id,
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": " ".join(endpoint.events),
        "status": endpoint.status,
        "disabled_at": endpoint.disabled_at,
        "disabled_for": endpoint.disabled_for,
        "created_at": endpoint.created_at,
        **actor_values("created_by", endpoint.created_by),
        "header_names": list(endpoint.header_names),
        "secret_overlap_until": endpoint.secret_overlap_until,
        "version": endpoint.version,
    }


def _from_row(row: Row[Any]) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=row.id,
        workspace_id=row.workspace_id,
        name=row.name,
        url=row.url,
        events=tuple(row.event_types.split()),
        created_at=row.created_at,
        created_by=actor_of(row, "created_by"),
        header_names=tuple(row.header_names),
        disabled_at=row.disabled_at,
        disabled_for=row.disabled_for and DisabledReason(row.disabled_for),
        secret_overlap_until=row.secret_overlap_until,
        version=row.version,
    )
