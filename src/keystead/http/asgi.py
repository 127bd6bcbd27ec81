"""The shapes of ASGI 3.0, whole answers, and the header fields that many answers share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

Header = tuple[bytes, bytes]

NO_STORE: Final[Header] = (b"cache-control", b"no-store")


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response: status, header fields with lower-case names, body."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


async def send_answer(send: Send, answer: Answer) -> None:
    """Send `answer` with its Content-Length, which a 204 must not have (RFC 9110 section 8.6)."""
    headers = list(answer.headers)
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
