# Generated from client/_sync/connection.py by `make async-client`; do not edit.
"""A connection to a server, over httpx2."""

from __future__ import annotations

from ssl import SSLContext

import httpx2

from keystead.client._async.sending import AsyncSender
from keystead.client.connection import BaseConnection
from keystead.client.errors import Unreachable
from keystead.client.exchange import Patience, Reply, Write
from keystead.client.requests import Request


class AsyncConnection(BaseConnection, AsyncSender):
    """A connection. It belongs to one event loop."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        agent: str,
        timeout: float,
        patience: Patience | None,
        tls: SSLContext | None,
        transport: httpx2.AsyncBaseTransport | None,
    ) -> None:
        super().__init__(url, token, patience)
        self._http = httpx2.AsyncClient(**self._options(agent, timeout, tls), transport=transport)

    async def close(self) -> None:
        """Close the sockets."""
        await self._http.aclose()

    async def _attempt(self, request: Request) -> Reply | Unreachable:
        try:
            return self._reply(await self._http.request(**self._arguments(request)))
        except httpx2.RequestError as error:
            return self._unreachable(error)

    async def _receive(self, request: Request, write: Write) -> Reply | Unreachable:
        try:
            async with self._http.stream(**self._arguments(request)) as response:
                if response.is_success:
                    async for part in response.aiter_bytes():
                        write(part)
                    return Reply(response.status_code, dict(response.headers), b"")
                await response.aread()
                return self._reply(response)
        except httpx2.RequestError as error:
            return self._unreachable(error)
