"""Places for coroutines and threads: how many run at the same time, with a share for each owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from typing import TypeVar

from keystead.domain.shares import Shares

R = TypeVar("R")


class Places:
    """Places on one event loop. Each owner, mostly a workspace, has a share of them.

    Waiting costs a coroutine and no thread, so threads and connections stay free for other owners.
    """

    def __init__(self, places: int) -> None:
        self._shares: Shares[asyncio.Future[None]] = Shares(places)

    @asynccontextmanager
    async def of(self, owner: Hashable) -> AsyncIterator[None]:
        """Wait for a place, and hold it for the work inside."""
        await self.take(owner)
        try:
            yield
        finally:
            self.give_back(owner)

    async def take(self, owner: Hashable) -> None:
        """Wait for a place of the owner's share. `give_back` frees it; a cancelled waiter holds none."""
        if self._shares.take(owner):
            return
        mine = asyncio.get_running_loop().create_future()
        self._shares.wait(owner, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not self._shares.leave(owner, mine):  # the place came in the same moment
                self.give_back(owner)
            raise

    def give_back(self, owner: Hashable) -> None:
        """Free a place of the owner for the next waiter in turn."""
        for waiter in self._shares.give_back(owner):
            if not waiter.done():
                waiter.set_result(None)


class Threads:
    """A pool of threads for one kind of work, with a share for each owner. Work that hangs holds up no other kind."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = Places(threads)

    async def run(self, owner: Hashable, call: Callable[[], R]) -> R:
        """Return what `call` returns, on a thread of the owner's share, in the context of the caller."""
        await self._places.take(owner)
        loop = asyncio.get_running_loop()
        work = self._threads.submit(copy_context().run, call)

        def end(_: Future[R]) -> None:
            with suppress(RuntimeError):  # the loop is closed, and its places with it
                loop.call_soon_threadsafe(self._places.give_back, owner)

        # A thread goes on when its caller is cancelled, so its place stays taken until it has ended.
        work.add_done_callback(end)
        return await asyncio.wrap_future(work)

    def close(self) -> None:
        """Take no more work; what runs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
