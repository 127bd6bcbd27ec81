"""The usage of keys and their refusals, collected in memory between two flushes."""

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
"""Callers of one key that are counted between two flushes, and shown on its page."""


class Caller(NamedTuple):
    """A client that calls with a key. `reason`: why it is refused, None if it is accepted. Unknown parts are empty."""

    reason: DenialReason | None
    address: str
    agent: str


@dataclass(slots=True)
class CallCount:
    """The number of a caller's requests, and the time of the last one (microseconds since 1970)."""

    last_at: int
    times: int


@dataclass(slots=True)
class UseRun:
    """Consecutive uses of one key by one caller on one day. Most uses extend a run, which is a mere addition.

    Times in microseconds since 1970; `day_ends` is the start of the next day (UTC).
    """

    workspace_id: WorkspaceId
    day_ends: int
    last_at: int
    times: int

    @classmethod
    def begin(cls, workspace_id: WorkspaceId, at: int) -> UseRun:
        """Return a run of one use at `at`."""
        return cls(workspace_id, (at // MICROSECONDS_A_DAY + 1) * MICROSECONDS_A_DAY, at, 1)


@dataclass(frozen=True, slots=True)
class KeyCaller:
    """A caller of a key, as its owner sees it."""

    caller: Caller
    last_at: datetime
    times: int


@dataclass(slots=True)
class UsageBuffer:
    """The usage of one key since the last flush: the last use, uses per day, and callers.

    `last_at` in microseconds since 1970, 0 if all were refused; days (UTC) are counted from 1970-01-01.
    """

    key_id: KeyId
    workspace_id: WorkspaceId
    last_at: int = 0
    address: str | None = None
    agent: str | None = None
    days: dict[int, int] = field(default_factory=dict)
    callers: dict[Caller, CallCount] = field(default_factory=dict)

    def note(self, at: int, address: str | None, agent: str | None, times: int = 1) -> None:
        """Count uses on the day of `at`, the time of the last one. The last use only moves forward."""
        day = at // MICROSECONDS_A_DAY
        self.days[day] = self.days.get(day, 0) + times
        if at >= self.last_at:
            self.last_at, self.address, self.agent = at, address, agent
        self._count(Caller(None, address or "", agent or ""), at, times)

    def refuse(self, reason: DenialReason, at: int, address: str | None, agent: str | None) -> None:
        """Count a refusal of a key whose secret was right."""
        self._count(Caller(reason, address or "", agent or ""), at, 1)

    def merge(self, earlier: UsageBuffer) -> None:
        """Add the usage that an earlier flush failed to write."""
        for day, uses in earlier.days.items():
            self.days[day] = self.days.get(day, 0) + uses
        if earlier.last_at > self.last_at:
            self.last_at, self.address, self.agent = earlier.last_at, earlier.address, earlier.agent
        for caller, calls in earlier.callers.items():
            self._count(caller, calls.last_at, calls.times)

    def _count(self, caller: Caller, at: int, times: int) -> None:
        calls = self.callers.get(caller)
        if calls is not None:
            calls.last_at, calls.times = max(calls.last_at, at), calls.times + times
        elif (caller.address or caller.agent) and len(self.callers) < MAX_CALLERS:
            self.callers[caller] = CallCount(at, times)

    @property
    def last(self) -> KeyUse:
        """Return the last use with printable text, so that no client's agent can make the flush of all keys fail."""
        at = from_microseconds(self.last_at)
        return KeyUse(at, printable(self.address), printable(self.agent))


def printable(text: str | None) -> str | None:
    """Return the printable part of `text`, at most 200 characters."""
    short = text and text[:MAX_AGENT]
    return "".join(filter(str.isprintable, short)) if short and not short.isprintable() else short
