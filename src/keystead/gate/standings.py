"""What a service is told of a token, in the words of RFC 7662 section 2.2."""

from __future__ import annotations

import json
from typing import Final

from keystead.http.asgi import Header, Send
from keystead.http.stack import NO_STORE, SERVER
from keystead.services.introspection import Standing

MAX_KNOWN: Final = 10_000
"""Keys whose answers are kept made, some 10 MB; one more, and they are made anew."""

_Made = tuple[list[Header], bytes]
"""All fields of an answer and its body."""


class Standings:
    """Makes the answers, each once for as long as what it says is the same."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Standing, _Made]] = {}
        self._inactive = _made(b'{"active":false}')

    async def tell(self, found: Standing | None, send: Send) -> None:
        """Sends the answer; the same one for whatever does not stand."""
        headers, body = self._inactive if found is None else self._of(found)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _of(self, found: Standing) -> _Made:
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


def _body(found: Standing) -> bytes:
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
