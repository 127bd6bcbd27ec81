"""The race between an act that ends keys and those who verify them, in one process.

Every door is asked in a tight loop, from before the act until well after its answer; then each key's history is
judged.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from keystead_prove.acts import DONE, ENDED_BEFORE, TOLERANCE, Act
from keystead_prove.calls import Key, Refused, anywhere
from keystead_prove.connection import Line, Reply
from keystead_prove.endpoints import Door
from keystead_prove.history import Answer, Kind, Operation
from keystead_prove.tally import Tallies, Tally
from keystead_prove.target import Operator, Site
from keystead_prove.verifier import Trial, Verifier

PAUSE_SECONDS: Final = 0.005
"""Between two verifications where the end comes by the clock, and is waited for."""
ATTEMPTS: Final = 150
ATTEMPT_SECONDS: Final = 0.1
"""How often, and how long after one another, a change is asked for where servers are away."""
LONGER: Final = (1, 2, 4, 8, 16, 32, 64)
"""How many times as long a planted cache remembers, until each way of asking has shown one."""
TRIES_LONGER: Final = 5
MOST_PLANTED: Final = 400


@dataclass(frozen=True, slots=True)
class Clock:
    """The installation's time, told by this machine's monotonic clock: it is `offset` nanoseconds since 1970 ahead."""

    offset: int

    def now(self) -> datetime:
        """The installation's time."""
        return datetime.fromtimestamp(0, UTC) + _span(time.monotonic_ns() + self.offset)

    def monotonic(self, instant: datetime) -> int:
        """When that instant is."""
        since = instant - datetime.fromtimestamp(0, UTC)
        return (since // timedelta(microseconds=1)) * 1_000 - self.offset


def clock_of(operator: Operator) -> Clock:
    """The clock, as exactly as the quickest of some questions tells it."""
    readings = []
    for _ in range(10):
        asked = time.monotonic_ns()
        told = operator.now() - datetime.fromtimestamp(0, UTC)
        answered = time.monotonic_ns()
        offset = (told // timedelta(microseconds=1)) * 1_000 - (asked + answered) // 2
        readings.append((answered - asked, offset))
    return Clock(min(readings)[1])


def _span(nanoseconds: int) -> timedelta:
    return timedelta(microseconds=nanoseconds // 1_000)


@dataclass
class Course:
    """A race on one site: verifiers at every door, `each` of them at one. `planted`: by how long a cache remembers."""

    site: Site
    act: Act
    clock: Clock
    operator: Operator | None = None
    each: int = 1
    tried: int = 0
    honest: Tallies = field(default_factory=Tallies)
    planted: defaultdict[int, Tallies] = field(default_factory=lambda: defaultdict(Tallies))

    @property
    def in_flight(self) -> int:
        """How many verifications are on their way at a time."""
        return self.each * len(self.doors)

    @property
    def doors(self) -> list[Door]:
        """The doors that tell what this act ends."""
        told = [door.telling(narrowed=self.act.narrows) for door in self.site.doors]
        return [door for door in told if door is not None]

    @property
    def names(self) -> set[str]:
        """The ways of asking that tell what this act ends."""
        return {question.name for door in self.doors for question in door.questions}

    def sees(self, name: str) -> int | None:
        """For how many nanoseconds an answer was remembered, at least, that this way of asking showed to be wrong."""
        seen = [memory for memory, tallies in self.planted.items() if tallies.by_name[name].broken]
        return min(seen, default=None)

    @property
    def blind(self) -> bool:
        """Whether some way of asking has not shown any planted cache yet."""
        return any(self.sees(name) is None for name in self.names)

    @property
    def caught(self) -> Tally:
        """How the planted cache fared, as it was to begin with, all ways of asking together."""
        return self.planted[self.act.remembers].whole

    def sharpen(self) -> None:
        """Plants caches until one was seen, and then by every way of asking, be it one that remembers for longer.

        By how long one shows what could not have stayed hidden from that way.
        """
        while not self.caught.broken and self.caught.keys < MOST_PLANTED:
            self.run([True])
        for longer in LONGER:
            for _ in range(TRIES_LONGER):
                if not self.blind:
                    return
                self.run([True], longer * self.act.remembers)

    def run(self, trials: Sequence[bool], memory: int | None = None) -> None:
        """So many trials, those that are True with a planted cache of that memory."""
        with ExitStack() as stack:
            managers = [stack.enter_context(line) for line in self.site.managers()]
            verifiers = stack.enter_context(self._verifiers())
            for is_planted in trials:
                self._try(managers, verifiers, (memory or self.act.remembers) if is_planted else 0)

    @contextmanager
    def _verifiers(self) -> Iterator[Sequence[Verifier]]:
        verifiers = [
            Verifier(number, door, narrowed=self.act.narrows)
            for number, door in enumerate(self.doors)
            for _ in range(self.each)
        ]
        for verifier in verifiers:
            verifier.start()
        try:
            yield verifiers
        finally:
            for verifier in verifiers:
                verifier.trials.put(None)
            for verifier in verifiers:
                verifier.join()

    def _try(self, managers: Sequence[Line], verifiers: Sequence[Verifier], memory: int) -> None:
        keys = [self._make(managers) for _ in range(self.act.together)]
        pause = PAUSE_SECONDS if self.act.ends_at else 0.0
        self.tried += 1
        trial = Trial(keys, self.tried, memory, pause)
        for verifier in verifiers:
            verifier.trials.put(trial)
        try:
            trial.wait_for("begun", len(verifiers))
            endings = [self._end(managers, key) for key in keys]
            trial.answered = max(tried[-1].ended for tried in endings)
            trial.wait_for("done", len(verifiers))
        finally:
            trial.over = True
        self._settle(trial, endings, self.planted[memory] if memory else self.honest)

    def _make(self, managers: Sequence[Line]) -> Key:
        """A key, made by a random server; by another where one is away."""
        for _ in range(ATTEMPTS):
            with suppress(Refused):
                return self.act.make(anywhere(managers), self.clock.now())
            time.sleep(ATTEMPT_SECONDS)
        return self.act.make(anywhere(managers), self.clock.now())

    def _end(self, managers: Sequence[Line], key: Key) -> list[Operation]:
        """What was done to end the key, at the last successfully; an attempt without an answer may have done it."""
        if self.act.ends_at is not None:
            instant = self.clock.monotonic(self.act.ends_at(anywhere(managers), key))
            return [_ending(instant - TOLERANCE, instant + TOLERANCE)]
        if self.act.end is None:
            return [self._suspend()]
        tried: list[Operation] = []
        for _ in range(ATTEMPTS):
            reply = self.act.end(anywhere(managers), key)
            is_done = reply.status in (DONE | ENDED_BEFORE if tried else DONE)
            tried.append(_ending(reply.began, reply.ended, done=is_done))
            if is_done:
                return tried
            time.sleep(ATTEMPT_SECONDS)
        raise Refused(f"no server did what was asked: a key {self.act.says}")

    def _suspend(self) -> Operation:
        if self.operator is None:
            raise Refused("only the operator suspends a workspace")
        began = time.monotonic_ns()
        self.operator.suspend()
        return _ending(began, time.monotonic_ns())

    def _settle(
        self, trial: Trial, endings: Sequence[Sequence[Operation]], tallies: Tallies
    ) -> None:
        """Judges each key. Ended by the clock, each door by itself, since each has its own quarter of a second."""
        if self.operator is not None:
            self.operator.resume()
        for which, (key, tried) in enumerate(zip(trial.keys, endings, strict=True)):
            mine = [one for one in trial.seen if one.which == which]
            writes = [_creation(key.reply), *tried]
            apart = self.act.ends_at is not None
            tallies.note(writes, mine, trial.answered, apart=apart)


def _creation(reply: Reply) -> Operation:
    return Operation(0, Kind.CREATE, reply.began, reply.ended, Answer.DONE)


def _ending(began: int, ended: int, *, done: bool = True) -> Operation:
    return Operation(0, Kind.END, began, ended, Answer.DONE if done else Answer.UNKNOWN)
