"""`POST /introspect` (RFC 7662): is this token good? For the product's services, with a credential of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from keystead.domain.credentials import Credential, CredentialKind
from keystead.domain.errors import InvalidToken, NotFound, Unauthenticated
from keystead.gate.forms import read_form
from keystead.http import basic
from keystead.http.asgi import Answer, Receive, Scope, Send, send_answer
from keystead.http.problems import MethodNotAllowed, Problems
from keystead.http.record import note_caller, note_route
from keystead.services import Services
from keystead.services.introspection import Standing

PATH: Final = "/introspect"

Asked = TypeVar("Asked")
Found = TypeVar("Found")

_JSON: Final = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
_INACTIVE: Final = Answer(200, _JSON, b'{"active":false}')


class Introspection:
    """An ASGI application, for a `Stack`.

    `inline`: read on the event loop's thread, for a database that answers in microseconds (SQLite): handing over to
    another thread and back would take longer.
    """

    def __init__(self, services: Services, problems: Problems, *, inline: bool) -> None:
        self._services, self._problems, self._inline = services, problems, inline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: http. KeysteadError for what is refused, aside from a credential that is missing or no good."""
        if scope["path"] != PATH:
            raise NotFound
        note_route(scope, PATH)
        if scope["method"] != "POST":
            raise MethodNotAllowed("POST")
        try:
            presented = basic.read_client(scope["headers"])
            caller = await self._done(self._admit, presented)
        except (Unauthenticated, InvalidToken) as refusal:
            await send_answer(send, self._challenged(refusal))
            return
        note_caller(scope, key_id=caller.id, workspace_id=None)
        form = await read_form(scope, receive)
        found = await self._done(self._services.introspection.introspect, form["token"])
        await send_answer(send, _INACTIVE if found is None else _told(found))

    async def _done(self, read: Callable[[Asked], Found], asked: Asked) -> Found:
        return read(asked) if self._inline else await asyncio.to_thread(read, asked)

    def _admit(self, presented: basic.Presented) -> Credential:
        caller = self._services.credentials.verify(presented.token, *CredentialKind)
        if presented.client_id not in {None, caller.id}:
            raise InvalidToken
        return caller

    def _challenged(self, refusal: Unauthenticated | InvalidToken) -> Answer:
        """Both ways of sending a credential, which only this call has."""
        answer = self._problems.answer(refusal)
        return replace(answer, headers=(*answer.headers, basic.CHALLENGE))


def _told(found: Standing) -> Answer:
    """RFC 7662 section 2.2; instants in whole seconds, `exp` only where there is an end."""
    key, issue = found.principal, found.issue
    told: dict[str, object] = {
        "active": True,
        "scope": str(key.scopes),
        "client_id": key.id,
        "sub": key.workspace_id,
        "iat": int(issue.at.timestamp()),
        "token_type": "Bearer",
        "workspace": {"id": key.workspace_id, "name": issue.workspace_name, "plan": issue.plan_id},
    }
    if key.expires_at is not None:
        told["exp"] = int(key.expires_at.timestamp())
    return Answer(200, _JSON, json.dumps(told, separators=(",", ":")).encode("ascii"))
