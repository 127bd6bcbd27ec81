"""Webhook endpoints. Only `find_sealed` reads their secrets, which are sealed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, func, insert, select, update

from keystead.domain.ids import WebhookId, WorkspaceId
from keystead.domain.webhooks import DisabledReason, WebhookEndpoint
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import ABOVE_EVERY_ID, LIMIT, actor_of, actor_values
from keystead.storage.schema.tables import (
    deliveries,
    delivery_attempts,
    webhook_endpoints,
    webhook_queues,
)

_ENDPOINTS: Final = webhook_endpoints.c
_OF_WORKSPACE: Final = _ENDPOINTS.workspace_id == bindparam("workspace")
_IS_ENDPOINT: Final = and_(_OF_WORKSPACE, _ENDPOINTS.id == bindparam("webhook"))
_IS_LIVING: Final = and_(_OF_WORKSPACE, _ENDPOINTS.deleted_at.is_(None))

_LIVING: Final = select(
    _ENDPOINTS.id,
    _ENDPOINTS.workspace_id,
    _ENDPOINTS.name,
    _ENDPOINTS.url,
    _ENDPOINTS.event_types,
    _ENDPOINTS.created_at,
    _ENDPOINTS.created_by_kind,
    _ENDPOINTS.created_by_id,
    _ENDPOINTS.created_by_name,
    _ENDPOINTS.header_names,
    _ENDPOINTS.disabled_at,
    _ENDPOINTS.disabled_for,
    _ENDPOINTS.secret_overlap_until,
    _ENDPOINTS.version,
).where(_IS_LIVING)
_ONE: Final = Query(_LIVING.where(_ENDPOINTS.id == bindparam("webhook")))
_NEWEST_ID: Final = Query(select(func.max(_ENDPOINTS.id)).where(_OF_WORKSPACE))
_PAGE: Final = Query(
    _LIVING.where(_ENDPOINTS.id < bindparam("before")).order_by(_ENDPOINTS.id.desc()).limit(LIMIT)
)
_SEALED: Final = Query(
    select(_ENDPOINTS.pepper_id, _ENDPOINTS.sealed).where(
        _IS_LIVING, _ENDPOINTS.id == bindparam("webhook")
    )
)
_INSERT: Final = insert(webhook_endpoints)
_INSERT_QUEUE: Final = insert(webhook_queues)
_UPDATE: Final = update(webhook_endpoints).where(_IS_ENDPOINT)
_DELETE_QUEUE: Final = delete(webhook_queues).where(
    webhook_queues.c.workspace_id == bindparam("workspace"),
    webhook_queues.c.webhook_id == bindparam("webhook"),
)
_DELETED: Final = Query(
    select(_ENDPOINTS.workspace_id, _ENDPOINTS.id)
    .where(_ENDPOINTS.deleted_at.is_not(None))
    .order_by(_ENDPOINTS.deleted_at)
    .limit(LIMIT)
)
_DELIVERY_IDS: Final = Query(
    select(deliveries.c.id)
    .where(
        deliveries.c.workspace_id == bindparam("workspace"),
        deliveries.c.webhook_id == bindparam("webhook"),
    )
    .limit(LIMIT)
)
_DELETE_DELIVERIES: Final = tuple(
    delete(table).where(
        table.c.workspace_id == bindparam("workspace"),
        column.in_(bindparam("ids", expanding=True)),
    )
    for table, column in (
        (delivery_attempts, delivery_attempts.c.delivery_id),
        (deliveries, deliveries.c.id),
    )
)
_DELETE: Final = delete(webhook_endpoints).where(_IS_ENDPOINT)
_PEPPERS: Final = Query(
    select(_ENDPOINTS.pepper_id).where(_ENDPOINTS.deleted_at.is_(None)).distinct()
)


def insert_endpoint(tx: Tx, endpoint: WebhookEndpoint, pepper_id: str, sealed: bytes) -> None:
    """Insert an endpoint with its sealed secrets, and its empty queue."""
    tx.execute(_INSERT, _to_row(endpoint) | {"pepper_id": pepper_id, "sealed": sealed})
    queue = {"workspace_id": endpoint.workspace_id, "webhook_id": endpoint.id}
    tx.execute(_INSERT_QUEUE, queue)


def find_endpoint(
    tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId
) -> WebhookEndpoint | None:
    """Return the workspace's endpoint of that id, unless it was deleted."""
    row = _ONE.first(tx, _id(workspace_id, webhook_id))
    return None if row is None else _from_row(row)


def newest_endpoint_id(tx: Tx, workspace_id: WorkspaceId) -> str | None:
    """Return the workspace's highest endpoint id. A new one must be higher, to keep pages in order."""
    newest: str | None = _NEWEST_ID.scalar(tx, {"workspace": workspace_id})
    return newest


def page_of_endpoints(
    tx: Tx, workspace_id: WorkspaceId, *, limit: int, before: WebhookId | None = None
) -> list[WebhookEndpoint]:
    """Return at most `limit` endpoints, newest first, with an id below `before`."""
    values = {"workspace": workspace_id, "before": before or ABOVE_EVERY_ID, "limit": limit}
    return [_from_row(row) for row in _PAGE.all(tx, values)]


def update_endpoint(tx: Tx, endpoint: WebhookEndpoint) -> None:
    """Update everything except the secrets."""
    tx.execute(_UPDATE, {**_id(endpoint.workspace_id, endpoint.id), **_to_row(endpoint)})


def find_sealed(
    tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId
) -> tuple[str, bytes] | None:
    """Return the pepper's id and the sealed secrets of an endpoint that is not deleted."""
    row = _SEALED.first(tx, _id(workspace_id, webhook_id))
    return None if row is None else (row[0], row[1])


def update_sealed(tx: Tx, endpoint: WebhookEndpoint, pepper_id: str, sealed: bytes) -> None:
    """Replace the sealed secrets."""
    secrets = {"pepper_id": pepper_id, "sealed": sealed}
    tx.execute(_UPDATE, {**_id(endpoint.workspace_id, endpoint.id), **secrets})


def mark_deleted(tx: Tx, endpoint: WebhookEndpoint, now: datetime) -> None:
    """Hide the endpoint, and delete its secrets and its queue. Its deliveries are deleted later, in batches."""
    values = _id(endpoint.workspace_id, endpoint.id)
    tx.execute(_UPDATE, {**values, "deleted_at": now, "sealed": None})
    tx.execute(_DELETE_QUEUE, values)


def deleted_endpoints(tx: Tx, limit: int) -> list[tuple[WorkspaceId, WebhookId]]:
    """Return hidden endpoints of all workspaces, whose rows are not deleted yet, earliest first."""
    return [(row[0], row[1]) for row in _DELETED.all(tx, {"limit": limit})]


def remove_deliveries(tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId, limit: int) -> int:
    """Delete at most `limit` deliveries of a hidden endpoint with their attempts. Returns how many."""
    values = {**_id(workspace_id, webhook_id), "limit": limit}
    ids = _DELIVERY_IDS.scalars(tx, values)
    for statement in _DELETE_DELIVERIES:
        tx.execute(statement, {"workspace": workspace_id, "ids": ids})
    return len(ids)


def remove_endpoint(tx: Tx, workspace_id: WorkspaceId, webhook_id: WebhookId) -> None:
    """Delete the row of a hidden endpoint that has no deliveries left."""
    tx.execute(_DELETE, _id(workspace_id, webhook_id))


def pepper_ids_of_webhooks(tx: Tx) -> set[str]:
    """Return the ids of the peppers that seal secrets of endpoints."""
    return set(_PEPPERS.scalars(tx))


def _id(workspace_id: WorkspaceId, webhook_id: WebhookId) -> dict[str, Any]:
    return {"workspace": workspace_id, "webhook": webhook_id}


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


def _from_row(row: Sequence[Any]) -> WebhookEndpoint:
    (
        id,
        workspace_id,
        name,
        url,
        event_types,
        created_at,
        creator_kind,
        creator_id,
        creator_name,
        header_names,
        disabled_at,
        disabled_for,
        secret_overlap_until,
        version,
    ) = row
    return WebhookEndpoint(
        id=id,
        workspace_id=workspace_id,
        name=name,
        url=url,
        events=tuple(event_types.split()),
        created_at=created_at,
        created_by=actor_of(creator_kind, creator_id, creator_name),
        header_names=tuple(header_names),
        disabled_at=disabled_at,
        disabled_for=disabled_for and DisabledReason(disabled_for),
        secret_overlap_until=secret_overlap_until,
        version=version,
    )
