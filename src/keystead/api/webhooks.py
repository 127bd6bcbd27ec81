"""Routes of webhooks and of their deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from typing_extensions import override

from keystead.api.bodies import NewWebhook, WebhookChange
from keystead.api.route import (
    Call,
    CurrentCall,
    Cursor,
    Limit,
    WorkspaceRoute,
    needs,
    next_cursor,
    page_of,
    set_etag,
)
from keystead.domain.errors import InvalidCursor, KeysteadError, LimitReached, WebhookDisabled
from keystead.domain.ids import DeliveryId, WebhookId
from keystead.domain.scopes import EVENTS_READ, WEBHOOKS_READ, WEBHOOKS_WRITE
from keystead.domain.webhooks import DeliveryStatus
from keystead.wire.resources import Event
from keystead.wire.webhooks import (
    CreatedWebhook,
    Delivery,
    DeliveryList,
    SentDelivery,
    Webhook,
    WebhookList,
)


class WebhookRoute(WorkspaceRoute):
    """A route of webhooks; `id` in its path is a webhook's id."""

    @override
    def find_version(self, call: Call, path: Mapping[str, str]) -> int | None:
        if "id" not in path:
            return None
        return call.services.webhooks.require(call.principal, WebhookId(path["id"])).version


_Id = Annotated[str, Path(description="The webhook's id.", examples=["wh_02tcRIyrxLXTR81B3dqdOx"])]

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=WebhookRoute)


def _needs_write(*refusals: type[KeysteadError], **more: bool) -> dict[str, Any]:
    """Declare that a route sends events to an endpoint: it needs the scope to read them too."""
    return needs(WEBHOOKS_WRITE, *refusals, also=(EVENTS_READ,), **more)


@router.post(
    "", summary="Create a webhook", status_code=201, **_needs_write(LimitReached, has_etag=True)
)
def webhooks_create(call: CurrentCall, body: NewWebhook, response: Response) -> CreatedWebhook:
    """Create a webhook. This response is the only one that contains its secret, which verifies the signatures.

    Each event is sent at least once, in the format of Standard Webhooks 1.0, with its id as `webhook-id`.
    """
    created = call.services.webhooks.create(call.principal, body.draft(), call.origin)
    response.headers["location"] = f"/v1/webhooks/{created.endpoint.id}"
    set_etag(response, created.endpoint.version)
    return CreatedWebhook.of(created.endpoint, secret=created.secret)


@router.get("", summary="List webhooks", **needs(WEBHOOKS_READ, InvalidCursor))
def webhooks_list(call: CurrentCall, limit: Limit = None, cursor: Cursor = None) -> WebhookList:
    """Return the workspace's webhooks, newest first."""
    page = page_of(call, str, limit, cursor)
    before = None if page.after is None else WebhookId(page.after)
    rows = call.services.webhooks.list(call.principal, limit=page.limit, before=before)
    return WebhookList(
        items=[Webhook.of(endpoint) for endpoint in rows.items],
        next_cursor=next_cursor(page, rows.next),
    )


@router.get("/{id}", summary="Get a webhook", **needs(WEBHOOKS_READ, has_etag=True))
def webhooks_get(call: CurrentCall, id: _Id, response: Response) -> Webhook:
    """Return a webhook."""
    endpoint = call.services.webhooks.get(call.principal, WebhookId(id))
    set_etag(response, endpoint.version)
    return Webhook.of(endpoint)


@router.patch("/{id}", summary="Update a webhook", **_needs_write(if_match=True, has_etag=True))
def webhooks_update(call: CurrentCall, id: _Id, body: WebhookChange, response: Response) -> Webhook:
    """Change the URL, the events, the headers or the status. Waiting deliveries are sent with the new values."""
    endpoint = call.services.webhooks.update(
        call.principal, WebhookId(id), body.patch(), call.origin, call.if_match
    )
    set_etag(response, endpoint.version)
    return Webhook.of(endpoint)


@router.delete("/{id}", summary="Delete a webhook", status_code=204, **_needs_write(if_match=True))
def webhooks_delete(call: CurrentCall, id: _Id) -> None:
    """Delete the webhook and its deliveries, waiting ones too. This can't be undone."""
    call.services.webhooks.delete(call.principal, WebhookId(id), call.origin, call.if_match)


@router.post("/{id}/rotate-secret", summary="Rotate a webhook's secret", **_needs_write())
def webhooks_rotate(call: CurrentCall, id: _Id) -> CreatedWebhook:
    """Create a new secret, shown only once. For 24 hours deliveries are signed with the previous one too."""
    created = call.services.webhooks.rotate_secret(call.principal, WebhookId(id), call.origin)
    return CreatedWebhook.of(created.endpoint, secret=created.secret)


@router.post("/{id}/test", summary="Send a test event", **_needs_write(WebhookDisabled))
def webhooks_test(call: CurrentCall, id: _Id) -> Delivery:
    """Send an event of type `webhook.test` to this webhook only. The delivery shows the result."""
    return Delivery.of(call.services.webhooks.test(call.principal, WebhookId(id), call.origin))


@router.get(
    "/{id}/deliveries", summary="List a webhook's deliveries", **needs(WEBHOOKS_READ, InvalidCursor)
)
def webhooks_deliveries(
    call: CurrentCall,
    id: _Id,
    status: Annotated[
        DeliveryStatus | None, Query(description="Only deliveries of this status. Omitted: all.")
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> DeliveryList:
    """Return the webhook's deliveries with their attempts, newest events first."""
    page = page_of(call, int, limit, cursor, status=status)
    rows = call.services.webhooks.deliveries(
        call.principal, WebhookId(id), status=status, limit=page.limit, before=page.after
    )
    return DeliveryList(
        items=[Delivery.of(delivery) for delivery in rows.items],
        next_cursor=next_cursor(page, rows.next),
    )


class DeliveryRoute(WorkspaceRoute):
    """A route of deliveries; `id` in its path is a delivery's id."""

    @override
    def find_version(self, call: Call, path: Mapping[str, str]) -> int | None:
        if "id" in path:
            call.services.webhooks.require_delivery(call.principal, DeliveryId(path["id"]))
        return None


_DeliveryId = Annotated[
    str, Path(description="The delivery's id.", examples=["dlv_02tcRIyrxLXTR81B3dqdOx"])
]

deliveries = APIRouter(prefix="/v1/deliveries", tags=["webhooks"], route_class=DeliveryRoute)


@deliveries.get("/{id}", summary="Get a delivery", **needs(WEBHOOKS_READ, also=(EVENTS_READ,)))
def deliveries_get(call: CurrentCall, id: _DeliveryId) -> SentDelivery:
    """Return a delivery with its attempts, and its event: the `data` of the payload."""
    sent = call.services.webhooks.delivery(call.principal, DeliveryId(id))
    return SentDelivery.of(sent.delivery, event=Event.of(sent.event))


@deliveries.post("/{id}/redeliver", summary="Resend a delivery", **_needs_write(WebhookDisabled))
def deliveries_redeliver(call: CurrentCall, id: _DeliveryId) -> Delivery:
    """Resend a delivery immediately, whatever its status, with the same `webhook-id` and a new schedule of attempts."""
    return Delivery.of(
        call.services.webhooks.redeliver(call.principal, DeliveryId(id), call.origin)
    )
