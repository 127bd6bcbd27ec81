"""What large bodies may take: memory while they arrive and wait, and a processor while they are parsed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from starlette.concurrency import run_in_threadpool

from keystead.http.body import KIB

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
