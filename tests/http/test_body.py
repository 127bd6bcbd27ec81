"""Bodies are read within bounds of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from keystead.domain.errors import InvalidRequest, TooLarge
from keystead.http.asgi import Message
from keystead.http.body import BoundedBody, read_body


class Wire:
    """A server's side of a body: parts that arrive, then silence, or the client disconnects."""

    def __init__(self, parts: Sequence[bytes], *, ends: bool = True, leaves: bool = False) -> None:
        self.read = 0
        self._parts, self._ends, self._leaves = parts, ends, leaves

    async def receive(self) -> Message:
        """Return the next part."""
        if self.read == len(self._parts):
            if self._leaves:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        self.read += 1
        last = self._ends and self.read == len(self._parts)
        return {"type": "http.request", "body": self._parts[self.read - 1], "more_body": not last}


def test_a_body_arrives_whole_up_to_its_bound() -> None:
    """The body may have as many bytes as allowed, in any number of parts."""
    wire = Wire([b"ab", b"", b"cd"])
    assert asyncio.run(read_body(wire.receive, 4)) == b"abcd"
    assert asyncio.run(read_body(Wire([b""]).receive, 0)) == b""


def test_an_announced_excess_is_refused_unread() -> None:
    """A Content-Length over the bound is enough: no byte is read."""
    wire = Wire([b"abcde"])
    with pytest.raises(TooLarge):
        asyncio.run(read_body(wire.receive, 4, content_length=5))
    assert wire.read == 0


def test_an_unannounced_excess_is_refused_at_the_first_byte_too_many() -> None:
    """Without a length, reading ends with the part that goes over, however much would follow."""
    wire = Wire([b"abc", b"de", b"never read"], ends=False)
    with pytest.raises(TooLarge):
        asyncio.run(read_body(wire.receive, 4))
    assert wire.read == 2


def test_a_client_that_leaves_in_the_middle_ends_the_reading() -> None:
    """Half a body is refused."""
    wire = Wire([b"abc"], ends=False, leaves=True)
    with pytest.raises(InvalidRequest):
        asyncio.run(read_body(wire.receive, 4))


def test_a_late_body_is_refused() -> None:
    """A body that has begun and does not end is refused at its deadline, however much has arrived."""
    body = BoundedBody(Wire([b"a", b"b"], ends=False).receive, 10, seconds=0.02)
    with pytest.raises(InvalidRequest):
        asyncio.run(read_body(body.receive, 10))


def test_a_trickle_does_not_move_the_deadline() -> None:
    """It is not enough that each part is in time: the whole body must be."""

    async def trickle() -> Message:
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b"a", "more_body": True}

    body = BoundedBody(trickle, 10**6, seconds=0.02)
    with pytest.raises(InvalidRequest):
        asyncio.run(asyncio.wait_for(read_body(body.receive, 10**6), 30))


def test_the_ceiling_holds_for_readers_without_a_bound() -> None:
    """Code without a bound of its own is stopped at the server's ceiling."""
    body = BoundedBody(Wire([b"abc"] * 5).receive, 8, seconds=5)
    with pytest.raises(TooLarge):
        asyncio.run(read_body(body.receive, 1_000))


def test_after_the_body_the_deadline_is_over() -> None:
    """Waiting for the client to disconnect, as a long response does, has no deadline."""

    async def outlive() -> None:
        body = BoundedBody(Wire([b"abc"]).receive, 8, seconds=0.001)
        await body.receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(body.receive(), 0.01)

    asyncio.run(outlive())


def test_an_announced_body_ends_with_its_last_byte() -> None:
    """The server's message of the end is not waited for; without a length, or before the last byte, it is."""
    for announced, read in ((4, 2), (None, 3), (5, 3)):
        wire = Wire([b"ab", b"cd", b""])
        body = BoundedBody(wire.receive, 100, 5, announced)
        assert asyncio.run(read_body(body.receive, 100)) == b"abcd"
        assert wire.read == read
        asyncio.run(body.discard(100, 5))
        assert wire.read == read


def test_an_unread_body_is_drained_up_to_its_bound() -> None:
    """The rest of a body is read to its end, or to about the bound; a body that was already read is not read again."""
    parts = [b"abc"] * 5
    for limit, read in ((100, 5), (7, 4), (0, 1)):
        wire = Wire(parts)
        body = BoundedBody(wire.receive, 100, seconds=5)

        async def leave(body: BoundedBody = body, limit: int = limit) -> None:
            await body.receive()
            await body.discard(limit, 5)

        asyncio.run(leave())
        assert wire.read == read
    whole = Wire([b"abc"])
    body = BoundedBody(whole.receive, 100, seconds=5)
    asyncio.run(read_body(body.receive, 100))
    asyncio.run(body.discard(100, 5))


def test_draining_a_body_has_a_deadline() -> None:
    """It ends at its own deadline, or at the body's if that is over; and if the client disconnects."""

    async def given_up(seconds: float, left: float) -> None:
        body = BoundedBody(Wire([b"a"], ends=False).receive, 10, seconds)
        with suppress(InvalidRequest):
            await read_body(body.receive, 10)
        await asyncio.wait_for(body.discard(10, left), 30)

    asyncio.run(given_up(0.01, 10**6))
    gone = BoundedBody(Wire([b"a"], ends=False, leaves=True).receive, 10, 5)
    asyncio.run(asyncio.wait_for(gone.discard(10, 10**6), 30))
    unread = BoundedBody(Wire([b"a"], ends=False).receive, 10, 5)
    asyncio.run(asyncio.wait_for(unread.discard(10, 0.01), 30))
