"""Who verifies in a race: a thread for each door, which asks about the keys of one trial as fast as it is answered."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final

from keystead_prove.calls import Key, Refused
from keystead_prove.connection import NO_ANSWER, Line, Reply
from keystead_prove.endpoints import REFUSED, Door, Question, lets_in
from keystead_prove.history import NEVER, Answer, Kind, Operation

ROUNDS_AFTER: Final = 2
"""How often each verifier asks for each key after the ending was answered, and by each of its questions once."""
FRESH_EVERY: Final = 5
"""Every so many verifications use a connection of their own where a door does not keep one."""
PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A verification: of which key of its trial, by the question of which name, with what status.

    `opened`: when the connection that it went over had been made.
    """

    which: int
    name: str
    status: int
    opened: int
    operation: Operation


@dataclass
class Trial:
    """Keys that are verified while they end, with so many seconds between two verifications.

    `number`: the how manieth trial it is. `remembers`: nanoseconds that a planted cache keeps an answer. `answered`:
    when their ending was; `over`: nobody needs to go on.
    """

    keys: Sequence[Key]
    number: int = 0
    remembers: int = 0
    pause: float = 0.0
    answered: int = NEVER
    over: bool = False
    seen: list[Seen] = field(default_factory=list)
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
    """Puts the questions of one door about the keys of trial after trial."""

    def __init__(self, number: int, door: Door, *, narrowed: bool) -> None:
        super().__init__(name=f"verify at {number}", daemon=True)
        self.trials: SimpleQueue[Trial | None] = SimpleQueue()
        self._number, self._door, self._narrowed = number, door, narrowed
        self._remembered: dict[int, tuple[Reply, int]] = {}

    def run(self) -> None:
        """Until it is given no more trials."""
        with Line(self._door.url) as line:
            while (trial := self.trials.get()) is not None:
                self._remembered.clear()
                try:
                    self._verify(line, trial)
                except Exception as error:  # noqa: BLE001 - who waits for its sign is told, whatever it is
                    trial.signs.put(f"ended by {type(error).__name__}")

    def _verify(self, line: Line, trial: Trial) -> None:
        if self._door.kept:
            line.close()  # gateways end a connection after so many requests: not within a trial
        enough = max(ROUNDS_AFTER, len(self._door.questions)) * len(trial.keys)
        asked_after = 0
        for n in itertools.count():
            turn, which = divmod(n, len(trial.keys))
            question = self._question(trial, turn, which)
            reply = self._ask(line, trial, turn, which, question)
            trial.seen.append(self._seen(which, question.name, reply))
            asked_after += reply.began > trial.answered
            if n + 1 == len(trial.keys):
                trial.signs.put("begun")
            if trial.over or asked_after == enough:
                break
            if trial.pause:
                time.sleep(trial.pause)
        trial.signs.put("done")

    def _question(self, trial: Trial, turn: int, which: int) -> Question:
        """Each in its turn; where answers are remembered, always the same about a key, and another in each trial."""
        turn = which if trial.remembers else turn
        return self._door.questions[
            (turn + trial.number + self._number) % len(self._door.questions)
        ]

    def _ask(self, line: Line, trial: Trial, turn: int, which: int, question: Question) -> Reply:
        """The answer; with the planted cache, what was answered before."""
        if trial.remembers and which in self._remembered:
            reply, until = self._remembered[which]
            began = time.monotonic_ns()
            if began < until:
                time.sleep(0.000_05)
                return Reply(reply.status, began, time.monotonic_ns(), opened=reply.opened)
        if not self._door.kept and turn % FRESH_EVERY == FRESH_EVERY - 1:
            line.close()
        reply = question.ask(line, trial.keys[which].token, narrowed=self._narrowed)
        if reply.status == NO_ANSWER:
            time.sleep(0.01)
        self._remembered[which] = (reply, reply.ended + trial.remembers)
        return reply

    def _seen(self, which: int, name: str, reply: Reply) -> Seen:
        told = Answer.UNKNOWN
        if lets_in(reply.status):
            told = Answer.ACCEPTED
        elif reply.status in REFUSED:
            told = Answer.REFUSED
        operation = Operation(self._number, Kind.VERIFY, reply.began, reply.ended, told)
        return Seen(which, name, reply.status, reply.opened, operation)


def by_door(seen: Iterable[Seen]) -> list[list[Seen]]:
    """The same, what was seen at each door apart."""
    parts: dict[int, list[Seen]] = {}
    for one in seen:
        parts.setdefault(one.operation.server, []).append(one)
    return list(parts.values())
