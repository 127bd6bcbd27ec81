"""The use of a key: what is noted in memory between two flushes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import from_microseconds
from keystead.domain.keys import KeyUse

MICROSECONDS_A_DAY: Final = 86_400_000_000
MAX_AGENT: Final = 200


@dataclass(slots=True)
class UseTally:
    """One key's successful verifications since the last flush: the latest of them, and how many on each day (UTC).

    `last_at` in microseconds since 1970; days are counted from 1970-01-01.
    """

    key_id: KeyId
    workspace_id: WorkspaceId
    last_at: int = 0
    address: str | None = None
    agent: str | None = None
    days: dict[int, int] = field(default_factory=dict)

    def note(self, at: int, address: str | None, agent: str | None) -> None:
        """Counts a use; the last one moves forward only."""
        day = at // MICROSECONDS_A_DAY
        self.days[day] = self.days.get(day, 0) + 1
        if at >= self.last_at:
            self.last_at, self.address, self.agent = at, address, agent

    def merge(self, earlier: UseTally) -> None:
        """Takes in what an earlier flush could not write."""
        for day, uses in earlier.days.items():
            self.days[day] = self.days.get(day, 0) + uses
        if earlier.last_at > self.last_at:
            self.last_at, self.address, self.agent = earlier.last_at, earlier.address, earlier.agent

    @property
    def last(self) -> KeyUse:
        """The latest use, fit to be stored whatever a client called itself: no row may hold up the others."""
        return KeyUse(from_microseconds(self.last_at), _fit(self.address), _fit(self.agent))


def _fit(text: str | None) -> str | None:
    return text and "".join(filter(str.isprintable, text[:MAX_AGENT]))
