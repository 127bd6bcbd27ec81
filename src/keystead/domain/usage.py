"""The use of a key, and its refusals: what is noted in memory between two flushes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import from_microseconds
from keystead.domain.keys import KeyUse
from keystead.domain.verification import DenialReason

MICROSECONDS_A_DAY: Final = 86_400_000_000
MAX_AGENT: Final = 200
MAX_CALLERS: Final = 10
"""How many callers of one key are told apart between two flushes, and shown on its page."""


class Caller(NamedTuple):
    """Who calls with a key, and why in vain: `reason` is None where the key was accepted. Unknown parts are empty."""

    reason: DenialReason | None
    address: str
    agent: str


@dataclass(slots=True)
class CallCount:
    """How often a caller came, and when last (microseconds since 1970)."""

    last_at: int
    times: int


@dataclass(slots=True)
class UseRun:
    """Uses of one key by one caller on one day, one after the other: how uses come, so noting one is an addition.

    Instants in microseconds since 1970; `day_ends` is the first that belongs to the next day (UTC).
    """

    workspace_id: WorkspaceId
    day_ends: int
    last_at: int
    times: int

    @classmethod
    def begin(cls, workspace_id: WorkspaceId, at: int) -> UseRun:
        """One use at `at`."""
        return cls(workspace_id, (at // MICROSECONDS_A_DAY + 1) * MICROSECONDS_A_DAY, at, 1)


@dataclass(frozen=True, slots=True)
class KeyCaller:
    """A caller of a key as its owner sees it."""

    caller: Caller
    last_at: datetime
    times: int


@dataclass(slots=True)
class KeyUsage:
    """What one key met since the last flush: the latest successful verification, how many on each day, who called.

    `last_at` in microseconds since 1970, 0 where all were refused; days (UTC) are counted from 1970-01-01.
    """

    key_id: KeyId
    workspace_id: WorkspaceId
    last_at: int = 0
    address: str | None = None
    agent: str | None = None
    days: dict[int, int] = field(default_factory=dict)
    callers: dict[Caller, CallCount] = field(default_factory=dict)

    def note(self, at: int, address: str | None, agent: str | None, times: int = 1) -> None:
        """Counts uses on the day of the latest of them, `at`; the last one moves forward only."""
        day = at // MICROSECONDS_A_DAY
        self.days[day] = self.days.get(day, 0) + times
        if at >= self.last_at:
            self.last_at, self.address, self.agent = at, address, agent
        self._meet(Caller(None, address or "", agent or ""), at, times)

    def refuse(self, reason: DenialReason, at: int, address: str | None, agent: str | None) -> None:
        """Counts a verification that found the secret right and the key not good for it."""
        self._meet(Caller(reason, address or "", agent or ""), at, 1)

    def merge(self, earlier: KeyUsage) -> None:
        """Takes in what an earlier flush could not write."""
        for day, uses in earlier.days.items():
            self.days[day] = self.days.get(day, 0) + uses
        if earlier.last_at > self.last_at:
            self.last_at, self.address, self.agent = earlier.last_at, earlier.address, earlier.agent
        for caller, calls in earlier.callers.items():
            self._meet(caller, calls.last_at, calls.times)

    def _meet(self, caller: Caller, at: int, times: int) -> None:
        calls = self.callers.get(caller)
        if calls is not None:
            calls.last_at, calls.times = max(calls.last_at, at), calls.times + times
        elif (caller.address or caller.agent) and len(self.callers) < MAX_CALLERS:
            self.callers[caller] = CallCount(at, times)

    @property
    def last(self) -> KeyUse:
        """The latest use, fit to be stored whatever a client called itself: no row may hold up the others."""
        return KeyUse(
            from_microseconds(self.last_at), printable(self.address), printable(self.agent)
        )


def printable(text: str | None) -> str | None:
    """`text` as it is stored: printable, at most 200 characters."""
    kept = text and text[:MAX_AGENT]
    return "".join(filter(str.isprintable, kept)) if kept and not kept.isprintable() else kept
