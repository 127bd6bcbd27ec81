"""HTTP requests with times: each response has the time at which its request began and ended."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

TIMEOUT_SECONDS: Final = 10.0
IDLE_NANOSECONDS: Final = 2_000_000_000
"""After this time without a request we reconnect, since servers close idle connections."""
NO_ANSWER: Final = 0
"""The status of a request without a response."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: status (0: none), body, and when the request began and ended, in monotonic nanoseconds.

    `opened`: when its connection was established.
    """

    status: int
    began: int
    ended: int
    body: bytes = field(default=b"", repr=False)
    opened: int = 0

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Connection:
    """A persistent connection, opened again after it was closed.

    A request begins just before it is sent, after the connection was established: if it is accepted, the server
    verified the key later than that. It ends when the response has been read.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        self._path = parts.path.rstrip("/")
        self._used = self._opened = 0
        self._head = _bearer(token)
        host = parts.hostname or ""
        self._http: HTTPConnection = (
            HTTPSConnection(
                host,
                parts.port,
                timeout=TIMEOUT_SECONDS,
                context=ssl.create_default_context(),
            )
            if parts.scheme == "https"
            else HTTPConnection(host, parts.port, timeout=TIMEOUT_SECONDS)
        )

    def get(self, path: str, token: str | None = None) -> Reply:
        """Send a GET, with the connection's token or another one."""
        return self._ask("GET", path, _bearer(token) if token else self._head)

    def send(self, method: str, path: str, value: object = None, token: str | None = None) -> Reply:
        """Send a request of another method, with a JSON body unless `value` is None."""
        head = dict(_bearer(token) if token else self._head)
        body = None if value is None else json.dumps(value).encode()
        if body is not None:
            head["Content-Type"] = "application/json"
        return self._ask(method, path, head, body)

    def post_form(self, path: str, credential: str | None = None, **fields: str) -> Reply:
        """POST a form, with no other credential than the given one."""
        head = {"Content-Type": "application/x-www-form-urlencoded"} | _bearer(credential)
        return self._ask("POST", path, head, urlencode(fields).encode())

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(
        self, method: str, path: str, head: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        began = time.monotonic_ns()
        if began - self._used > IDLE_NANOSECONDS:
            self._http.close()
        try:
            if self._http.sock is None:
                self._http.connect()
                self._opened = began = time.monotonic_ns()
            self._http.request(method, self._path + path, body, head)
            answer = self._http.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            with suppress(OSError):
                self._http.close()
            return Reply(NO_ANSWER, began, time.monotonic_ns())
        self._used = time.monotonic_ns()
        return Reply(answer.status, began, self._used, content, self._opened)


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
