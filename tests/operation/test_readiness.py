"""`/readyz` for strangers: whether the server is ready, and nothing about the reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from keystead.domain.errors import DiskFull, Unavailable
from keystead.http.asgi import Message, Scope
from keystead.http.problems import Problems
from keystead.http.stack import Stack
from keystead.operation.health import Health


def ask(ping: Callable[[], None], path: str = "/readyz") -> tuple[int, dict[str, str], bytes]:
    """Return the response of a server whose database answers like that."""
    app = Stack(Health(ping), Problems("https://keys.example"))
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"keys.example")],
        "client": ("198.51.100.7", 50000),
        "server": ("127.0.0.1", 8080),
    }
    asyncio.run(app(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, sent[1]["body"]


@pytest.mark.parametrize(
    "error", [Unavailable("The host db.internal refuses."), DiskFull("No room on /var/lib.")]
)
def test_not_ready_says_no_more(error: Exception) -> None:
    """Each cause has one response: 503, Retry-After and one word, without a code or a text."""

    def ping() -> None:
        raise error

    status, headers, body = ask(ping)
    assert (status, json.loads(body)) == (503, {"status": "unavailable"})
    assert int(headers["retry-after"]) > 0


def test_ready() -> None:
    """A database that answers: 200, with as little."""
    status, _, body = ask(lambda: None)
    assert (status, json.loads(body)) == (200, {"status": "ok"})
