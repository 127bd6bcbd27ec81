# Generated from client/_sync/sending.py by `make async-client`; do not edit.
"""Sending requests, over whatever reaches the API."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TypeVar

from keystead.client.errors import Unreachable
from keystead.client.exchange import (
    NO_PATIENCE,
    Patience,
    Reply,
    Write,
    result_of,
    wait_before_retry,
)
from keystead.client.requests import Request
from keystead.client.results import Page

T = TypeVar("T")


class AsyncSender(ABC):
    """A way to the API, which makes one attempt at a time. It belongs to one event loop."""

    url: str
    patience: Patience
    key_expires_at: datetime | None = None

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

    async def download(self, request: Request, write: Write) -> None:
        """Pass the response's body to `write`, part by part. The request isn't repeated: parts may have been written.

        Raises Problem, Unreachable or UnexpectedAnswer.
        """
        outcome = await self._receive(request, write)
        if not (isinstance(outcome, Reply) and outcome.is_success):
            wait_before_retry(request, outcome, 1, NO_PATIENCE)

    @abstractmethod
    async def close(self) -> None:
        """Close what it holds open."""

    @abstractmethod
    async def _attempt(self, request: Request) -> Reply | Unreachable:
        """Send the request once."""

    @abstractmethod
    async def _receive(self, request: Request, write: Write) -> Reply | Unreachable:
        """Send the request once. The body of a success is written, and not in the reply."""


class AsyncResource:
    """A resource of the API."""

    def __init__(self, sender: AsyncSender) -> None:
        self._connection = sender
