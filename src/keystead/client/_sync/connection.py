"""A connection to a server, over httpx2."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ssl import SSLContext
from typing import TypeVar

import httpx2

from keystead.client.connection import BaseConnection
from keystead.client.errors import Unreachable
from keystead.client.exchange import Patience, Reply, result_of, wait_before_retry
from keystead.client.requests import Request
from keystead.client.results import Page

T = TypeVar("T")


class Connection(BaseConnection):
    """A connection. Threads may share it."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        agent: str,
        timeout: float,
        patience: Patience | None,
        tls: SSLContext | None,
        transport: httpx2.BaseTransport | None,
    ) -> None:
        super().__init__(url, token, patience)
        self._http = httpx2.Client(**self._options(agent, timeout, tls), transport=transport)

    def send(self, request: Request, kind: type[T]) -> T:
        """Return the result of a request as a `kind`. Sends it again as the patience allows.

        Raises Problem, Unreachable, UnexpectedAnswer or TokenLost.
        """
        failures = 0
        while True:
            outcome = self._attempt(request)
            if isinstance(outcome, Reply) and outcome.is_success:
                return result_of(outcome, kind)
            failures += 1
            time.sleep(wait_before_retry(request, outcome, failures, self.patience))

    def paginate(self, request: Request, kind: type[Page[T]]) -> Iterator[T]:
        """Yield every item of a list, beginning with the page that `request` names."""
        while True:
            page = self.send(request, kind)
            yield from page.items
            if page.next_cursor is None:
                return
            request = request.at(page.next_cursor)

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def _attempt(self, request: Request) -> Reply | Unreachable:
        try:
            return self._reply(self._http.request(**self._arguments(request)))
        except httpx2.RequestError as error:
            return self._unreachable(error)


class Resource:
    """A resource of the API, over a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
