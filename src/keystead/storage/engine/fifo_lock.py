"""A FIFO lock for threads, fair among its owners."""

from __future__ import annotations

import threading
from collections.abc import Hashable

from keystead.domain.shares import Shares


class FifoLock:
    """A lock, or with several places a semaphore, that serves owners, mostly workspaces, in rotation.

    A plain lock goes to the thread that is running when it is released, which is the one that released it: a loop of
    writes would keep all others out. And a single queue would serve an owner the more often, the more it sends.
    """

    def __init__(self, places: int = 1) -> None:
        self._changing = threading.Lock()
        self._shares: Shares[threading.Event] = Shares(places)

    @property
    def waiting(self) -> int:
        """How many threads wait for a place."""
        with self._changing:
            return self._shares.waiting

    def acquire(self, owner: Hashable, seconds: float) -> None:
        """Wait for a place. TimeoutError if the owner gets none within `seconds`."""
        with self._changing:
            if self._shares.take(owner):
                return
            mine = threading.Event()
            self._shares.wait(owner, mine)
        if not mine.wait(seconds) and self._gave_up(owner, mine):
            raise TimeoutError

    def release(self, owner: Hashable) -> None:
        """Return the owner's place, and wake the next thread."""
        with self._changing:
            for waiter in self._shares.give_back(owner):
                waiter.set()

    def _gave_up(self, owner: Hashable, mine: threading.Event) -> bool:
        """Leave the queue. Returns False if the place came at the last moment."""
        with self._changing:
            return self._shares.leave(owner, mine)
