"""Turns: a lock that is handed on in the order in which it was asked for."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """One at a time, first come, first served.

    A plain lock is free for whoever is running when it is released, and that is the thread that has just released it: a
    loop of writes would keep all others out.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    def take(self, seconds: float) -> None:
        """Waits for its turn. TimeoutError where it does not come within `seconds`."""
        with self._changing:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        if not mine.wait(seconds) and self._gave_up(mine):
            raise TimeoutError

    def hand_on(self) -> None:
        """Ends the turn: the one who has waited longest is next."""
        with self._changing:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False

    def _gave_up(self, mine: threading.Event) -> bool:
        """Leaves the queue; False where the turn came at the last moment."""
        with self._changing:
            if mine.is_set():
                return False
            self._waiting.remove(mine)
            return True
