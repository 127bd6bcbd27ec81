"""Shares: places for several owners, given out so that an owner that wants them all leaves some to the others."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from keystead.domain.ids import WorkspaceId

W = TypeVar("W")


class Shares(Generic[W]):
    """A number of places, their holders and the waiters. It never blocks, and locks nothing itself.

    An owner may take a place while it holds fewer than are free. So a single owner gets half of them, three get a
    quarter each, and a place is left for a newcomer for as long as there are fewer owners than places: no figure has
    to be set for each owner (Choudhury and Hahne, "Dynamic Queue Length Thresholds", 1998).

    A place that is given back goes to the waiting owner that holds the fewest; among equals, to the one whose last
    turn is the longest ago.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._held: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[W]] = {}
        """In the order of turns: the first owner's is the longest ago."""

    @property
    def waiting(self) -> int:
        """How many waiters have no place yet."""
        return sum(map(len, self._waiting.values()))

    def take(self, owner: Hashable) -> bool:
        """Take a place for the owner. Return False if its share is used up or it has waiters already."""
        if owner in self._waiting or not self._may_take(owner):
            return False
        self._give(owner)
        return True

    def wait(self, owner: Hashable, waiter: W) -> None:
        """Add a waiter of the owner, behind the owner's others. `give_back` returns it when it has a place."""
        self._waiting.setdefault(owner, deque()).append(waiter)

    def leave(self, owner: Hashable, waiter: W) -> bool:
        """Remove a waiter. Return False if it was given a place before."""
        queue = self._waiting.get(owner, deque())
        if waiter not in queue:
            return False
        queue.remove(waiter)
        if not queue:
            del self._waiting[owner]
        return True

    def give_back(self, owner: Hashable) -> list[W]:
        """Free a place of the owner. Returns the waiters that have a place from now on."""
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        served = []
        while (follower := self._next()) is not None:
            served.append(self._serve(follower))
        return served

    def _next(self) -> Hashable | None:
        able = [owner for owner in self._waiting if self._may_take(owner)]
        return min(able, key=lambda owner: self._held[owner], default=None)

    def _serve(self, owner: Hashable) -> W:
        queue = self._waiting.pop(owner)
        waiter = queue.popleft()
        if queue:
            self._waiting[owner] = queue
        self._give(owner)
        return waiter

    def _may_take(self, owner: Hashable) -> bool:
        return self._held[owner] < self._free

    def _give(self, owner: Hashable) -> None:
        self._free -= 1
        self._held[owner] += 1


@dataclass(frozen=True, slots=True)
class FreePlaces:
    """Places that are taken in batches: how many are free, and how many of the others each owner holds."""

    free: int
    held: Mapping[WorkspaceId, int]

    def admitted(self, wanting: Iterable[WorkspaceId]) -> int:
        """Return how many of these get a place, from the first on, as `Shares` gives them out.

        `wanting` names the owner of each, in the order of turns: those first whose owner holds the fewest.
        """
        held, free = Counter(self.held), self.free
        for owner in wanting:
            if held[owner] >= free:
                break
            held[owner] += 1
            free -= 1
        return self.free - free
