"""Where the calls of use cases run: on the event loop, or on a thread of the workspace's share.

The figures are in docs/decisions/0025-where-work-runs.md.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, TypeVar

from keystead.services.concurrency import FairThreadPool

READ_THREADS: Final = 8
WRITE_THREADS: Final = 16
"""On PostgreSQL, which commits many writes with one sync. Each thread has one of the 32 pooled connections."""
WRITES_OF_ONE: Final = 1
"""Writes of one workspace wait for the lock on its row anyway: here they wait without a connection."""
SLOW_THREADS: Final = 4

R = TypeVar("R")


class Execution:
    """Runs the calls of a process, fairly for each owner. A call that waits holds no thread and no connection.

    `owner` is the workspace whose share is used. `call` has no arguments, and runs in the context of the caller. What
    it raises is raised here. A cancelled call that waits is never run; one that runs goes on.
    """

    def __init__(self, *, reads_inline: bool) -> None:
        """`reads_inline`: for SQLite, whose reads take less time than a hop to a thread, and which has one writer."""
        self._reads = None if reads_inline else FairThreadPool(READ_THREADS, "read")
        self._writes = FairThreadPool(
            1 if reads_inline else WRITE_THREADS, "write", most=WRITES_OF_ONE
        )
        self._slow = FairThreadPool(SLOW_THREADS, "slow")

    async def run_read(self, owner: Hashable, call: Callable[[], R]) -> R:
        """Return the result of a bounded read: one page of a list, one row."""
        if self._reads is None:
            return call()
        return await self._reads.run(owner, call)

    async def run_write(self, owner: Hashable, call: Callable[[], R]) -> R:
        """Return the result of a change of a few rows."""
        return await self._writes.run(owner, call)

    async def run_slow(self, owner: Hashable, call: Callable[[], R]) -> R:
        """Return the result of what may take more than 10 ms: a password's hash, a large batch, an export, a search."""
        return await self._slow.run(owner, call)

    def close(self) -> None:
        """Accept no more calls, without waiting for those that run."""
        for pool in (self._reads, self._writes, self._slow):
            if pool is not None:
                pool.close()
