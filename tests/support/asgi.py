"""Requests as a server passes them (ASGI scopes), without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from keystead.http.asgi import App, Header, Message

HOST: Header = (b"host", b"keys.example.com")


@dataclass(frozen=True, slots=True)
class Response:
    """The response to a request."""

    status: int
    headers: list[Header]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the only value of a field, or None if it is absent."""
        values = [value.decode() for key, value in self.headers if key == name.encode()]
        assert len(values) < 2, f"{name} stands {len(values)} times"
        return values[0] if values else None

    def json(self) -> Any:
        """Return the decoded body."""
        return json.loads(self.body)


def scope_of(
    method: str = "GET", path: str = "/", headers: Iterable[Header] = (HOST,), **more: Any
) -> dict[str, Any]:
    """Return an HTTP scope like granian's: the client's port is text, the path decoded, names in lower case."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", "50000"),
        "state": {},
        **more,
    }


def call(app: App, scope: dict[str, Any], chunks: Sequence[bytes] = (b"",)) -> Response:
    """Send one request, its body in `chunks`, and collect the answer."""
    sent: list[Message] = []
    parts = [
        {"type": "http.request", "body": chunk, "more_body": left > 0}
        for left, chunk in zip(reversed(range(len(chunks))), chunks, strict=True)
    ]

    async def receive() -> Message:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(_drive(app, scope, receive, send))
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1
    body = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
    return Response(starts[0]["status"], list(starts[0]["headers"]), body)


async def _drive(app: App, *connection: Any) -> None:
    await app(*connection)
