"""`POST /revoke` (RFC 7009): revoke a token. Anyone may call it: holding the token is the permission to revoke it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from keystead.domain.errors import NotFound
from keystead.domain.events import Origin
from keystead.domain.product import OURS, Product
from keystead.domain.throttle import address_subject
from keystead.gate.answers import OAuthProblems, read_form
from keystead.http.asgi import NO_STORE, Answer, Receive, Scope, Send, send_answer
from keystead.http.client import Network, client_of, note_route
from keystead.http.problems import MethodNotAllowed
from keystead.http.stack import OnResponse, Stack
from keystead.services import Services
from keystead.services.concurrency import FairThreadPool

PATH: Final = "/revoke"

REVOCATIONS: Final = 8
"""Concurrent revocations of one process. Each may wait for the lock of its token's workspace."""

_DONE: Final = Answer(200, (NO_STORE,), b"")


class Revocation:
    """The ASGI application, with its own `Stack`, so that all its refusals have OAuth's members.

    Its one success response reveals nothing about the token (section 2.2).
    """

    def __init__(
        self,
        services: Services,
        base_url: str,
        *,
        product: Product = OURS,
        proxies: Sequence[Network] = (),
        on_response: OnResponse | None = None,
    ) -> None:
        """`base_url`: where the pages of problems are, without a slash at the end."""
        self._services = services
        self._threads = FairThreadPool(REVOCATIONS, "revoke")
        problems = OAuthProblems(base_url, product)
        self._stack = Stack(self._revoke, problems, proxies=proxies, on_response=on_response)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        await self._stack(scope, receive, send)

    async def _revoke(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Revoke the token before the answer is sent. Runs behind the stack."""
        if scope["path"] != PATH:
            raise NotFound
        note_route(scope, PATH)
        if scope["method"] != "POST":
            raise MethodNotAllowed("POST")
        token = (await read_form(scope, receive, "token"))["token"]
        client = client_of(scope)
        origin = Origin(client.address or None, client.request_id)
        # The token's workspace isn't known yet, so each address has its share.
        revoke = partial(self._services.revocation.revoke, token, origin)
        await self._threads.run(address_subject(client.address), revoke)
        await send_answer(send, _DONE)
