"""What calls about webhooks answer: every member is present, null where there is nothing."""

from __future__ import annotations

from typing import Annotated, Any, Self

from keystead.domain import webhooks
from keystead.domain.events import EventType
from keystead.domain.webhooks import AttemptError, DeliveryStatus, DisabledReason, WebhookStatus
from keystead.wire.resources import Actor, Event, Instant, NextCursor, Resource
from keystead.wire.schema import member


class Webhook(Resource):
    """Where events are sent. Its secret, and the values of its own headers, are never shown again."""

    id: Annotated[str, member("Its public name.", "wh_02tcRIyrxLXTR81B3dqdOx")]
    name: Annotated[str, member("For people.", "CRM")]
    url: Annotated[str, member("Where events are sent.", "https://example.com/hooks/keystead")]
    events: Annotated[list[str], member("In alphabetical order; `*` is all.", ["key.created"])]
    status: WebhookStatus
    created_at: Instant
    created_by: Actor
    header_names: Annotated[
        list[str], member("The headers of its own that are sent with every delivery.")
    ]
    disabled_at: Annotated[Instant | None, member("Null: it is active.")]
    disabled_for: Annotated[
        DisabledReason | None,
        member(
            "`by_hand`; `failing`: a whole schedule of attempts failed and nothing else was taken meanwhile; `gone`: it"
            " answered 410. Null: it is active."
        ),
    ]
    secret_overlap_until: Annotated[
        Instant | None, member("Until then deliveries are signed with the secret before too.")
    ]

    @classmethod
    def of(cls, endpoint: webhooks.WebhookEndpoint, **more: Any) -> Self:
        """From the domain's value."""
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
    """A webhook with its signing secret, which is shown this once."""

    secret: Annotated[
        str,
        member(
            "`whsec_` and the base64 of 32 bytes, as libraries for Standard Webhooks take it.",
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        ),
    ]


class WebhookList(Resource):
    """One page of webhooks, newest first."""

    items: list[Webhook]
    next_cursor: NextCursor


class Attempt(Resource):
    """One try at a delivery."""

    at: Instant
    status: Annotated[int | None, member("Of the answer. Null: none came.")]
    error: Annotated[
        AttemptError | None, member("Why it failed. Null: it succeeded, with a status of 2xx.")
    ]
    milliseconds: Annotated[int, member("How long it took.")]

    @classmethod
    def of(cls, attempt: webhooks.Attempt) -> Self:
        """From the domain's value."""
        return cls(
            at=attempt.at,
            status=attempt.status,
            error=attempt.error,
            milliseconds=attempt.milliseconds,
        )


class Delivery(Resource):
    """One event for one webhook."""

    id: Annotated[str, member("Its public name.", "dlv_02tcRIyrxLXTR81B3dqdOx")]
    webhook_id: Annotated[str, member("Where to.", "wh_02tcRIyrxLXTR81B3dqdOx")]
    event_id: Annotated[
        str,
        member("What of; the `webhook-id` of every attempt at it.", "evt_02tcRIyrxLXTR81B3dqdOx"),
    ]
    event_type: EventType
    status: Annotated[
        DeliveryStatus, member("A pending one waits for its next attempt; a failed one has none.")
    ]
    created_at: Instant
    attempts: Annotated[list[Attempt], member("The latest 30, the oldest first.")]
    next_attempt_at: Annotated[
        Instant | None, member("Not before then; later where the webhook is disabled.")
    ]

    @classmethod
    def of(cls, delivery: webhooks.Delivery, **more: Any) -> Self:
        """From the domain's value."""
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
    """A delivery with the event that it tells of."""

    event: Event


class DeliveryList(Resource):
    """One page of deliveries, the newest events first."""

    items: list[Delivery]
    next_cursor: NextCursor
