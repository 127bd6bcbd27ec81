"""Sending requests, over whatever reaches the API."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
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


class Sender(ABC):
    """A way to the API, which makes one attempt at a time. Threads may share it."""

    url: str
    patience: Patience
    key_expires_at: datetime | None = None

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

    def download(self, request: Request, write: Write) -> None:
        """Pass the response's body to `write`, part by part. The request isn't repeated: parts may have been written.

        Raises Problem, Unreachable or UnexpectedAnswer.
        """
        outcome = self._receive(request, write)
        if not (isinstance(outcome, Reply) and outcome.is_success):
            wait_before_retry(request, outcome, 1, NO_PATIENCE)

    @abstractmethod
    def close(self) -> None:
        """Close what it holds open."""

    @abstractmethod
    def _attempt(self, request: Request) -> Reply | Unreachable:
        """Send the request once."""

    @abstractmethod
    def _receive(self, request: Request, write: Write) -> Reply | Unreachable:
        """Send the request once. The body of a success is written, and not in the reply."""


class Resource:
    """A resource of the API."""

    def __init__(self, sender: Sender) -> None:
        self._connection = sender
