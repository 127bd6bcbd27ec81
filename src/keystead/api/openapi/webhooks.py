"""The `webhooks` of the OpenAPI document: the requests that a workspace's endpoints receive, by type of event."""

from __future__ import annotations

from typing import Any, Final

from keystead.api.openapi.refusals import references
from keystead.domain.events import EventType, event_types


def _header(description: str, type: str = "string") -> dict[str, Any]:
    return {"in": "header", "required": True, "description": description, "schema": {"type": type}}


_HEADERS: Final = {
    "webhook-id": _header("The event's id, the same in every attempt. Process each id once."),
    "webhook-timestamp": _header(
        "When this attempt was made, in seconds since 1970. Refuse one that is more than five minutes off.",
        "integer",
    ),
    "webhook-signature": _header(
        "`v1,` and the base64 of HMAC-SHA-256 over `<webhook-id>.<webhook-timestamp>.<body>`, with the bytes of the"
        " webhook's secret as the key. While the secret rotates: two, separated by a space. One match is enough."
    ),
}
PARAMETERS: Final = {name: {"name": name, **header} for name, header in _HEADERS.items()}
_RESPONSES: Final = {
    "2XX": {"description": "Received. Respond within 20 seconds; do the work afterwards."},
    "410": {"description": "Gone: disables the webhook immediately."},
    "default": {"description": "Not received: sent again later, ten times in all."},
}


_PAYLOAD: Final = "#/components/schemas/WebhookPayload"


def webhooks(*, has_documents: bool = True) -> dict[str, Any]:
    """Return a path item for each type of event."""
    types = event_types(has_documents=has_documents)
    return {str(type): {"post": _received(type)} for type in types}


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
