"""Fair shares: places for several owners, of which no owner can take all."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from keystead.domain.ids import WorkspaceId

W = TypeVar("W")


class Shares(Generic[W]):
    """Places, their holders and the waiters. It never blocks, and is not thread-safe.

    An owner may take a place while it holds fewer than are free. So one owner gets half of the places, three get a
    quarter each, and while there are fewer owners than places, a new one finds a free place. No number needs to be
    configured (Choudhury and Hahne, "Dynamic Queue Length Thresholds", 1998).

    A freed place goes to the waiting owner with the fewest places; among equals, to the one that was served the longest
    ago.
    """

    def __init__(self, places: int, most: int | None = None) -> None:
        """`most`: how many places one owner may hold, if that is less than its share."""
        self._free = places
        self._most = places if most is None else most
        self._held: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[W]] = {}
        """Ordered by when an owner was last served, the longest ago first."""

    @property
    def waiting(self) -> int:
        """Return the number of waiters."""
        return sum(map(len, self._waiting.values()))

    def take(self, owner: Hashable) -> bool:
        """Take a place for the owner. Return False if its share is used up, or if it has waiters already."""
        if owner in self._waiting or not self._may_take(owner):
            return False
        self._give(owner)
        return True

    def wait(self, owner: Hashable, waiter: W) -> None:
        """Add a waiter after the owner's others. `give_back` returns it when it has a place."""
        self._waiting.setdefault(owner, deque()).append(waiter)

    def leave(self, owner: Hashable, waiter: W) -> bool:
        """Remove a waiter. Return False if it already has a place."""
        queue = self._waiting.get(owner, deque())
        if waiter not in queue:
            return False
        queue.remove(waiter)
        if not queue:
            del self._waiting[owner]
        return True

    def give_back(self, owner: Hashable) -> list[W]:
        """Free a place of the owner. Return the waiters that have a place now."""
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        served = []
        while (next_owner := self._next()) is not None:
            served.append(self._serve(next_owner))
        return served

    def _next(self) -> Hashable | None:
        candidates = [owner for owner in self._waiting if self._may_take(owner)]
        return min(candidates, key=lambda owner: self._held[owner], default=None)

    def _serve(self, owner: Hashable) -> W:
        queue = self._waiting.pop(owner)
        waiter = queue.popleft()
        if queue:
            self._waiting[owner] = queue
        self._give(owner)
        return waiter

    def _may_take(self, owner: Hashable) -> bool:
        return self._held[owner] < min(self._free, self._most)

    def _give(self, owner: Hashable) -> None:
        self._free -= 1
        self._held[owner] += 1


@dataclass(frozen=True, slots=True)
class FreePlaces:
    """Places that are taken in batches: how many are free, and how many each owner holds."""

    free: int
    held: Mapping[WorkspaceId, int]

    def admitted(self, owners: Iterable[WorkspaceId]) -> int:
        """Return how many of the requests get a place, from the first on, by the rule of `Shares`.

        `owners` has the owner of each request; those with the fewest places come first.
        """
        held, free = Counter(self.held), self.free
        for owner in owners:
            if held[owner] >= free:
                break
            held[owner] += 1
            free -= 1
        return self.free - free
