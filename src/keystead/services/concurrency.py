"""Bounded concurrency on an event loop, shared fairly: a semaphore and a thread pool with a share for each owner."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from typing import Any, TypeVar

from keystead.domain.errors import Unavailable
from keystead.domain.shares import Shares

R = TypeVar("R")


class FairSemaphore:
    """A semaphore of one event loop. Each owner, mostly a workspace, has a share of its permits.

    A waiter costs a coroutine and no thread, so threads and connections stay free for other owners.
    """

    def __init__(self, permits: int, most: int | None = None, seconds: float | None = None) -> None:
        """Give every permit free.

        Args:
            permits: How many there are.
            most: How many one owner may have at a time, if that is less than its share.
            seconds: How long a waiter waits before it gets Unavailable; None for any time.
        """
        self._shares: Shares[asyncio.Future[None]] = Shares(permits, most)
        self._seconds = seconds

    @asynccontextmanager
    async def held(self, owner: Hashable) -> AsyncIterator[None]:
        """Wait for a permit of the owner's share, and hold it for the work inside."""
        await self.acquire(owner)
        try:
            yield
        finally:
            self.release(owner)

    async def acquire(self, owner: Hashable) -> None:
        """Wait for a permit of the owner's share. A cancelled waiter gives it up. Raises Unavailable."""
        if self._shares.take(owner):
            return
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._shares.wait(owner, mine)
        timer = self._seconds and loop.call_later(self._seconds, self._expire, owner, mine)
        try:
            await mine
        except asyncio.CancelledError:
            # The permit may have come in the same moment as the cancellation: then it must be passed on. Or the time
            # was over in that moment: then there is none.
            is_over = mine.done() and not mine.cancelled() and mine.exception() is not None
            if not self._shares.leave(owner, mine) and not is_over:
                self.release(owner)
            raise
        finally:
            if timer:
                timer.cancel()

    def release(self, owner: Hashable) -> None:
        """Return a permit of the owner, for the next waiter in turn."""
        for waiter in self._shares.give_back(owner):
            if not waiter.done():
                waiter.set_result(None)

    def _expire(self, owner: Hashable, waiter: asyncio.Future[None]) -> None:
        if not waiter.done() and self._shares.leave(owner, waiter):
            waiter.set_exception(_busy())


def _busy() -> Unavailable:
    return Unavailable("The database is busy.")


class FairThreadPool:
    """Threads for one kind of work, with a share for each owner. Work that hangs holds up no other kind.

    Waiting work is an entry in a queue and holds no thread. Tasks of any event loop may use the pool.
    """

    def __init__(self, threads: int, name: str, seconds: float | None = None) -> None:
        """Start no thread yet.

        Args:
            threads: How many there may be.
            name: The first part of their names.
            seconds: How long work waits for a thread before it gets Unavailable; None for any time.
        """
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._shares: Shares[_Work] = Shares(threads)
        self._seconds = seconds
        self._changing = threading.Lock()
        self._is_closed = False

    async def run(self, owner: Hashable, call: Callable[[], R]) -> R:
        """Return what `call` returns, on a thread of the owner's share, in the context of the caller.

        Cancelled work that waits is never run; work that runs goes on, and keeps its thread until it has ended.
        Raises Unavailable if the pool is closed.
        """
        work = _Work(owner, call)
        timer = None
        with self._changing:
            self._require_open()
            if self._shares.take(owner):
                self._threads.submit(self._work_from, work)
            else:
                self._shares.wait(owner, work)
                timer = self._seconds and work.loop.call_later(self._seconds, self._expire, work)
        try:
            result: R = await work.answer  # cancelled, it is skipped in its turn
        finally:
            if timer:
                timer.cancel()
        return result

    def close(self) -> None:
        """Accept no more work, without waiting for what runs. What still waits gets Unavailable."""
        with self._changing:
            self._is_closed = True
        self._threads.shutdown(wait=False)

    def _expire(self, work: _Work) -> None:
        with self._changing:
            is_waiting = self._shares.leave(work.owner, work)
        if is_waiting and not work.answer.done():
            work.answer.set_exception(_busy())

    def _require_open(self) -> None:
        if self._is_closed:
            raise Unavailable("The server is stopping.")

    def _work_from(self, work: _Work) -> None:
        """Run the work, then what gets its place: without a way back to the event loop in between."""
        works = [work]
        while works:
            work = works.pop()
            work.run(self._require_open)
            with self._changing:
                works += self._shares.give_back(work.owner)
                while len(works) > 1 and not self._is_closed:
                    self._threads.submit(self._work_from, works.pop())


class _Work:
    """One call, and the future of the task that waits for it."""

    def __init__(self, owner: Hashable, call: Callable[[], Any]) -> None:
        self.owner = owner
        self._call = call
        self._context = copy_context()
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self.loop.create_future()

    def run(self, require_open: Callable[[], None]) -> None:
        """Run the call on this thread, unless its task is gone, and settle the future."""
        if self.answer.cancelled():
            return
        try:
            require_open()
            self._settle(self._context.run(self._call), None)
        except StopIteration:  # no future can hold it
            self._settle(None, RuntimeError("the work raised StopIteration"))
        except BaseException as error:  # noqa: BLE001 - the task gets it
            self._settle(None, error)

    def _settle(self, result: object, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed, and with it the task
            self.loop.call_soon_threadsafe(_settle, self.answer, result, error)


def _settle(answer: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)
