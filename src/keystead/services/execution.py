"""Where the calls of use cases run: on the event loop, or on a thread of the workspace's share.

The figures are in docs/decisions/0025-where-work-runs.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Final, TypeVar

from keystead.services.concurrency import FairSemaphore, FairThreadPool
from keystead.storage.engine.waits import run_on_loop

READS: Final = 20
WRITES: Final = 12
"""Concurrent calls on PostgreSQL, which commits many writes with one sync, and answers many reads in one message.

Each has one of 32 connections, if it needs one of its own.
"""
WRITES_OF_ONE: Final = 1
"""Writes of one workspace wait for the lock on its row anyway: here they wait without a connection."""
SLOW_THREADS: Final = 4
WAIT_SECONDS: Final = 5.0
"""How long a read or a write waits for its turn, as long as a statement for a lock."""

R = TypeVar("R")


class TakesLong(Exception):
    """A read would hold up the event loop: run it as a slow call."""


class Execution:
    """Runs the calls of a process, fairly for each owner. A call that waits holds no thread and no connection.

    `owner` is the workspace whose share is used. `call` has no arguments, and runs in the context of the caller. What
    it raises is raised here. A cancelled call that waits is never run; a write that runs goes on.
    A call that waits too long raises Unavailable.
    """

    def __init__(self, *, is_sqlite: bool) -> None:
        """Start no thread yet.

        On SQLite a read takes less time than a hop to a thread, and writes have one thread, as there is one writer. On
        PostgreSQL both run on the event loop, and wait there without its thread.
        """
        self._writer = FairThreadPool(1, "write", WAIT_SECONDS) if is_sqlite else None
        self._reads = FairSemaphore(READS, seconds=WAIT_SECONDS)
        self._writes = FairSemaphore(WRITES, WRITES_OF_ONE, WAIT_SECONDS)
        self._slow = FairThreadPool(SLOW_THREADS, "slow")

    async def run_read(self, owner: Hashable, call: Callable[[], R]) -> R:
        """Return the result of a bounded read: one page of a list, one row."""
        if self._writer is not None:
            return call()
        await self._reads.acquire(owner)
        try:
            return await run_on_loop(call)
        finally:
            self._reads.release(owner)

    async def run_write(self, owner: Hashable, call: Callable[[], R]) -> R:
        """Return the result of a change of a few rows."""
        if self._writer is not None:
            return await self._writer.run(owner, call)
        await self._writes.acquire(owner)
        # A task of its own: a commit is never cancelled.
        return await asyncio.shield(asyncio.create_task(self._write(owner, call)))

    async def run_slow(self, owner: Hashable, call: Callable[[], R]) -> R:
        """Return the result of what may take more than 10 ms: a password's hash, a large batch, an export, a search."""
        return await self._slow.run(owner, call)

    def close(self) -> None:
        """Accept no more calls on threads, without waiting for those that run."""
        self._slow.close()
        if self._writer is not None:
            self._writer.close()

    async def _write(self, owner: Hashable, call: Callable[[], R]) -> R:
        try:
            return await run_on_loop(call)
        finally:
            self._writes.release(owner)
