"""Bodies of requests: the limits of size and time, and reading within them. Other modules decode the bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from keystead.domain.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from keystead.http.asgi import Header, Message, Receive
from keystead.services.concurrency import FairSemaphore

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAX_BODY: Final = 10 * MIB
"""Bytes of any body, and of a push of documents."""
DOCUMENT_LIMIT: Final = 512 * KIB
JSON_LIMIT: Final = 64 * KIB
"""Bytes of a JSON body, unless the call sets another limit."""
FORM_LIMIT: Final = 64 * KIB
BODY_SECONDS: Final = 15.0
"""How long a body may take to arrive."""
DISCARD_SECONDS: Final = 5.0
"""How long the server goes on reading an unread body after its answer."""
LARGE: Final = 64 * KIB
"""Bytes beyond which a body is large, and takes a place."""
PARSED_AT_ONCE: Final = 2
"""Large bodies that one process parses at a time, at most one of each workspace."""
HELD_AT_ONCE: Final = 4
"""Large bodies of one workspace that one process holds at a time, from the first byte to the answer."""

T = TypeVar("T")


class EncodedBody(UnsupportedMediaType):
    """The body has a Content-Encoding, such as gzip, which no reader here supports (RFC 9110 section 8.4)."""


def require_unencoded(headers: Iterable[Header]) -> None:
    """Raise EncodedBody if raw ASGI `headers` name a Content-Encoding other than identity."""
    for name, value in headers:
        if name == b"content-encoding" and value.strip(b" \t").lower() not in {b"", b"identity"}:
            raise EncodedBody("Send the body without a Content-Encoding.")


async def read_body(receive: Receive, limit: int, content_length: int | None = None) -> bytes:
    """Return the whole body, at most `limit` bytes.

    Raises:
        TooLarge: As early as possible: for `content_length` before a byte is read, else at the first byte too many.
        InvalidRequest: The client disconnected before the end.
    """
    if content_length is not None and content_length > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise InvalidRequest("The body ended early.")
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _has_more(message: Message) -> bool:
    more: bool = message["type"] == "http.request" and message.get("more_body", False)
    return more


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is over {limit:,} bytes.")


class BoundedBody:
    """A `receive` for the applications behind the stack, with a limit of bytes and a deadline for the body.

    The server's own timeout covers the header fields only; without this one, a body that trickles in holds its request
    for ever. After the body, `receive` waits for a disconnect without a deadline.
    """

    __slots__ = ("_announced", "_deadline", "_left", "_limit", "_more", "_receive", "_seconds")

    def __init__(
        self, receive: Receive, limit: int, seconds: float, announced: int | None = None
    ) -> None:
        """`announced`: the length in bytes that the head gives, if it does."""
        self._receive, self._seconds, self._announced = receive, seconds, announced
        self._limit = self._left = limit
        self._more, self._deadline = True, 0.0

    async def receive(self) -> Message:
        """Return the next message of the server. InvalidRequest if the body is late, TooLarge if it is too long."""
        if not self._more:
            return await self._receive()
        message = await self._before_deadline()
        self._more = _has_more(message)
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _too_large(self._limit)
        # The server reports the end of a body in another message, which takes as long to get as the bytes did.
        if self._more and self._limit - self._left == self._announced:
            self._more = False
            return {**message, "more_body": False}
        return message

    async def discard(self, limit: int = MAX_BODY, seconds: float = DISCARD_SECONDS) -> None:
        """Read and drop the rest of the body: about `limit` bytes, for `seconds`, and never past the body's deadline.

        For after an answer: closing a connection over unread bytes resets it, so the client could lose the answer, or
        the next request on the same connection (RFC 9112 section 9.6).
        """
        if not self._more:
            return
        end = asyncio.get_running_loop().time() + seconds
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(end, self._deadline or end)):
                while self._more and limit > 0:
                    message = await self._receive()
                    self._more = _has_more(message)
                    limit -= len(message.get("body", b""))

    async def _before_deadline(self) -> Message:
        # The clock starts at the first read: before it, the head may use the time that the server gives it.
        self._deadline = self._deadline or asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError:
            raise InvalidRequest(f"The body did not arrive within {self._seconds:g} s.") from None


class LargeBodies:
    """Limits for the large bodies of one process, so that no owner (a workspace) takes all its memory or processors."""

    def __init__(self) -> None:
        self._parsing = FairSemaphore(PARSED_AT_ONCE)
        self._held: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def held(self, owner: str, length: int | None) -> AbstractAsyncContextManager[None]:
        """Return a context that holds a body of `length` bytes (None: not announced), and waits if the owner has many.

        A waiting body has not been read, so it takes no memory here.
        """
        if length is not None and length <= LARGE:
            return nullcontext()
        # Weak values: an owner's semaphore lasts while one of its requests refers to it.
        return self._held.setdefault(owner, asyncio.Semaphore(HELD_AT_ONCE))

    async def parse(self, owner: str, decode: Callable[[], T], length: int) -> T:
        """Return the result of `decode`, which reads `length` bytes on a thread."""
        if length <= LARGE:
            return await asyncio.to_thread(decode)
        # An owner's share of two permits is one (`domain.shares`), so no owner waits for another's whole queue.
        async with self._parsing.held(owner):
            return await asyncio.to_thread(decode)
