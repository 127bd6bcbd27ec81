"""The race between an act that ends keys and those who verify them, in one process.

Every server is asked in a tight loop, from before the act until well after its answer; then each key's history is
judged.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Final

from keystead.proof.acts import DONE, ENDED_BEFORE, TOLERANCE, Act
from keystead.proof.history import NEVER, Answer, Kind, Operation, judge
from keystead.proof.site import Key, Operator, Refused, Site, anywhere
from keystead.proof.tally import Tally
from keystead.proof.wire import NO_ANSWER, Line, Reply

ROUNDS_AFTER: Final = 2
"""How often each verifier asks for each key after the ending was answered."""
FRESH_EVERY: Final = 5
"""Every so many verifications use a connection of their own; the others keep theirs."""
PAUSE_SECONDS: Final = 0.005
"""Between two verifications where the end comes by the clock, and is waited for."""
ATTEMPTS: Final = 150
ATTEMPT_SECONDS: Final = 0.1
"""How often, and how long after one another, a change is asked for where servers are away."""
PATIENCE_SECONDS: Final = 60.0
REMEMBERED: Final = 1_000_000
"""What a planted cache remembers an answer for: a millisecond."""
REMEMBERED_BY_THE_CLOCK: Final = 1_500_000_000
"""The same where the end may be a quarter of a second off."""


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
class Trial:
    """Keys that are verified while they end, with so many seconds between two verifications.

    `remembers`: nanoseconds that a planted cache keeps an answer. `answered`: when their ending was; `over`: nobody
    needs to go on.
    """

    keys: Sequence[Key]
    remembers: int = 0
    pause: float = 0.0
    answered: int = NEVER
    over: bool = False
    seen: list[tuple[int, Operation]] = field(default_factory=list)
    signs: SimpleQueue[str] = field(default_factory=SimpleQueue)

    def wait_for(self, sign: str, verifiers: int) -> None:
        """Returns when every verifier has given that sign. Refused where one never does."""
        for _ in range(verifiers):
            try:
                given = self.signs.get(timeout=PATIENCE_SECONDS)
            except Empty:
                raise Refused(f"verifications were not {sign} in time") from None
            if given != sign:
                raise Refused(f"a verification was {given}, not {sign}")


class Verifier(threading.Thread):
    """Asks one server for the keys of trial after trial, as fast as it answers."""

    def __init__(self, server: int, url: str, paths: Sequence[str]) -> None:
        super().__init__(name=f"verify at {server}", daemon=True)
        self.trials: SimpleQueue[Trial | None] = SimpleQueue()
        self.statuses: Counter[int] = Counter()
        self._server, self._url, self._paths = server, url, paths
        self._remembered: dict[int, tuple[Reply, int]] = {}

    def run(self) -> None:
        """Until it is given no more trials."""
        with Line(self._url) as line:
            while (trial := self.trials.get()) is not None:
                self._remembered.clear()
                try:
                    self._verify(line, trial)
                except Exception as error:  # noqa: BLE001 - who waits for its sign is told, whatever it is
                    trial.signs.put(f"ended by {type(error).__name__}")

    def _verify(self, line: Line, trial: Trial) -> None:
        keys = trial.keys
        asked_after = 0
        for n in itertools.count():
            reply = self._ask(line, trial, n)
            trial.seen.append((n % len(keys), _verification(self._server, reply)))
            self.statuses[reply.status] += 1
            asked_after += reply.began > trial.answered
            if n + 1 == len(keys):
                trial.signs.put("begun")
            if trial.over or asked_after == ROUNDS_AFTER * len(keys):
                break
            if trial.pause:
                time.sleep(trial.pause)
        trial.signs.put("done")

    def _ask(self, line: Line, trial: Trial, n: int) -> Reply:
        which = n % len(trial.keys)
        if trial.remembers and which in self._remembered:
            reply, until = self._remembered[which]
            began = time.monotonic_ns()
            if began < until:
                time.sleep(0.000_05)
                return Reply(reply.status, began, time.monotonic_ns())
        turn = n // len(trial.keys)
        path = self._paths[turn % len(self._paths)]
        reply = line.get(path, trial.keys[which].token, fresh=turn % FRESH_EVERY == FRESH_EVERY - 1)
        if reply.status == NO_ANSWER:
            time.sleep(0.01)
        self._remembered[which] = (reply, reply.ended + trial.remembers)
        return reply


@dataclass
class Course:
    """A race on one site: verifiers at every server, `each` of them at one."""

    site: Site
    act: Act
    clock: Clock
    operator: Operator | None = None
    each: int = 1
    honest: Tally = field(default_factory=Tally)
    planted: Tally = field(default_factory=Tally)

    @property
    def in_flight(self) -> int:
        """How many verifications are on their way at a time."""
        return self.each * len(self.site.urls)

    def run(self, trials: Sequence[bool]) -> None:
        """So many trials, those that are True with the planted cache."""
        with ExitStack() as stack:
            managers = [stack.enter_context(line) for line in self.site.managers()]
            verifiers = stack.enter_context(self._verifiers())
            for is_planted in trials:
                self._try(managers, verifiers, is_planted)

    @contextmanager
    def _verifiers(self) -> Iterator[Sequence[Verifier]]:
        paths = self.site.paths(self.act.scope)
        verifiers = [
            Verifier(server, url, paths)
            for server, url in enumerate(self.site.urls)
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
        self, managers: Sequence[Line], verifiers: Sequence[Verifier], is_planted: bool
    ) -> None:
        now = self.clock.now()
        keys = [self._make(managers, now) for _ in range(self.act.together)]
        pause = PAUSE_SECONDS if self.act.ends_at else 0.0
        trial = Trial(keys, self._memory() if is_planted else 0, pause)
        for verifier in verifiers:
            verifier.trials.put(trial)
        try:
            trial.wait_for("begun", len(verifiers))
            endings = [self._end(managers, key) for key in keys]
            trial.answered = max(tried[-1].ended for tried in endings)
            trial.wait_for("done", len(verifiers))
        finally:
            trial.over = True
        self._settle(trial, endings, verifiers, self.planted if is_planted else self.honest)

    def _memory(self) -> int:
        return REMEMBERED_BY_THE_CLOCK if self.act.ends_at else REMEMBERED

    def _make(self, managers: Sequence[Line], now: datetime) -> Key:
        """A key, made by a random server; by another where one is away."""
        for _ in range(ATTEMPTS):
            with suppress(Refused):
                return self.act.make(anywhere(managers), now)
            time.sleep(ATTEMPT_SECONDS)
        return self.act.make(anywhere(managers), now)

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
        self,
        trial: Trial,
        endings: Sequence[Sequence[Operation]],
        verifiers: Sequence[Verifier],
        tally: Tally,
    ) -> None:
        """Judges each key. Ended by the clock, each server by itself, since each has its own quarter of a second."""
        if self.operator is not None:
            self.operator.resume()
        for which, (key, tried) in enumerate(zip(trial.keys, endings, strict=True)):
            mine = [operation for n, operation in trial.seen if n == which]
            writes = [_creation(key.reply), *tried]
            parts = _by_server(mine) if self.act.ends_at else [mine]
            tally.note_key([judge([*writes, *part]) for part in parts])
        for verifier in verifiers:
            tally.statuses.update(verifier.statuses)
            verifier.statuses.clear()


def _by_server(operations: Sequence[Operation]) -> Iterator[list[Operation]]:
    for server in {operation.server for operation in operations}:
        yield [operation for operation in operations if operation.server == server]


def _verification(server: int, reply: Reply) -> Operation:
    answer = {200: Answer.ACCEPTED, 401: Answer.REFUSED, 403: Answer.REFUSED}
    told = answer.get(reply.status, Answer.UNKNOWN)
    return Operation(server, Kind.VERIFY, reply.began, reply.ended, told)


def _creation(reply: Reply) -> Operation:
    return Operation(0, Kind.CREATE, reply.began, reply.ended, Answer.DONE)


def _ending(began: int, ended: int, *, done: bool = True) -> Operation:
    return Operation(0, Kind.END, began, ended, Answer.DONE if done else Answer.UNKNOWN)
