"""`POST /revoke` (RFC 7009): end this token. For everybody: the token itself is the proof that it may be ended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from keystead.domain.errors import NotFound
from keystead.domain.events import Origin
from keystead.domain.throttle import address_subject
from keystead.gate.answers import OAuthProblems, read_form
from keystead.http.asgi import Answer, Receive, Scope, Send, send_answer
from keystead.http.client import Network, client_of, note_route
from keystead.http.problems import MethodNotAllowed
from keystead.http.stack import OnResponse, Stack
from keystead.services import Services
from keystead.services.concurrency import FairThreadPool

PATH: Final = "/revoke"

REVOCATIONS: Final = 8
"""Revocations of one process at the same time. Each may wait for the lock of its token's workspace."""

_DONE: Final = Answer(200, ((b"cache-control", b"no-store"),), b"")


class Revocation:
    """An ASGI application of its own, with its own `Stack`, so that all its refusals are those of OAuth.

    Its one good answer says nothing about the token (section 2.2).
    """

    def __init__(
        self,
        services: Services,
        base_url: str,
        *,
        proxies: Sequence[Network] = (),
        on_response: OnResponse | None = None,
    ) -> None:
        """`base_url`: where the pages of problems are, without a slash at the end."""
        self._services = services
        self._threads = FairThreadPool(REVOCATIONS, "revoke")
        problems = OAuthProblems(base_url)
        self._stack = Stack(self._revoke, problems, proxies=proxies, on_response=on_response)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: http."""
        await self._stack(scope, receive, send)

    async def _revoke(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Behind the stack. KeysteadError for what is refused; a live token is dead when the answer is sent."""
        if scope["path"] != PATH:
            raise NotFound
        note_route(scope, PATH)
        if scope["method"] != "POST":
            raise MethodNotAllowed("POST")
        form = await read_form(scope, receive)
        client = client_of(scope)
        origin = Origin(client.address or None, client.request_id)
        # The token's workspace isn't known yet, so each address has its share.
        revoke = partial(self._services.revocation.revoke, form["token"], origin)
        await self._threads.run(address_subject(client.address), revoke)
        await send_answer(send, _DONE)
