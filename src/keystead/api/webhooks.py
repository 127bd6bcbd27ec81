"""Calls of webhooks and of their deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keystead.api.bodies.webhooks import NewWebhook, WebhookChange
from keystead.api.calls import Call, page_of
from keystead.api.operations import PAGED, Operations, Reply, in_path, in_query
from keystead.domain.errors import InvalidCursor, LimitReached, WebhookDisabled
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

_WRITE: Final = (WEBHOOKS_WRITE, EVENTS_READ)
"""What a call needs that sends events to an endpoint: the scope to read them too."""


def _version(call: Call, path: Mapping[str, str]) -> int:
    return call.services.webhooks.require(call.principal, WebhookId(path["id"])).version


WEBHOOKS: Final = Operations(
    "/v1/webhooks",
    "webhooks",
    path_parameters=(in_path("id", "The webhook's id.", "wh_02tcRIyrxLXTR81B3dqdOx"),),
    find_version=_version,
)


@WEBHOOKS.call(
    "POST",
    "",
    "Create a webhook",
    *_WRITE,
    statuses=(201,),
    refusals=(LimitReached,),
    has_etag=True,
)
def create_webhook(call: Call, body: NewWebhook) -> Reply[CreatedWebhook]:
    """Create a webhook. This response is the only one that contains its secret, which verifies the signatures.

    Each event is sent at least once, in the format of Standard Webhooks 1.0, with its id as `webhook-id`.
    """
    created = call.services.webhooks.create(call.principal, body.draft(), call.origin)
    endpoint = created.endpoint
    shape = CreatedWebhook.of(endpoint, secret=created.secret)
    return Reply(shape, endpoint.version, f"/v1/webhooks/{endpoint.id}")


@WEBHOOKS.call("GET", "", "List webhooks", WEBHOOKS_READ, refusals=(InvalidCursor,), query=PAGED)
def list_webhooks(
    call: Call, limit: str | None = None, cursor: str | None = None
) -> Reply[WebhookList]:
    """Return the workspace's webhooks, newest first."""
    page = page_of(call, str, limit, cursor)
    before = None if page.after is None else WebhookId(page.after)
    rows = call.services.webhooks.list(call.principal, limit=page.limit, before=before)
    items = [Webhook.of(endpoint) for endpoint in rows.items]
    return Reply(WebhookList(items=items, next_cursor=page.next_cursor(rows.next)))


@WEBHOOKS.call("GET", "/{id}", "Get a webhook", WEBHOOKS_READ, has_etag=True)
def get_webhook(call: Call, id: str) -> Reply[Webhook]:
    """Return a webhook."""
    endpoint = call.services.webhooks.get(call.principal, WebhookId(id))
    return Reply(Webhook.of(endpoint), endpoint.version)


@WEBHOOKS.call("PATCH", "/{id}", "Update a webhook", *_WRITE, if_match=True, has_etag=True)
def update_webhook(call: Call, id: str, body: WebhookChange) -> Reply[Webhook]:
    """Change the URL, the events, the headers or the status. Waiting deliveries are sent with the new values."""
    endpoint = call.services.webhooks.update(
        call.principal, WebhookId(id), body.patch(), call.origin, call.if_match
    )
    return Reply(Webhook.of(endpoint), endpoint.version)


@WEBHOOKS.call("DELETE", "/{id}", "Delete a webhook", *_WRITE, statuses=(204,), if_match=True)
def delete_webhook(call: Call, id: str) -> Reply[None]:
    """Delete the webhook and its deliveries, waiting ones too. This can't be undone."""
    call.services.webhooks.delete(call.principal, WebhookId(id), call.origin, call.if_match)
    return Reply(None)


@WEBHOOKS.call("POST", "/{id}/rotate-secret", "Rotate a webhook's secret", *_WRITE)
def rotate_webhook_secret(call: Call, id: str) -> Reply[CreatedWebhook]:
    """Create a new secret, shown only once. For 24 hours deliveries are signed with the previous one too."""
    created = call.services.webhooks.rotate_secret(call.principal, WebhookId(id), call.origin)
    return Reply(CreatedWebhook.of(created.endpoint, secret=created.secret))


@WEBHOOKS.call("POST", "/{id}/test", "Send a test event", *_WRITE, refusals=(WebhookDisabled,))
def test_webhook(call: Call, id: str) -> Reply[Delivery]:
    """Send an event of type `webhook.test` to this webhook only. The delivery shows the result."""
    sent = call.services.webhooks.test(call.principal, WebhookId(id), call.origin)
    return Reply(Delivery.of(sent))


@WEBHOOKS.call(
    "GET",
    "/{id}/deliveries",
    "List a webhook's deliveries",
    WEBHOOKS_READ,
    refusals=(InvalidCursor,),
    query=(
        in_query("status", "Only deliveries of this status. Omitted: all.", DeliveryStatus),
        *PAGED,
    ),
)
def list_deliveries(
    call: Call,
    id: str,
    status: DeliveryStatus | None = None,
    limit: str | None = None,
    cursor: str | None = None,
) -> Reply[DeliveryList]:
    """Return the webhook's deliveries with their attempts, newest events first."""
    page = page_of(call, int, limit, cursor, status=status)
    rows = call.services.webhooks.deliveries(
        call.principal, WebhookId(id), status=status, limit=page.limit, before=page.after
    )
    items = [Delivery.of(delivery) for delivery in rows.items]
    return Reply(DeliveryList(items=items, next_cursor=page.next_cursor(rows.next)))


def _delivery(call: Call, path: Mapping[str, str]) -> None:
    call.services.webhooks.require_delivery(call.principal, DeliveryId(path["id"]))


DELIVERIES: Final = Operations(
    "/v1/deliveries",
    "webhooks",
    path_parameters=(in_path("id", "The delivery's id.", "dlv_02tcRIyrxLXTR81B3dqdOx"),),
    find_version=_delivery,
)


@DELIVERIES.call("GET", "/{id}", "Get a delivery", WEBHOOKS_READ, EVENTS_READ)
def get_delivery(call: Call, id: str) -> Reply[SentDelivery]:
    """Return a delivery with its attempts, and its event: the `data` of the payload."""
    sent = call.services.webhooks.delivery(call.principal, DeliveryId(id))
    return Reply(SentDelivery.of(sent.delivery, event=Event.of(sent.event)))


@DELIVERIES.call(
    "POST", "/{id}/redeliver", "Resend a delivery", *_WRITE, refusals=(WebhookDisabled,)
)
def resend_delivery(call: Call, id: str) -> Reply[Delivery]:
    """Resend a delivery immediately, whatever its status, with the same `webhook-id` and a new schedule of attempts."""
    sent = call.services.webhooks.redeliver(call.principal, DeliveryId(id), call.origin)
    return Reply(Delivery.of(sent))
