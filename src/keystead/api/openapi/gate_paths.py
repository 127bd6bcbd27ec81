"""The calls of the gate as the OpenAPI document describes them: `/introspect`, `/revoke` and `/forward-auth/{scope}`.

They are plain ASGI, in a package of their own (`gate`), and follow OAuth: forms, not JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from keystead.api.openapi.refusals import references, responses_listed
from keystead.domain.errors import (
    DiskFull,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    KeysteadError,
    OutcomeUnknown,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)

TAG: Final = "gate"
TAG_DESCRIPTION: Final = (
    "For gateways and services in any language: `POST /introspect` says whether a token is good"
    " ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)), `POST /revoke` ends one"
    " ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)), and `/forward-auth/{scope}` says whether a request may"
    " pass. Refusals of the first two also have the `error` of RFC 6749. They are described in `/openapi.json`, and"
    " gateways in the guide."
)
SERVICE: Final = "service"
SERVICE_BASIC: Final = "service_basic"
SECURITY_SCHEMES: Final = {
    SERVICE: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "<prefix>_svc_<id>_<secret>",
        "description": "A service's or an operator's credential, made by `keystead credentials create`.",
    },
    SERVICE_BASIC: {
        "type": "http",
        "scheme": "basic",
        "description": "The same credential: its id is the user name, its token the password, both form-encoded"
        " (RFC 6749 section 2.3.1).",
    },
}
_TEXT: Final = {"type": "string"}
_ACTIVE: Final = {
    "type": "object",
    "required": ["active"],
    "properties": {
        "active": {
            "type": "boolean",
            "description": "Whether the token stands. If not, nothing else is told.",
        },
        "scope": {**_TEXT, "description": "The key's scopes, parted by spaces."},
        "client_id": {**_TEXT, "description": "The key's id."},
        "sub": {**_TEXT, "description": "The workspace's id."},
        "iat": {"type": "integer", "description": "When the key was made, in seconds since 1970."},
        "exp": {"type": "integer", "description": "When it ends; absent where it does not."},
        "token_type": {"type": "string", "enum": ["Bearer"]},
        "workspace": {
            "type": "object",
            "required": ["id", "name", "plan"],
            "properties": {"id": _TEXT, "name": _TEXT, "plan": _TEXT},
        },
    },
}
_FORM: Final = {
    "required": True,
    "description": "At most 65,536 bytes. Other fields say nothing.",
    "content": {
        "application/x-www-form-urlencoded": {
            "schema": {
                "type": "object",
                "required": ["token"],
                "properties": {
                    "token": {
                        "type": "string",
                        "minLength": 1,
                        "description": "The token in question.",
                    },
                    "token_type_hint": {"type": "string", "description": "Says nothing here."},
                },
            }
        }
    },
}
_FIELD: Final = {"schema": {"type": "string"}}
_ASKED: Final = (InvalidRequest, TooLarge, UnsupportedMediaType, Unavailable)


def _call(
    id: str,
    summary: str,
    description: str,
    good: dict[str, Any],
    refusals: Sequence[type[KeysteadError]],
    **more: Any,
) -> dict[str, Any]:
    return {
        "tags": [TAG],
        "summary": summary,
        "description": description,
        "operationId": id,
        **more,
        "responses": {"200": good, **responses_listed([refusal.code for refusal in refusals])},
    }


def gate_paths() -> dict[str, Any]:
    """The path items of the gate."""
    return {
        "/introspect": {"post": _introspect()},
        "/revoke": {"post": _revoke()},
        "/forward-auth/{scope}": {"get": _forward_auth()},
    }


def _introspect() -> dict[str, Any]:
    return _call(
        "introspect",
        "Is this token good?",
        "RFC 7662. A verification like any other, as fresh as a read that begins with the request. Tokens of services"
        " and operators are not active. It counts as a use of the key, without address and agent.",
        {
            "description": "What stands, or that it does not.",
            "content": {"application/json": {"schema": _ACTIVE}},
        },
        (Unauthenticated, InvalidToken, *_ASKED),
        security=[{SERVICE: []}, {SERVICE_BASIC: []}],
        requestBody=_FORM,
    )


def _revoke() -> dict[str, Any]:
    return _call(
        "revoke",
        "End this token",
        "RFC 7009. The token itself is the proof that it may be ended: no credential is needed. Live or not, the answer"
        " is the same, and a live token is dead when it arrives. Tokens of services and operators stay as they are.",
        {"description": "It does not stand, whatever it was."},
        (*_ASKED, RateLimited, OutcomeUnknown, DiskFull),
        security=[{}],
        requestBody=_FORM,
    )


def _forward_auth() -> dict[str, Any]:
    fields = {
        "X-Keystead-Workspace": "The workspace's id.",
        "X-Keystead-Key": "The key's id.",
        "X-Keystead-Scopes": "Its scopes, parted by spaces.",
    }
    return _call(
        "forward_auth",
        "May this request pass?",
        "For gateways, which send it the client's `Authorization`. Any method will do, and further segments may follow"
        " the scope: only the first raw segment decides. Told `X-Keystead-Gateway: nginx`, every refusal but 401 is"
        " 403, with the status in `X-Keystead-Denied-Status`. A malformed request is 401 here, not 400.",
        {
            "description": "It may. All three fields are there, always.",
            "headers": {
                name: {**_FIELD, "description": told, "required": True}
                for name, told in fields.items()
            }
            | references("headers", ["Keystead-Key-Expires"]),
        },
        (Unauthenticated, InvalidToken, InsufficientScope, RateLimited, Unavailable),
        security=[{"key": []}],
        parameters=[
            {
                "name": "scope",
                "in": "path",
                "required": True,
                "description": "The scope that the key must hold, or `any` for a live key. One that there is not: 403.",
                "schema": {"type": "string"},
            }
        ],
    )
