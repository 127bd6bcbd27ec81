"""The `webhooks` of the OpenAPI document: the requests that a workspace's endpoints receive, by type of event."""

from __future__ import annotations

from typing import Any, Final

from keystead.api.openapi.refusals import references
from keystead.domain.events import EventType

PARAMETERS: Final = {
    name: {
        "name": name,
        "in": "header",
        "required": True,
        "description": description,
        "schema": {"type": type},
    }
    for name, type, description in (
        (
            "webhook-id",
            "string",
            "The event's id, the same in every attempt. Process each id once.",
        ),
        (
            "webhook-timestamp",
            "integer",
            "When this attempt was made, in seconds since 1970. Refuse one that is more than five minutes off.",
        ),
        (
            "webhook-signature",
            "string",
            "`v1,` and the base64 of HMAC-SHA-256 over `<webhook-id>.<webhook-timestamp>.<body>`, with the bytes of the"
            " webhook's secret as the key. While the secret rotates: two, separated by a space. One match is enough.",
        ),
    )
}
_RESPONSES: Final = {
    "2XX": {"description": "Received. Respond within 20 seconds; do the work afterwards."},
    "410": {"description": "Gone: disables the webhook immediately."},
    "default": {"description": "Not received: Keystead tries again later, ten times in all."},
}


_PAYLOAD: Final = "#/components/schemas/WebhookPayload"


def webhooks() -> dict[str, Any]:
    """Return a path item for each type of event."""
    return {str(type): {"post": _received(type)} for type in EventType}


def _received(type: EventType) -> dict[str, Any]:
    schema = {"$ref": _PAYLOAD, "properties": {"type": {"const": str(type)}}}
    words = type.replace("_", " ").replace(".", " ").split()
    return {
        "tags": ["webhooks"],
        "summary": f"Receive {type}",
        "operationId": "receive" + "".join(word.capitalize() for word in words),
        "parameters": list(references("parameters", PARAMETERS).values()),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        },
        "responses": _RESPONSES,
    }
