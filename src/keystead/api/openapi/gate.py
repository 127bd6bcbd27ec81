"""The OpenAPI description of the gate's calls: `/introspect` and `/forward-auth/{scope}`, and of `/revoke`.

It is written by hand, because the package `gate` is plain ASGI and takes forms, as OAuth does.
"""

from __future__ import annotations

from typing import Any, Final

from keystead.api.openapi.refusals import references, responses_listed

TAG: Final = "gate"
TAG_DESCRIPTION: Final = (
    "For gateways and services in any language: `POST /introspect` checks a token"
    " ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)), and `/forward-auth/{scope}` checks a request. Errors of"
    " the first also have the `error` of RFC 6749. `/operator/openapi.json` describes these calls in full, and the"
    " guide explains gateways."
)
_FORM_REFUSALS: Final = ("invalid-request", "too-large", "unsupported-media-type", "unavailable")


def bearer(form: str, description: str) -> dict[str, str]:
    """Return the security scheme of a bearer credential of that form."""
    return {"type": "http", "scheme": "bearer", "bearerFormat": form, "description": description}


def _member(description: str, type: str = "string") -> dict[str, Any]:
    return {"type": type, "description": description}


SECURITY_SCHEMES: Final = {
    "service": bearer(
        "<prefix>_svc_<id>_<secret>",
        "A service's or an operator's credential.",
    ),
    "service_basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The same credential: its id as the user name and its token as the password, both form-encoded"
        " (RFC 6749 section 2.3.1).",
    },
}
_ACTIVE: Final = {
    "type": "object",
    "required": ["active"],
    "properties": {
        "active": _member(
            "Whether the token is valid. If not, this is the only member.", "boolean"
        ),
        "scope": _member("The key's scopes, separated by spaces."),
        "client_id": _member("The key's id."),
        "sub": _member("The workspace's id."),
        "iat": _member("When the key was created, in seconds since 1970.", "integer"),
        "exp": _member("When the key expires, in seconds since 1970. Absent: never.", "integer"),
        "token_type": {"type": "string", "enum": ["Bearer"]},
        "workspace": {
            "type": "object",
            "required": ["id", "name", "plan"],
            "properties": {name: {"type": "string"} for name in ("id", "name", "plan")},
        },
        "networks": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The CIDR blocks that the key works from. Empty: anywhere.",
        },
        "metadata": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "The key's labels. No access depends on them.",
        },
        "renewal": {
            "type": ["object", "null"],
            "required": ["until"],
            "properties": {"until": {"type": ["string", "null"], "format": "date-time"}},
            "description": "Until when the key may renew itself. `until` null: without end. Null: it can't.",
        },
    },
}


def _form(**more: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a form with a token and these further fields."""
    token = {**_member("The token to check or revoke."), "minLength": 1}
    properties = {"token": token, "token_type_hint": _member("Ignored."), **more}
    schema = {"type": "object", "required": ["token"], "properties": properties}
    return {
        "required": True,
        "description": "At most 65,536 bytes. Other fields are ignored.",
        "content": {"application/x-www-form-urlencoded": {"schema": schema}},
    }


_IDENTITY: Final = {
    "X-Keystead-Workspace": "The workspace's id.",
    "X-Keystead-Key": "The key's id.",
    "X-Keystead-Scopes": "The key's scopes, separated by spaces.",
    "X-Keystead-Metadata": "The key's labels: a JSON object, in base64url with padding. No access depends on them.",
}


def _call(
    id: str,
    summary: str,
    description: str,
    done: dict[str, Any],
    refusals: tuple[str, ...],
    tag: str = TAG,
    **more: Any,
) -> dict[str, Any]:
    return {
        "tags": [tag],
        "summary": summary,
        "description": description,
        "operationId": id,
        **more,
        "responses": {"200": done, **responses_listed(refusals)},
    }


def gate_paths() -> dict[str, Any]:
    """Return the path items of the gate, for services and gateways."""
    return {
        "/introspect": {"post": _introspect()},
        "/forward-auth/{scope}": {"get": _forward_auth()},
    }


def revocation_paths() -> dict[str, Any]:
    """Return the path item of revoking a token, which anyone may do who has it."""
    return {"/revoke": {"post": _revoke()}}


def _introspect() -> dict[str, Any]:
    return _call(
        "introspectToken",
        "Introspect a token",
        "RFC 7662. Verifies the token as any call does, with a read that is never older than the request. Credentials"
        " of services and operators are not active. It counts as a use of the key, from the address `ip` if that is"
        " sent, without an agent. A key with networks is active only if they contain `ip`.",
        {"description": "The token's state.", "content": {"application/json": {"schema": _ACTIVE}}},
        ("unauthenticated", "invalid-token", *_FORM_REFUSALS),
        security=[{name: []} for name in SECURITY_SCHEMES],
        requestBody=_form(
            ip=_member("The address of your own caller. Absent: a key with networks is not active.")
        ),
    )


def _revoke() -> dict[str, Any]:
    return _call(
        "revokeToken",
        "Revoke a token",
        "RFC 7009. The token itself proves that you may revoke it, so no credential is needed. The response is the same"
        " for any token. A live token stops working before you receive it. Credentials of services and operators are"
        " left unchanged.",
        {"description": "The token is not valid, whatever it was before."},
        (*_FORM_REFUSALS, "rate-limited", "outcome-unknown", "disk-full"),
        "keys",
        security=[{}],
        requestBody=_form(),
    )


def _forward_auth() -> dict[str, Any]:
    return _call(
        "authorizeRequest",
        "Authorize a request",
        "For gateways, which forward the client's `Authorization`. Any method works, and any segments may follow the"
        " scope: only the first raw segment counts. With `X-Keystead-Gateway: nginx`, every error except 401 becomes"
        " 403, with the original status in `X-Keystead-Denied-Status`. A malformed request gets 401 here, not 400.",
        {
            "description": "The request may pass. All four headers are always present.",
            "headers": {
                name: {"description": text, "required": True, "schema": {"type": "string"}}
                for name, text in _IDENTITY.items()
            }
            | references("headers", ["Keystead-Key-Expires"]),
        },
        ("unauthenticated", "invalid-token", "insufficient-scope", "rate-limited", "unavailable"),
        security=[{"key": []}],
        parameters=[
            {
                "name": "scope",
                "in": "path",
                "required": True,
                "description": "The scope that the key must have, or `any` for any live key. An unknown scope: 403.",
                "schema": {"type": "string"},
            }
        ],
    )
