"""A connection to a server, over httpx2."""

from __future__ import annotations

from ssl import SSLContext

import httpx2

from keystead.client._sync.sending import Sender
from keystead.client.connection import BaseConnection
from keystead.client.errors import Unreachable
from keystead.client.exchange import Patience, Reply, Write
from keystead.client.requests import Request


class Connection(BaseConnection, Sender):
    """A connection. Threads may share it."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        agent: str,
        timeout: float,
        patience: Patience | None,
        tls: SSLContext | None,
        transport: httpx2.BaseTransport | None,
    ) -> None:
        super().__init__(url, token, patience)
        self._http = httpx2.Client(**self._options(agent, timeout, tls), transport=transport)

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def _attempt(self, request: Request) -> Reply | Unreachable:
        try:
            return self._reply(self._http.request(**self._arguments(request)))
        except httpx2.RequestError as error:
            return self._unreachable(error)

    def _receive(self, request: Request, write: Write) -> Reply | Unreachable:
        try:
            with self._http.stream(**self._arguments(request)) as response:
                if response.is_success:
                    for part in response.iter_bytes():
                        write(part)
                    return Reply(response.status_code, dict(response.headers), b"")
                response.read()
                return self._reply(response)
        except httpx2.RequestError as error:
            return self._unreachable(error)
