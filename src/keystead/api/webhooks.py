"""Webhooks: create, see, change, delete, rotate the secret, send a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from keystead.api.listing import Cursor, Limit, next_cursor, page_of
from keystead.api.route import Call, CurrentCall, WorkspaceRoute, needs, tag
from keystead.api.webhook_bodies import NewWebhook, WebhookChange
from keystead.domain.errors import InvalidCursor, KeysteadError, LimitReached, WebhookDisabled
from keystead.domain.ids import WebhookId
from keystead.domain.scopes import EVENTS_READ, WEBHOOKS_READ, WEBHOOKS_WRITE
from keystead.domain.webhooks import DeliveryStatus
from keystead.wire.webhooks import CreatedWebhook, Delivery, DeliveryList, Webhook, WebhookList


class WebhookRoute(WorkspaceRoute):
    """A route about webhooks: `id` in its path is a webhook's."""

    def find(self, call: Call, named: Mapping[str, str]) -> int | None:
        """Return the webhook's version."""
        if "id" not in named:
            return None
        return call.services.webhooks.require(call.principal, WebhookId(named["id"])).version


_Id = Annotated[str, Path(description="The webhook's id.", examples=["wh_02tcRIyrxLXTR81B3dqdOx"])]

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=WebhookRoute)


def writes(*refusals: type[KeysteadError], **more: bool) -> dict[str, Any]:
    """What it takes to have events sent somewhere: the right to change webhooks, and to read what they are sent."""
    return needs(WEBHOOKS_WRITE, *refusals, also=(EVENTS_READ,), **more)


@router.post(
    "",
    operation_id="webhooks_create",
    summary="Create a webhook",
    status_code=201,
    **writes(LimitReached, tagged=True),
)
def create_webhook(call: CurrentCall, body: NewWebhook, response: Response) -> CreatedWebhook:
    """A new webhook. Its secret is in this answer and nowhere else, ever: receivers verify signatures with it.

    Events are sent as Standard Webhooks 1.0 says, at least once each, under the event's id as `webhook-id`.
    """
    made = call.services.webhooks.create(call.principal, body.draft(), call.origin)
    response.headers["location"] = f"/v1/webhooks/{made.endpoint.id}"
    tag(response, made.endpoint.version)
    return CreatedWebhook.of(made.endpoint, secret=made.secret)


@router.get(
    "",
    operation_id="webhooks_list",
    summary="List webhooks",
    **needs(WEBHOOKS_READ, InvalidCursor),
)
def list_webhooks(call: CurrentCall, limit: Limit = None, cursor: Cursor = None) -> WebhookList:
    """All webhooks of the workspace, newest first."""
    page = page_of(call, str, limit, cursor)
    before = None if page.after is None else WebhookId(page.after)
    found = call.services.webhooks.list(call.principal, limit=page.limit, before=before)
    return WebhookList(
        items=[Webhook.of(endpoint) for endpoint in found.items],
        next_cursor=next_cursor(page, found.next),
    )


@router.get(
    "/{id}",
    operation_id="webhooks_get",
    summary="See a webhook",
    **needs(WEBHOOKS_READ, tagged=True),
)
def get_webhook(call: CurrentCall, id: _Id, response: Response) -> Webhook:
    """One webhook."""
    endpoint = call.services.webhooks.get(call.principal, WebhookId(id))
    tag(response, endpoint.version)
    return Webhook.of(endpoint)


@router.patch(
    "/{id}",
    operation_id="webhooks_update",
    summary="Change a webhook",
    **writes(if_match=True, tagged=True),
)
def update_webhook(call: CurrentCall, id: _Id, body: WebhookChange, response: Response) -> Webhook:
    """Changes where and what is sent, or whether anything is. What waits is sent as the webhook is then."""
    changed = call.services.webhooks.update(
        call.principal, WebhookId(id), body.patch(), call.origin, call.if_match
    )
    tag(response, changed.version)
    return Webhook.of(changed)


@router.delete(
    "/{id}",
    operation_id="webhooks_delete",
    summary="Delete a webhook",
    status_code=204,
    **writes(if_match=True),
)
def delete_webhook(call: CurrentCall, id: _Id) -> None:
    """Deletes the webhook for good, with its deliveries: also what waits is not sent any more."""
    call.services.webhooks.delete(call.principal, WebhookId(id), call.origin, call.if_match)


@router.post(
    "/{id}/rotate-secret",
    operation_id="webhooks_rotate",
    summary="Rotate a webhook's secret",
    **writes(),
)
def rotate_secret(call: CurrentCall, id: _Id) -> CreatedWebhook:
    """A fresh secret, shown this once. For 24 hours deliveries are signed with the one before too."""
    made = call.services.webhooks.rotate_secret(call.principal, WebhookId(id), call.origin)
    return CreatedWebhook.of(made.endpoint, secret=made.secret)


@router.post(
    "/{id}/test",
    operation_id="webhooks_test",
    summary="Send a test",
    **writes(WebhookDisabled),
)
def test_webhook(call: CurrentCall, id: _Id) -> Delivery:
    """Sends an event `webhook.test` to this webhook alone. The delivery tells what came of it."""
    return Delivery.of(call.services.webhooks.test(call.principal, WebhookId(id), call.origin))


@router.get(
    "/{id}/deliveries",
    operation_id="webhooks_deliveries",
    summary="List a webhook's deliveries",
    **needs(WEBHOOKS_READ, InvalidCursor),
)
def list_deliveries(
    call: CurrentCall,
    id: _Id,
    status: Annotated[
        DeliveryStatus | None, Query(description="Only deliveries of this status; omitted: all.")
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> DeliveryList:
    """What was sent and what waits, with every attempt, the newest events first."""
    page = page_of(call, int, limit, cursor, status=status)
    found = call.services.webhooks.deliveries(
        call.principal, WebhookId(id), status=status, limit=page.limit, before=page.after
    )
    return DeliveryList(
        items=[Delivery.of(delivery) for delivery in found.items],
        next_cursor=next_cursor(page, found.next),
    )
