"""What calls about webhooks take. The rules about the values stand in the domain, which alone refuses them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from keystead.api.bodies import Body
from keystead.domain.destinations import MAX_URL
from keystead.domain.events import EventType
from keystead.domain.keys import UNSET
from keystead.domain.webhooks import (
    MAX_HEADERS,
    MAX_NAME,
    WebhookDraft,
    WebhookPatch,
    WebhookStatus,
)
from keystead.wire.schema import member

_TYPES = ", ".join(f"`{type}`" for type in EventType)
_EVENTS = f"Types of events, or `*` alone for all, later types included: {_TYPES}."
_HEADERS = (
    f"Headers of the receiver's own, such as its credentials: at most {MAX_HEADERS}, sent with every delivery."
    " Their values are never shown again."
)

_Name = Annotated[
    str,
    member(
        f"For people: 1-{MAX_NAME} characters on one line.", "CRM", minLength=1, maxLength=MAX_NAME
    ),
]
_Url = Annotated[
    str,
    member(
        "Where to send: https, a host on the internet, port 443 or 8443.",
        "https://example.com/hooks/keystead",
        maxLength=MAX_URL,
    ),
]


def _events(description: str) -> Any:
    return member(description, ["key.created", "key.revoked"], minItems=1)


def _headers(description: str) -> Any:
    return member(description, {"X-Source": "keystead"}, maxProperties=MAX_HEADERS)


class NewWebhook(Body):
    """A webhook as it is asked for."""

    name: _Name
    url: _Url
    events: Annotated[list[str], _events(_EVENTS)]
    headers: Annotated[dict[str, str], _headers(f"{_HEADERS} Omitted: none.")] = {}  # noqa: RUF012 - pydantic copies it

    def draft(self) -> WebhookDraft:
        """What the rules are asked about."""
        return WebhookDraft(self.name, self.url, self.events, self.headers)


class WebhookChange(Body):
    """What is to change of a webhook; what is omitted stays."""

    name: _Name = ""
    url: _Url = ""
    events: Annotated[list[str], _events(_EVENTS)] = []  # noqa: RUF012 - pydantic copies it
    headers: Annotated[dict[str, str], _headers(f"{_HEADERS} They replace all there were.")] = {}  # noqa: RUF012 - pydantic copies it
    status: Annotated[
        Literal["active", "disabled"],
        member("`disabled`: nothing is sent, deliveries wait. `active`: they are sent."),
    ] = "active"

    def patch(self) -> WebhookPatch:
        """What the rules are asked about."""
        sent = self.sent("status")
        return WebhookPatch(
            self.sent("name"),
            self.sent("url"),
            self.sent("events"),
            self.sent("headers"),
            sent if sent is UNSET else WebhookStatus(sent),
        )
