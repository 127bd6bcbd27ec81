"""Reading a request's body within bounds of size and time. What the bytes mean is json_body.py's question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from starlette.concurrency import run_in_threadpool

from keystead.domain.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from keystead.http.asgi import Header, Message, Receive

KIB = 1024
MIB = 1024 * KIB
JSON_LIMIT = 64 * KIB
"""Bytes of a JSON body, where the call does not name another bound."""


class EncodedBody(UnsupportedMediaType):
    """The body has a Content-Encoding, such as gzip, which nothing here reads (RFC 9110 section 8.4)."""


def require_unencoded(headers: Iterable[Header]) -> None:
    """EncodedBody if raw ASGI `headers` name a Content-Encoding other than identity."""
    for name, value in headers:
        if name == b"content-encoding" and value.strip(b" \t").lower() not in {b"", b"identity"}:
            raise EncodedBody("Send the body without a Content-Encoding.")


async def read_body(receive: Receive, limit: int, content_length: int | None = None) -> bytes:
    """The whole body, at most `limit` bytes.

    TooLarge as soon as it is known: from `content_length` before a byte is read, else at the first byte too many.
    InvalidRequest when the client leaves in the middle.
    """
    if content_length is not None and content_length > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        chunk, more = _part(await receive())
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _part(message: Message) -> tuple[bytes, bool]:
    if message["type"] != "http.request":
        raise InvalidRequest("The body ended early.")
    return message.get("body", b""), message.get("more_body", False)


def _goes_on(message: Message) -> bool:
    more: bool = message["type"] == "http.request" and message.get("more_body", False)
    return more


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is over {limit:,} bytes.")


class BoundedBody:
    """A `receive` for everything behind the stack: the body has arrived by the deadline and is at most `limit` bytes.

    The server's own time-out ends with the header fields; without this one, a body that trickles in is held for ever.
    InvalidRequest when it is late, TooLarge when it is over. After the body, it waits for the client as long as asked.
    """

    __slots__ = ("_deadline", "_left", "_limit", "_more", "_receive", "_seconds")

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        self._receive, self._seconds = receive, seconds
        self._limit = self._left = limit
        self._more, self._deadline = True, 0.0

    async def receive(self) -> Message:
        """The next message of the server."""
        if not self._more:
            return await self._receive()
        message = await self._in_time()
        self._more = _goes_on(message)
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _too_large(self._limit)
        return message

    async def discard(self, limit: int, seconds: float) -> None:
        """Read what is left and forget it: about `limit` bytes, for `seconds`, and never past the deadline of the body.

        For after an answer. A connection that is closed over unread bytes is reset: the client may lose the answer, or
        the next request that it sends on the same connection (RFC 9112 section 9.6).
        """
        end = asyncio.get_running_loop().time() + seconds
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(end, self._deadline or end)):
                while self._more and limit > 0:
                    message = await self._receive()
                    self._more = _goes_on(message)
                    limit -= len(message.get("body", b""))

    async def _in_time(self) -> Message:
        # Counted from the first read: before it, the head may take the time that the server gives it.
        self._deadline = self._deadline or asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError:
            raise InvalidRequest(f"The body did not arrive within {self._seconds:g} s.") from None


LARGE: Final = 64 * KIB
"""Bytes beyond which a body takes a place."""
PARSED_AT_ONCE: Final = 2
"""Large bodies that one process parses at a time, at most one of each workspace."""
HELD_AT_ONCE: Final = 4
"""Large bodies of one workspace that one process holds at a time, from the first byte to the answer."""

T = TypeVar("T")


class _Share:
    """The places of one owner."""

    __slots__ = ("__weakref__", "held", "parsing")

    def __init__(self) -> None:
        self.held, self.parsing = asyncio.Semaphore(HELD_AT_ONCE), asyncio.Lock()


class LargeBodies:
    """Places for large bodies, for one event loop; an owner (a workspace) never has all of them."""

    def __init__(self) -> None:
        self._parsing = asyncio.Semaphore(PARSED_AT_ONCE)
        self._shares: WeakValueDictionary[str, _Share] = WeakValueDictionary()

    @asynccontextmanager
    async def held(self, owner: str, length: int | None) -> AsyncIterator[None]:
        """Hold a body of `length` bytes (None: not announced); wait while the owner holds too many already.

        A body that waits has not been read, so it takes no memory here.
        """
        if length is not None and length <= LARGE:
            yield
            return
        share = self._of(owner)
        async with share.held:
            yield

    async def parse(self, owner: str, decode: Callable[[], T], length: int) -> T:
        """The result of `decode`, which reads `length` bytes on a thread."""
        if length <= LARGE:
            return await run_in_threadpool(decode)
        share = self._of(owner)
        # The owner's own lock comes first: the queue for the shared places has one body of each owner at most, so they
        # are served in turn, however many one of them sends.
        async with share.parsing, self._parsing:
            return await run_in_threadpool(decode)

    def _of(self, owner: str) -> _Share:
        return self._shares.setdefault(owner, _Share())
