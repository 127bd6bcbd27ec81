# Generated from client/_sync/connection.py by `make async-client`; do not edit.
"""A connection to a server, over httpx2."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ssl import SSLContext
from typing import TypeVar

import httpx2

from keystead.client.connection import BaseConnection
from keystead.client.errors import Unreachable
from keystead.client.exchange import Patience, Reply, result_of, wait_before_retry
from keystead.client.requests import Request
from keystead.client.results import Page

T = TypeVar("T")


class AsyncConnection(BaseConnection):
    """A connection. It belongs to one event loop."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        agent: str,
        timeout: float,
        patience: Patience | None,
        tls: SSLContext | None,
        transport: httpx2.AsyncBaseTransport | None,
    ) -> None:
        super().__init__(url, token, patience)
        self._http = httpx2.AsyncClient(**self._options(agent, timeout, tls), transport=transport)

    async def send(self, request: Request, kind: type[T]) -> T:
        """Return the result of a request as a `kind`. Sends it again as the patience allows.

        Raises Problem, Unreachable, UnexpectedAnswer or TokenLost.
        """
        failures = 0
        while True:
            outcome = await self._attempt(request)
            if isinstance(outcome, Reply) and outcome.is_success:
                return result_of(outcome, kind)
            failures += 1
            await asyncio.sleep(wait_before_retry(request, outcome, failures, self.patience))

    async def paginate(self, request: Request, kind: type[Page[T]]) -> AsyncIterator[T]:
        """Yield every item of a list, beginning with the page that `request` names."""
        while True:
            page = await self.send(request, kind)
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            request = request.at(page.next_cursor)

    async def close(self) -> None:
        """Close the sockets."""
        await self._http.aclose()

    async def _attempt(self, request: Request) -> Reply | Unreachable:
        try:
            return self._reply(await self._http.request(**self._arguments(request)))
        except httpx2.RequestError as error:
            return self._unreachable(error)


class AsyncResource:
    """A resource of the API, over a connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
