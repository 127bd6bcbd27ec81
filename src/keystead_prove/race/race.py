"""The race between an act that revokes access and verifications, in one process.

Every endpoint is probed in a tight loop, from before the act until well after its response. Then each key's history
is judged.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from keystead_prove.race.acts import DONE, ENDED_BEFORE, TOLERANCE, Act
from keystead_prove.race.history import Answer, Kind, Operation
from keystead_prove.race.tally import Tallies, Tally
from keystead_prove.race.verifier import Trial, Verifier
from keystead_prove.servers.calls import Key, Refused, anywhere
from keystead_prove.servers.connection import Connection, Reply
from keystead_prove.servers.endpoints import Endpoint, Operator, Target

PAUSE_SECONDS: Final = 0.005
"""Between two verifications, for acts by the clock, which take long."""
ATTEMPTS: Final = 150
ATTEMPT_SECONDS: Final = 0.1
"""Attempts at a change, and the pause between them, while servers are unavailable."""
LONGER: Final = (1, 2, 4, 8, 16, 32, 64)
"""Factors by which the memory of the seeded cache grows until each probe has shown it."""
TRIES_LONGER: Final = 5
MOST_SEEDED: Final = 400


@dataclass(frozen=True, slots=True)
class Clock:
    """The installation's time: this machine's monotonic clock plus `offset`, in nanoseconds since 1970."""

    offset: int

    def now(self) -> datetime:
        """Return the installation's time."""
        return datetime.fromtimestamp(0, UTC) + _span(time.monotonic_ns() + self.offset)

    def monotonic(self, instant: datetime) -> int:
        """Return the monotonic time."""
        since = instant - datetime.fromtimestamp(0, UTC)
        return (since // timedelta(microseconds=1)) * 1_000 - self.offset


def clock_of(operator: Operator) -> Clock:
    """Return the clock, as measured by the fastest of ten requests."""
    samples = []
    for _ in range(10):
        began = time.monotonic_ns()
        now = operator.now() - datetime.fromtimestamp(0, UTC)
        ended = time.monotonic_ns()
        offset = (now // timedelta(microseconds=1)) * 1_000 - (began + ended) // 2
        samples.append((ended - began, offset))
    return Clock(min(samples)[1])


def _span(nanoseconds: int) -> timedelta:
    return timedelta(microseconds=nanoseconds // 1_000)


@dataclass
class Race:
    """A race on one target, with `each` verifiers at every endpoint. `seeded`: tallies by the cache's memory."""

    target: Target
    act: Act
    clock: Clock
    operator: Operator | None = None
    each: int = 1
    tried: int = 0
    actual: Tallies = field(default_factory=Tallies)
    seeded: defaultdict[int, Tallies] = field(default_factory=lambda: defaultdict(Tallies))

    @property
    def in_flight(self) -> int:
        """Return the number of concurrent verifications."""
        return self.each * len(self.endpoints)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints that detect this act."""
        detecting = (
            endpoint.detecting(narrowed=self.act.narrows) for endpoint in self.target.endpoints
        )
        return [endpoint for endpoint in detecting if endpoint is not None]

    @property
    def names(self) -> set[str]:
        """Return the names of the probes that detect this act."""
        return {probe.name for endpoint in self.endpoints for probe in endpoint.probes}

    def sees(self, name: str) -> int | None:
        """Return the shortest memory of a seeded cache, in nanoseconds, that this probe showed; None without any."""
        shown = [memory for memory, tallies in self.seeded.items() if tallies.by_name[name].broken]
        return min(shown, default=None)

    @property
    def blind(self) -> bool:
        """Return whether some probe has not shown any seeded cache yet."""
        return any(self.sees(name) is None for name in self.names)

    @property
    def caught(self) -> Tally:
        """Return the tally of the seeded cache with its shortest memory, over all probes."""
        return self.seeded[self.act.remembers].whole

    def prove_sensitivity(self) -> None:
        """Run with seeded caches until every probe has shown one, if necessary with a longer memory.

        The length is the resolution of the probe: it would have shown any wrong response of that duration.
        """
        while not self.caught.broken and self.caught.keys < MOST_SEEDED:
            self.run([True])
        for longer in LONGER:
            for _ in range(TRIES_LONGER):
                if not self.blind:
                    return
                self.run([True], longer * self.act.remembers)

    def run(self, trials: Sequence[bool], memory: int | None = None) -> None:
        """Run the trials; those that are True with a seeded cache of that memory."""
        with ExitStack() as stack:
            managers = [stack.enter_context(connection) for connection in self.target.managers()]
            verifiers = stack.enter_context(self._verifiers())
            for is_seeded in trials:
                self._try(managers, verifiers, (memory or self.act.remembers) if is_seeded else 0)

    @contextmanager
    def _verifiers(self) -> Iterator[Sequence[Verifier]]:
        verifiers = [
            Verifier(number, endpoint, narrowed=self.act.narrows)
            for number, endpoint in enumerate(self.endpoints)
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

    def _try(
        self, managers: Sequence[Connection], verifiers: Sequence[Verifier], memory: int
    ) -> None:
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
        self._settle(trial, endings, self.seeded[memory] if memory else self.actual)

    def _make(self, managers: Sequence[Connection]) -> Key:
        """Create a key at a random server, trying others while one is unavailable."""
        for _ in range(ATTEMPTS):
            with suppress(Refused):
                return self.act.make(anywhere(managers), self.clock.now())
            time.sleep(ATTEMPT_SECONDS)
        return self.act.make(anywhere(managers), self.clock.now())

    def _end(self, managers: Sequence[Connection], key: Key) -> list[Operation]:
        """End the access of the key. Returns all attempts; one without a response may have succeeded."""
        if self.act.ends_at is not None:
            instant = self.clock.monotonic(self.act.ends_at(anywhere(managers), key))
            return [_ending(instant - TOLERANCE, instant + TOLERANCE)]
        if self.act.end is None:
            return [self._suspend()]
        attempts: list[Operation] = []
        for _ in range(ATTEMPTS):
            reply = self.act.end(anywhere(managers), key)
            is_done = reply.status in (DONE | ENDED_BEFORE if attempts else DONE)
            attempts.append(_ending(reply.began, reply.ended, done=is_done))
            if is_done:
                return attempts
            time.sleep(ATTEMPT_SECONDS)
        raise Refused(f"no server did what was requested: a key {self.act.says}")

    def _suspend(self) -> Operation:
        if self.operator is None:
            raise Refused("only the operator suspends a workspace")
        began = time.monotonic_ns()
        self.operator.suspend()
        return _ending(began, time.monotonic_ns())

    def _settle(
        self, trial: Trial, endings: Sequence[Sequence[Operation]], tallies: Tallies
    ) -> None:
        # Access that ends by the clock is judged for each endpoint alone: each has its own tolerance.
        if self.operator is not None:
            self.operator.resume()
        for which, (key, tried) in enumerate(zip(trial.keys, endings, strict=True)):
            mine = [each for each in trial.observations if each.which == which]
            writes = [_creation(key.reply), *tried]
            apart = self.act.ends_at is not None
            tallies.note(writes, mine, trial.answered, apart=apart)


def _creation(reply: Reply) -> Operation:
    return Operation(0, Kind.CREATE, reply.began, reply.ended, Answer.DONE)


def _ending(began: int, ended: int, *, done: bool = True) -> Operation:
    return Operation(0, Kind.END, began, ended, Answer.DONE if done else Answer.UNKNOWN)
