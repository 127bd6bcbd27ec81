"""Turns: places for threads, which owners take in turn; with a single place, a fair lock."""

from __future__ import annotations

import threading
from collections.abc import Hashable

from keystead.domain.shares import Shares


class Turns:
    """Places for threads. Each owner, mostly a workspace, has a share of them.

    A plain lock goes to the thread that is running when it is released, which is the one that released it: a loop of
    writes would keep all others out. And a single queue would serve an owner the more, the more it asks for.
    """

    def __init__(self, places: int = 1) -> None:
        self._changing = threading.Lock()
        self._shares: Shares[threading.Event] = Shares(places)

    @property
    def waiting(self) -> int:
        """How many threads wait for a place."""
        with self._changing:
            return self._shares.waiting

    def take(self, owner: Hashable, seconds: float) -> None:
        """Wait for a place. TimeoutError when the owner gets none within `seconds`."""
        with self._changing:
            if self._shares.take(owner):
                return
            mine = threading.Event()
            self._shares.wait(owner, mine)
        if not mine.wait(seconds) and self._gave_up(owner, mine):
            raise TimeoutError

    def hand_on(self, owner: Hashable) -> None:
        """End a turn of the owner: the next one begins."""
        with self._changing:
            for waiter in self._shares.give_back(owner):
                waiter.set()

    def _gave_up(self, owner: Hashable, mine: threading.Event) -> bool:
        """Leave the queue. False when the turn came at the last moment."""
        with self._changing:
            return self._shares.leave(owner, mine)
