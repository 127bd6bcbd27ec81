"""The gate's answers: header fields for gateways, introspection responses (RFC 7662), problems for OAuth clients."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from typing_extensions import override

from keystead.domain.errors import InvalidRequest, InvalidToken, KeysteadError, Unauthenticated
from keystead.domain.instants import format_instant
from keystead.domain.key_metadata import compact_json
from keystead.domain.keys import EXPIRES_SOON
from keystead.domain.principals import Principal
from keystead.http.asgi import NO_STORE, Header, Message, Receive, Scope, Send
from keystead.http.body import FORM_LIMIT, read_body, require_unencoded
from keystead.http.client import record_of
from keystead.http.form_body import decode_form, require_form, unique_fields
from keystead.http.problems import STATUS, Problems
from keystead.services.verifier import ActiveToken

MAX_CACHED: Final = 10_000
"""Keys whose answers are cached, some 10 MB, or 40 MB with the longest metadata. A full cache is cleared."""
MAX_FIELDS: Final = 20

_Starts = tuple[Principal, datetime | None, Message, Message]
"""A principal, its expiry, and the start of its answer: close to the expiry, and before."""
_Response = tuple[list[Header], bytes]

_ERRORS: Final = {
    401: "invalid_client",
    403: "unauthorized_client",
    429: "temporarily_unavailable",
    500: "server_error",
    503: "temporarily_unavailable",
    507: "server_error",
}
"""The `error` of RFC 6749 (sections 4.1.2.1 and 5.2) by status; everything else is `invalid_request`."""
_CREDENTIAL: Final = {
    Unauthenticated.code: {
        "title": "This needs a service credential",
        "detail": "Send a service credential in the Authorization field: `Bearer <token>`, or HTTP Basic with its id"
        " and its token.",
    },
    InvalidToken.code: {
        "detail": "The service credential is malformed, unknown or revoked. API keys are not accepted here."
    },
}


class ForwardAuthAnswers:
    """The header fields of accepted requests: workspace, key, scopes and metadata.

    An answer always has all four, so a gateway that copies them overwrites whatever its client sent under these names.
    The characters of ids and scopes are safe in a header field; metadata is encoded (RFC 4648 section 5, padded).
    """

    def __init__(self, now: Callable[[], datetime], server: Header) -> None:
        """`server`: the field that names the server, as `Problems.server` has it."""
        self._now, self._server = now, server
        self._cache: dict[str, _Starts] = {}

    def fields(self, principal: Principal) -> Sequence[Header]:
        """Return all fields of the answer, with the key's expiry if it is near."""
        headers: Sequence[Header] = self.start(principal)["headers"]
        return headers

    def start(self, principal: Principal) -> Message:
        """Return the start of the answer. It is cached and shared: never change it."""
        # `is` suffices and is cheaper than ==: domain.verification caches principals by their row, so the object is
        # the same until the row changes, or until that cache drops it.
        cached = self._cache.get(principal.id)
        if cached is None or cached[0] is not principal:
            cached = self._add(principal)
        _, expires_at, expiring, start = cached
        return start if expires_at is None or expires_at - self._now() > EXPIRES_SOON else expiring

    def _add(self, principal: Principal) -> _Starts:
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        fields = [
            (b"x-keystead-workspace", principal.workspace_id.encode("ascii")),
            (b"x-keystead-key", principal.id.encode("ascii")),
            (b"x-keystead-scopes", str(principal.scopes).encode("ascii")),
            (b"x-keystead-metadata", urlsafe_b64encode(compact_json(principal.metadata))),
            NO_STORE,
            self._server,
        ]
        expires_at = principal.expires_at
        start = expiring = _start(fields)
        if expires_at is not None:
            expiry = (b"keystead-key-expires", format_instant(expires_at).encode("ascii"))
            expiring = _start([*fields, expiry])
        starts = self._cache[principal.id] = (principal, expires_at, expiring, start)
        return starts


def _start(fields: Sequence[Header]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": fields}


class IntrospectionAnswers:
    """The responses of RFC 7662 section 2.2, cached for each key until what they say changes."""

    def __init__(self, server: Header) -> None:
        """`server`: the field that names the server, as `Problems.server` has it."""
        self._server = server
        self._cache: dict[str, tuple[ActiveToken, _Response]] = {}
        self._inactive = _response(b'{"active":false}', server)

    async def send(self, token: ActiveToken | None, send: Send) -> None:
        """Send the response. Every token that is not active gets the same one."""
        headers, body = self._inactive if token is None else self._of(token)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _of(self, token: ActiveToken) -> _Response:
        cached = self._cache.get(token.principal.id)
        if cached is not None and cached[0] == token:
            return cached[1]
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        response = _response(_introspection(token), self._server)
        self._cache[token.principal.id] = token, response
        return response


def _response(body: bytes, server: Header) -> _Response:
    length = (b"content-length", str(len(body)).encode())
    return [(b"content-type", b"application/json"), NO_STORE, server, length], body


def _introspection(token: ActiveToken) -> bytes:
    """Return the body of an active token: times in whole seconds, `exp` only if the key expires."""
    key, details = token
    members: dict[str, object] = {
        "active": True,
        "scope": str(key.scopes),
        "client_id": key.id,
        "sub": key.workspace_id,
        "iat": details.created_at // 1_000_000,
        "token_type": "Bearer",
        "workspace": {
            "id": key.workspace_id,
            "name": details.workspace_name,
            "plan": details.plan_id,
        },
        "networks": list(key.networks),
        "metadata": key.metadata,
        "renewal": None if key.renewal is None else {"until": _instant(key.renewal.until)},
    }
    if key.expires_at is not None:
        members["exp"] = int(key.expires_at.timestamp())
    return json.dumps(members, separators=(",", ":")).encode("ascii")


def _instant(time: datetime | None) -> str | None:
    return None if time is None else format_instant(time)


class OAuthProblems(Problems):
    """Problems with RFC 6749's `error`, which OAuth clients read; they name the credential of services."""

    @override
    def body(self, error: KeysteadError) -> dict[str, object]:
        code = _ERRORS.get(STATUS[error.code], "invalid_request")
        return super().body(error) | _CREDENTIAL.get(error.code, {}) | {"error": code}


async def read_form(scope: Scope, receive: Receive, *needed: str) -> dict[str, str]:
    """Return the posted form, in which no `needed` field is empty.

    Raises:
        TooLarge, UnsupportedMediaType, InvalidRequest: The body is not a form with these fields, each once.
    """
    head = record_of(scope).head
    data = await read_body(receive, FORM_LIMIT, head.body_length)
    if data:
        require_unencoded(scope["headers"])
        types = head.values(b"content-type")
        require_form(types[-1] if types else None)
    form = unique_fields(decode_form(data, MAX_FIELDS))
    for name in needed:
        if not form.get(name):
            raise InvalidRequest(f"The form needs the field `{name}`.")
    return form
