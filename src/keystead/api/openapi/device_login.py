"""The OpenAPI description of signing in at a terminal (RFC 8628), and of its discovery (RFC 8414)."""

from __future__ import annotations

from typing import Any, Final

from keystead.domain.device_logins import CLIENT_ID, GRANT_TYPE, INTERVAL, LIFETIME, PollError

TAG: Final = "sign-in"
TAG_DESCRIPTION: Final = (
    "Sign in at a terminal: the device authorization grant ([RFC 8628](https://www.rfc-editor.org/rfc/rfc8628)), and"
    " its discovery ([RFC 8414](https://www.rfc-editor.org/rfc/rfc8414)). Bodies are forms, and errors those of OAuth."
)
_REQUEST_ERRORS: Final = (
    "invalid_request",
    "invalid_client",
    "invalid_scope",
    "unsupported_grant_type",
)
_CLIENT: Final = {"type": "string", "enum": [CLIENT_ID], "description": "The client."}


def device_login_paths() -> dict[str, Any]:
    """Return the path items of these calls."""
    return {
        "/oauth/device_authorization": {"post": _authorization()},
        "/oauth/token": {"post": _token()},
        "/.well-known/oauth-authorization-server": {"get": _discovery()},
    }


def _authorization() -> dict[str, Any]:
    minutes = int(LIFETIME.total_seconds()) // 60
    return _call(
        "startDeviceLogin",
        "Start a sign-in",
        f"RFC 8628 section 3.1. Both codes expire after {minutes} minutes; only their digests are stored. `scope`,"
        " `description` and `host` only preselect: a person decides which key the terminal gets.",
        {
            "client_id": _CLIENT,
            "scope": _text("The wished scopes, separated by spaces."),
            "description": {**_text("The wished description of the key."), "maxLength": 200},
            "host": {
                **_text("The name of the terminal's computer, shown to the person."),
                "pattern": "^[A-Za-z0-9._-]{1,100}$",
            },
        },
        ["client_id"],
        _object(
            device_code=_text("The terminal's secret, for its polls."),
            user_code=_text("What the person types, such as `WXYZ-1234`."),
            verification_uri=_text("Where the person types it."),
            verification_uri_complete=_text("The same, with the code filled in."),
            expires_in=_number("Seconds until both codes expire."),
            interval=_number("The least number of seconds between two polls."),
        ),
        "invalid_request, invalid_client or invalid_scope.",
        {"429": "Too many sign-ins are waiting for approval, of this address or in all."},
    )


def _token() -> dict[str, Any]:
    return _call(
        "pollDeviceLogin",
        "Get the approved key",
        "RFC 8628 section 3.4. After the approval, the first poll creates the key and gets its token; if that answer is"
        " lost, the code is spent, and the key is listed, unused."
        f" Poll every {int(INTERVAL.total_seconds())} seconds.",
        {
            "grant_type": {"type": "string", "enum": [GRANT_TYPE], "description": "The grant."},
            "device_code": {**_text("The terminal's secret."), "minLength": 1},
            "client_id": _CLIENT,
        },
        ["grant_type", "device_code", "client_id"],
        {
            **_object(
                access_token=_text("The key's token."),
                token_type={"type": "string", "enum": ["Bearer"]},
                scope=_text("The key's scopes, separated by spaces."),
                expires_in=_number("Seconds until the key expires. Absent: never."),
            ),
            "required": ["access_token", "token_type", "scope"],
        },
        "`authorization_pending`: the code waits for a decision. `slow_down`: the poll came too soon. `access_denied`:"
        " the person denied it, or may no longer create the key. `expired_token`: the code has expired, was used, or"
        " never existed. The others are errors of the request.",
        {},
    )


def _discovery() -> dict[str, Any]:
    return {
        "tags": [TAG],
        "summary": "Discover the endpoints",
        "description": "RFC 8414. Only a server with the setting `public_url` has this document.",
        "operationId": "discoverAuthorizationServer",
        "security": [{}],
        "responses": {
            "200": _json(
                "The server's metadata.",
                _object(
                    issuer=_text("The server's public URL."),
                    device_authorization_endpoint=_text("The endpoint that starts a sign-in."),
                    token_endpoint=_text("The endpoint for polls."),
                    grant_types_supported=_texts("The grants."),
                    response_types_supported=_texts("None."),
                    scopes_supported=_texts("All scopes of this installation."),
                    token_endpoint_auth_methods_supported=_texts("No authentication."),
                ),
            ),
            "default": _problem("Any error."),
        },
    }


def _call(
    id: str,
    summary: str,
    description: str,
    fields: dict[str, Any],
    required: list[str],
    done: dict[str, Any],
    refused: str,
    more: dict[str, str],
) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": fields}
    form = {"application/x-www-form-urlencoded": {"schema": schema}}
    return {
        "tags": [TAG],
        "summary": summary,
        "description": description,
        "operationId": id,
        "security": [{}],
        "requestBody": {"required": True, "content": form},
        "responses": {
            "200": _json("Done.", done),
            "400": _json(refused, _error(*PollError, *_REQUEST_ERRORS)),
            **{status: _json(text, _error()) for status, text in more.items()},
            "default": _json("Any other error.", _error()),
        },
    }


def _error(*codes: str) -> dict[str, Any]:
    error = _text("The error (RFC 6749 section 5.2, RFC 8628 section 3.5).")
    if codes:
        error["enum"] = [str(code) for code in codes]
    return _object(error=error, error_description=_text("A sentence for people."))


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _texts(description: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, "description": description}


def _number(description: str) -> dict[str, Any]:
    return {"type": "integer", "description": description, "minimum": 0}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}
