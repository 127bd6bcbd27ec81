"""Webhooks and their deliveries, and the payload that a webhook receives."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final, Self

from keystead.domain import events, webhooks
from keystead.domain.events import EventType
from keystead.domain.webhooks import AttemptError, DeliveryStatus, DisabledReason, WebhookStatus
from keystead.wire.resources import Actor, Event
from keystead.wire.schema import AsText, Instant, NextCursor, Resource, member

MAX_PAYLOAD: Final = 20_000
"""The largest payload in bytes, as Standard Webhooks recommends."""


class Webhook(Resource):
    """An endpoint that receives events. Its secret and the values of its custom headers are never shown again."""

    id: Annotated[str, member("The webhook's id.", "wh_02tcRIyrxLXTR81B3dqdOx")]
    name: Annotated[str, member("The name to display.", "CRM")]
    url: Annotated[
        str, member("The URL that receives the events.", "https://example.com/hooks/keys")
    ]
    events: Annotated[list[str], member("In alphabetical order. `*`: all types.", ["key.created"])]
    status: Annotated[WebhookStatus, AsText]
    created_at: Instant
    created_by: Actor
    header_names: Annotated[
        list[str], member("The names of the custom headers sent with every delivery.")
    ]
    disabled_at: Annotated[Instant | None, member("Null: the webhook is active.")]
    disabled_for: Annotated[
        DisabledReason | None,
        member(
            "`by_hand`: a user disabled it. `failing`: all attempts of a delivery failed, and no other delivery"
            " succeeded meanwhile. `gone`: the endpoint responded with 410. Null: the webhook is active."
        ),
    ]
    secret_overlap_until: Annotated[
        Instant | None, member("Until then, deliveries are signed with the previous secret too.")
    ]

    @classmethod
    def of(cls, endpoint: webhooks.WebhookEndpoint, **more: Any) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            id=endpoint.id,
            name=endpoint.name,
            url=endpoint.url,
            events=list(endpoint.events),
            status=endpoint.status,
            created_at=endpoint.created_at,
            created_by=Actor.of(endpoint.created_by),
            header_names=list(endpoint.header_names),
            disabled_at=endpoint.disabled_at,
            disabled_for=endpoint.disabled_for,
            secret_overlap_until=endpoint.secret_overlap_until,
            **more,
        )


class CreatedWebhook(Webhook):
    """A webhook with its signing secret, which is shown only once."""

    secret: Annotated[
        str,
        member(
            "`whsec_` and the base64 of 32 bytes, the format of Standard Webhooks libraries.",
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        ),
    ]


class WebhookList(Resource):
    """A page of webhooks, newest first."""

    items: list[Webhook]
    next_cursor: NextCursor


class Attempt(Resource):
    """An attempt at a delivery."""

    at: Instant
    status: Annotated[int | None, member("The response's status. Null: there was no response.")]
    error: Annotated[
        AttemptError | None,
        member("Why the attempt failed. Null: it succeeded, with a 2xx status."),
    ]
    milliseconds: Annotated[int, member("The duration of the attempt.")]

    @classmethod
    def of(cls, attempt: webhooks.Attempt) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            at=attempt.at,
            status=attempt.status,
            error=attempt.error,
            milliseconds=attempt.milliseconds,
        )


class Delivery(Resource):
    """An event on its way to a webhook."""

    id: Annotated[str, member("The delivery's id.", "dlv_02tcRIyrxLXTR81B3dqdOx")]
    webhook_id: Annotated[str, member("The webhook's id.", "wh_02tcRIyrxLXTR81B3dqdOx")]
    event_id: Annotated[
        str,
        member(
            "The event's id, sent as `webhook-id` in every attempt.", "evt_02tcRIyrxLXTR81B3dqdOx"
        ),
    ]
    event_type: Annotated[EventType, AsText]
    status: Annotated[
        DeliveryStatus,
        member("A pending delivery waits for its next attempt. A failed one has no more."),
    ]
    created_at: Instant
    attempts: Annotated[list[Attempt], member("The latest 30 attempts, oldest first.")]
    next_attempt_at: Annotated[
        Instant | None,
        member("The earliest time of the next attempt; later if the webhook is disabled."),
    ]

    @classmethod
    def of(cls, delivery: webhooks.Delivery, **more: Any) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            id=delivery.id,
            webhook_id=delivery.webhook_id,
            event_id=delivery.event_id,
            event_type=delivery.event_type,
            status=delivery.status,
            created_at=delivery.created_at,
            attempts=[Attempt.of(attempt) for attempt in delivery.attempts],
            next_attempt_at=delivery.next_attempt_at,
            **more,
        )


class SentDelivery(Delivery):
    """A delivery with its event."""

    event: Event


class WebhookPayload(Resource):
    """What a webhook receives: an event, in the form of Standard Webhooks 1.0. At most 20 kB."""

    type: Annotated[EventType, AsText]
    timestamp: Annotated[Instant, member("When the event happened.")]
    data: Event


def payload(event: events.Event) -> bytes:
    """Return the body that a webhook receives: the same bytes in every attempt, at most `MAX_PAYLOAD`.

    `data` is the event as in the API, without its details if they would make it too large.
    """
    text = _payload(event)
    return text if len(text) <= MAX_PAYLOAD else _payload(replace(event, data={}))


def _payload(event: events.Event) -> bytes:
    body = WebhookPayload(type=event.type, timestamp=event.occurred_at, data=Event.of(event))
    return body.to_json()


class DeliveryList(Resource):
    """A page of deliveries, newest events first."""

    items: list[Delivery]
    next_cursor: NextCursor
