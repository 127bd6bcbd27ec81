"""What a gateway is told of a key that may pass: the header fields that it hands on to the service behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from keystead.domain.errors import InvalidRequest, InvalidToken, KeysteadError, Unauthenticated
from keystead.domain.instants import format_instant
from keystead.domain.keys import EXPIRES_SOON
from keystead.domain.principals import Principal
from keystead.http.asgi import Header, Message, Receive, Scope, Send
from keystead.http.body import KIB, read_body, require_unencoded
from keystead.http.form_body import decode_form, require_form
from keystead.http.problems import STATUS, Problems
from keystead.http.stack import NO_STORE, SERVER
from keystead.services.verifier import ActiveToken

MAX_KNOWN: Final = 10_000
"""Keys whose fields are kept made, some 10 MB; one more, and they are made anew."""

_Known = tuple[Principal, datetime | None, Message, Message]
"""Whom it is about; when that one ends; the begin of an answer where that is near, and where it is not."""


class Identities:
    """Makes the fields of a principal: workspace, key and scopes, always all three, so that none is a client's own.

    Their values are ids and scopes, which have no character that means anything in a field.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._known: dict[str, _Known] = {}

    def fields(self, principal: Principal) -> Sequence[Header]:
        """All that an answer needs, the key's end too where that is near."""
        headers: Sequence[Header] = self.start(principal)["headers"]
        return headers

    def start(self, principal: Principal) -> Message:
        """The begin of an answer with these fields: made once for as long as the principal is the same one.

        It is shared, and not to be changed.
        """
        known = self._known.get(principal.id)
        if known is None or known[0] is not principal:
            known = self._learn(principal)
        _, ends, soon, start = known
        return start if ends is None or ends - self._now() > EXPIRES_SOON else soon

    def _learn(self, principal: Principal) -> _Known:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        fields = [*_names(principal), NO_STORE, SERVER]
        ends = principal.expires_at
        start = _start(fields)
        soon = start if ends is None else _start([*fields, _end(ends)])
        known = self._known[principal.id] = (principal, ends, soon, start)
        return known


def _names(principal: Principal) -> list[Header]:
    return [
        (b"x-keystead-workspace", principal.workspace_id.encode("ascii")),
        (b"x-keystead-key", principal.id.encode("ascii")),
        (b"x-keystead-scopes", str(principal.scopes).encode("ascii")),
    ]


def _end(expires_at: datetime) -> Header:
    return b"keystead-key-expires", format_instant(expires_at).encode("ascii")


def _start(fields: Sequence[Header]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": fields}


_Made = tuple[list[Header], bytes]
"""All fields of an answer and its body."""


class Standings:
    """Makes the answers, each once for as long as what it says is the same."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ActiveToken, _Made]] = {}
        self._inactive = _made(b'{"active":false}')

    async def tell(self, found: ActiveToken | None, send: Send) -> None:
        """Sends the answer; the same one for whatever does not stand."""
        headers, body = self._inactive if found is None else self._of(found)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _of(self, found: ActiveToken) -> _Made:
        known = self._known.get(found.principal.id)
        if known is not None and known[0] == found:
            return known[1]
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        made = _made(_body(found))
        self._known[found.principal.id] = found, made
        return made


def _made(body: bytes) -> _Made:
    length = (b"content-length", str(len(body)).encode())
    return [(b"content-type", b"application/json"), NO_STORE, SERVER, length], body


def _body(found: ActiveToken) -> bytes:
    """Instants in whole seconds, `exp` only where there is an end."""
    key, metadata = found
    told: dict[str, object] = {
        "active": True,
        "scope": str(key.scopes),
        "client_id": key.id,
        "sub": key.workspace_id,
        "iat": metadata.created_at // 1_000_000,
        "token_type": "Bearer",
        "workspace": {
            "id": key.workspace_id,
            "name": metadata.workspace_name,
            "plan": metadata.plan_id,
        },
    }
    if key.expires_at is not None:
        told["exp"] = int(key.expires_at.timestamp())
    return json.dumps(told, separators=(",", ":")).encode("ascii")


MAX_BODY: Final = 64 * KIB

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


class OAuthProblems(Problems):
    """Problems that carry RFC 6749's `error` as well, and name the credential that services have."""

    def body(self, error: KeysteadError) -> dict[str, object]:
        """The members of the problem, then `error`, which OAuth clients read."""
        word = _ERRORS.get(STATUS[error.code], "invalid_request")
        return super().body(error) | _CREDENTIAL.get(error.code, {}) | {"error": word}


async def read_form(scope: Scope, receive: Receive) -> dict[str, str]:
    """The form of a request, `token` being there. TooLarge, UnsupportedMediaType or InvalidRequest."""
    fields = dict(scope["headers"])
    length = fields.get(b"content-length")
    data = await read_body(receive, MAX_BODY, int(length) if length else None)
    if data:
        require_unencoded(scope["headers"])
        require_form(fields.get(b"content-type"))
    form = decode_form(data)
    if not form.get("token"):
        raise InvalidRequest("The form needs the field `token`.")
    return form
