"""`POST /revoke` (RFC 7009): end this token. For everybody: the token itself is the proof that it may be ended."""

from __future__ import annotations

import asyncio
from typing import Final

from keystead.domain.errors import NotFound
from keystead.domain.events import Origin
from keystead.gate.forms import read_form
from keystead.http.asgi import Answer, Receive, Scope, Send, send_answer
from keystead.http.problems import MethodNotAllowed
from keystead.http.record import client_of, note_route
from keystead.services import Services

PATH: Final = "/revoke"

_DONE: Final = Answer(200, ((b"cache-control", b"no-store"),), b"")


class Revocation:
    """An ASGI application, for a `Stack`. Its one good answer tells nothing of the token (section 2.2)."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: http. KeysteadError for what is refused; a live token is dead when the answer is sent."""
        if scope["path"] != PATH:
            raise NotFound
        note_route(scope, PATH)
        if scope["method"] != "POST":
            raise MethodNotAllowed("POST")
        form = await read_form(scope, receive)
        client = client_of(scope)
        origin = Origin(client.address or None, client.request_id)
        await asyncio.to_thread(self._services.revocation.revoke, form["token"], origin)
        await send_answer(send, _DONE)
