"""The shapes of ASGI 3.0 and one whole answer. Nothing here reads a request or decides anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response: status, header fields with lower-case names, body."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


async def send_answer(send: Send, answer: Answer) -> None:
    """Send the whole of `answer`, its length first."""
    length = (b"content-length", str(len(answer.body)).encode())
    start = {"type": "http.response.start", "status": answer.status}
    await send({**start, "headers": [*answer.headers, length]})
    await send({"type": "http.response.body", "body": answer.body})
