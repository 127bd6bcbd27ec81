"""The bodies of calls about webhooks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from keystead.api.bodies.body import Body
from keystead.domain import destinations, webhooks
from keystead.domain.events import EventType
from keystead.domain.keys import (
    UNSET,
)
from keystead.domain.webhooks import MAX_HEADERS, WebhookDraft, WebhookPatch, WebhookStatus
from keystead.wire.schema import member

_EVENTS = (
    "Types of events, or `*` alone for all, later types included: "
    f"{', '.join(f'`{type}`' for type in EventType)}."
)
_HEADERS = (
    f"Custom headers, such as the receiver's credentials: at most {MAX_HEADERS}, sent with every delivery."
    " Their values are never shown again."
)
_WebhookName = Annotated[
    str,
    member(
        f"The name to display: 1-{webhooks.MAX_NAME} characters on one line.",
        "CRM",
        minLength=1,
        maxLength=webhooks.MAX_NAME,
    ),
]
_WebhookUrl = Annotated[
    str,
    member(
        "Where to send the events: https, a host on the internet, port 443 or 8443.",
        "https://example.com/hooks/keys",
        maxLength=destinations.MAX_URL,
    ),
]


def _events(description: str) -> Any:
    return member(description, ["key.created", "key.revoked"], minItems=1)


def _headers(description: str) -> Any:
    return member(description, {"X-Source": "keys"}, maxProperties=MAX_HEADERS)


class NewWebhook(Body):
    """A webhook to create."""

    name: _WebhookName
    url: _WebhookUrl
    events: Annotated[list[str], _events(_EVENTS)]
    headers: Annotated[dict[str, str], _headers(f"{_HEADERS} Omitted: none.")] = {}

    def draft(self) -> WebhookDraft:
        """Return the domain's value."""
        return WebhookDraft(self.name, self.url, self.events, self.headers)


class WebhookChange(Body):
    """Changes to a webhook. Omitted members stay as they are."""

    name: _WebhookName = ""
    url: _WebhookUrl = ""
    events: Annotated[list[str], _events(_EVENTS)] = []
    headers: Annotated[
        dict[str, str], _headers(f"{_HEADERS} They replace all previous custom headers.")
    ] = {}
    status: Annotated[
        Literal["active", "disabled"],
        member("`disabled`: deliveries wait and nothing is sent. `active`: deliveries are sent."),
    ] = "active"

    def patch(self) -> WebhookPatch:
        """Return the domain's value."""
        status = self.sent("status")
        return WebhookPatch(
            self.sent("name"),
            self.sent("url"),
            self.sent("events"),
            self.sent("headers"),
            status if status is UNSET else WebhookStatus(status),
        )
