"""Bounded concurrency on an event loop, shared fairly: a semaphore and a thread pool with a share for each owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from typing import TypeVar

from keystead.domain.shares import Shares

R = TypeVar("R")


class FairSemaphore:
    """A semaphore of one event loop. Each owner, mostly a workspace, has a share of its permits.

    A waiter costs a coroutine and no thread, so threads and connections stay free for other owners.
    """

    def __init__(self, permits: int) -> None:
        self._shares: Shares[asyncio.Future[None]] = Shares(permits)

    @asynccontextmanager
    async def held(self, owner: Hashable) -> AsyncIterator[None]:
        """Wait for a permit of the owner's share, and hold it for the work inside."""
        await self.acquire(owner)
        try:
            yield
        finally:
            self.release(owner)

    async def acquire(self, owner: Hashable) -> None:
        """Wait for a permit of the owner's share. A cancelled waiter gives it up."""
        if self._shares.take(owner):
            return
        mine = asyncio.get_running_loop().create_future()
        self._shares.wait(owner, mine)
        try:
            await mine
        except asyncio.CancelledError:
            # The permit may have come in the same moment as the cancellation: then it must be passed on.
            if not self._shares.leave(owner, mine):
                self.release(owner)
            raise

    def release(self, owner: Hashable) -> None:
        """Return a permit of the owner, for the next waiter in turn."""
        for waiter in self._shares.give_back(owner):
            if not waiter.done():
                waiter.set_result(None)


class FairThreadPool:
    """Threads for one kind of work, with a share for each owner. Work that hangs holds up no other kind."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._semaphore = FairSemaphore(threads)

    async def run(self, owner: Hashable, call: Callable[[], R]) -> R:
        """Return what `call` returns, on a thread of the owner's share, in the context of the caller."""
        await self._semaphore.acquire(owner)
        loop = asyncio.get_running_loop()
        try:
            work = self._threads.submit(copy_context().run, call)
        except BaseException:
            self._semaphore.release(owner)
            raise

        def end(_: Future[R]) -> None:
            with suppress(RuntimeError):  # the loop is closed, and its semaphore with it
                loop.call_soon_threadsafe(self._semaphore.release, owner)

        # A thread goes on when its caller is cancelled, so its permit is released only when it has ended.
        work.add_done_callback(end)
        return await asyncio.wrap_future(work)

    def close(self) -> None:
        """Accept no more work, without waiting for what runs."""
        self._threads.shutdown(wait=False, cancel_futures=True)
