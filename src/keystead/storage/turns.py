"""Turns: places for threads, handed on from owner to owner; with a single place, a lock that is fair."""

from __future__ import annotations

import threading
from collections.abc import Hashable

from keystead.domain.shares import Shares


class Turns:
    """Places for threads, each within the share of its owner: a workspace, or whoever else it is wanted for.

    A plain lock is free for whoever is running when it is released, and that is the thread that has just released it: a
    loop of writes would keep all others out. One queue for all would let whoever asks the most be served the most.
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
