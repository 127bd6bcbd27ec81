"""The usage of keys and their refusals, collected in memory between two flushes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from keystead.domain.errors import Invalid
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import EPOCH, from_microseconds, to_microseconds
from keystead.domain.keys import KeyUse
from keystead.domain.verification import DenialReason

MICROSECONDS_AN_HOUR: Final = 3_600_000_000
HOURS_A_DAY: Final = 24
HOURS_KEPT: Final = timedelta(days=8)
MAX_DAYS: Final = 366
"""Days of one period."""
USUAL_DAYS: Final = 30
"""Days of a period without a beginning."""
MAX_AGENT: Final = 200
MAX_CALLERS: Final = 10
"""Callers of one key that are counted between two flushes, and shown on its page."""


class UseCount(NamedTuple):
    """Accepted requests, and refused ones whose secret was right."""

    requests: int = 0
    refused: int = 0

    def plus(self, other: UseCount) -> UseCount:
        """Return the sum."""
        return UseCount(self.requests + other.requests, self.refused + other.refused)


class Period(NamedTuple):
    """Days (UTC) from the first to the last, both included."""

    first: date
    last: date


def period_of(first: str | None, last: str | None, today: date) -> Period:
    """Return the period that a request names: by default the 30 days that end with `last`, by default today.

    Raises:
        Invalid: A day isn't a date, they are in the wrong order, or more than 366.
    """
    end = today if last is None else _day("query:to", last)
    beginning = end - timedelta(days=USUAL_DAYS - 1) if first is None else _day("query:from", first)
    if beginning > end:
        raise Invalid.field("query:from", "must not be later than `to`")
    if (end - beginning).days >= MAX_DAYS:
        raise Invalid.field("query:from", f"must be at most {MAX_DAYS} days before the end of `to`")
    return Period(beginning, end)


def _day(pointer: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    # `fromisoformat` also reads other forms of ISO 8601.
    if day is None or day.isoformat() != text or day < _FIRST_DAY:
        raise Invalid.field(pointer, "must be a date like 2026-11-30")
    return day


_FIRST_DAY: Final = EPOCH.date() + timedelta(days=USUAL_DAYS)


def hour_of(instant: datetime) -> int:
    """Return the hour, counted from 1970-01-01."""
    return to_microseconds(instant) // MICROSECONDS_AN_HOUR


def day_number(day: date) -> int:
    """Return the day, counted from 1970-01-01."""
    return day.toordinal() - EPOCH.date().toordinal()


def day_of(number: int) -> date:
    """Return the day of that number."""
    return date.fromordinal(EPOCH.date().toordinal() + number)


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
    """Consecutive uses of one key by one caller within one hour. Most uses extend a run, which is a mere addition.

    Times in microseconds since 1970; `hour_ends` is the start of the next hour.
    """

    workspace_id: WorkspaceId
    hour_ends: int
    last_at: int
    times: int

    @classmethod
    def begin(cls, workspace_id: WorkspaceId, at: int) -> UseRun:
        """Return a run of one use at `at`."""
        return cls(workspace_id, (at // MICROSECONDS_AN_HOUR + 1) * MICROSECONDS_AN_HOUR, at, 1)


@dataclass(frozen=True, slots=True)
class KeyCaller:
    """A caller of a key, as its owner sees it."""

    caller: Caller
    last_at: datetime
    times: int


@dataclass(slots=True)
class UsageBuffer:
    """The usage of one key since the last flush: the last use, counts per hour, and callers.

    `last_at` in microseconds since 1970, 0 if all were refused; hours are counted from 1970-01-01.
    """

    key_id: KeyId
    workspace_id: WorkspaceId
    last_at: int = 0
    address: str | None = None
    agent: str | None = None
    hours: dict[int, UseCount] = field(default_factory=dict)
    callers: dict[Caller, CallCount] = field(default_factory=dict)

    def note(self, at: int, address: str | None, agent: str | None, times: int = 1) -> None:
        """Count uses in the hour of `at`, the time of the last one. The last use only moves forward."""
        self._add(at // MICROSECONDS_AN_HOUR, UseCount(requests=times))
        if at >= self.last_at:
            self.last_at, self.address, self.agent = at, address, agent
        self._count(Caller(None, address or "", agent or ""), at, times)

    def refuse(self, reason: DenialReason, at: int, address: str | None, agent: str | None) -> None:
        """Count a refusal of a key whose secret was right."""
        self._add(at // MICROSECONDS_AN_HOUR, UseCount(refused=1))
        self._count(Caller(reason, address or "", agent or ""), at, 1)

    def merge(self, earlier: UsageBuffer) -> None:
        """Add the usage that an earlier flush failed to write."""
        for hour, count in earlier.hours.items():
            self._add(hour, count)
        if earlier.last_at > self.last_at:
            self.last_at, self.address, self.agent = earlier.last_at, earlier.address, earlier.agent
        for caller, calls in earlier.callers.items():
            self._count(caller, calls.last_at, calls.times)

    @property
    def days(self) -> dict[int, UseCount]:
        """Return the counts per day (UTC), counted from 1970-01-01."""
        days = defaultdict[int, UseCount](UseCount)
        for hour, count in self.hours.items():
            day = hour // HOURS_A_DAY
            days[day] = days[day].plus(count)
        return days

    def _add(self, hour: int, count: UseCount) -> None:
        self.hours[hour] = self.hours.get(hour, UseCount()).plus(count)

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
