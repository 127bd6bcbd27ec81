"""The verifiers of a race: a thread for each endpoint, which probes the keys of one trial as fast as it can."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final

from keystead_prove.race.history import NEVER, Answer, Kind, Operation
from keystead_prove.servers.calls import Key, Refused
from keystead_prove.servers.connection import NO_ANSWER, Connection, Reply
from keystead_prove.servers.endpoints import REFUSED, Endpoint, Probe, accepts

ROUNDS_AFTER: Final = 2
"""How often each verifier probes each key after the revocation, with each probe at least once."""
FRESH_EVERY: Final = 5
"""How often a verification uses a new connection, unless the endpoint keeps one."""
PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Observation:
    """The response to one verification of a key of the trial by a probe.

    `opened`: when its connection was established.
    """

    which: int
    name: str
    status: int
    opened: int
    operation: Operation


@dataclass
class Trial:
    """Keys that are verified while their access ends, pausing `pause` seconds between two verifications.

    `number`: of the trial. `remembers`: how long the seeded cache keeps a response, in nanoseconds. `answered`:
    when the acts were acknowledged. `over`: verifiers may stop.
    """

    keys: Sequence[Key]
    number: int = 0
    remembers: int = 0
    pause: float = 0.0
    answered: int = NEVER
    over: bool = False
    observations: list[Observation] = field(default_factory=list)
    signs: SimpleQueue[str] = field(default_factory=SimpleQueue)

    def wait_for(self, sign: str, verifiers: int) -> None:
        """Wait until every verifier has given that sign. Raises Refused."""
        for _ in range(verifiers):
            try:
                given = self.signs.get(timeout=PATIENCE_SECONDS)
            except Empty:
                raise Refused(f"verifications were not {sign} in time") from None
            if given != sign:
                raise Refused(f"a verification was {given}, not {sign}")


class Verifier(threading.Thread):
    """Runs the probes of one endpoint for trial after trial."""

    def __init__(self, number: int, endpoint: Endpoint, *, narrowed: bool) -> None:
        super().__init__(name=f"verify at {number}", daemon=True)
        self.trials: SimpleQueue[Trial | None] = SimpleQueue()
        self._number, self._door, self._narrowed = number, endpoint, narrowed
        self._remembered: dict[int, tuple[Reply, int]] = {}

    def run(self) -> None:
        """Verify until there are no more trials."""
        with Connection(self._door.url) as connection:
            while (trial := self.trials.get()) is not None:
                self._remembered.clear()
                try:
                    self._verify(connection, trial)
                except Exception as error:  # noqa: BLE001 - reported to the thread that waits for the sign
                    trial.signs.put(f"ended by {type(error).__name__}")

    def _verify(self, connection: Connection, trial: Trial) -> None:
        if self._door.kept:
            connection.close()  # gateways close a connection after many requests: not within a trial
        enough = max(ROUNDS_AFTER, len(self._door.probes)) * len(trial.keys)
        asked_after = 0
        for n in itertools.count():
            turn, which = divmod(n, len(trial.keys))
            probe = self._probe(trial, turn, which)
            reply = self._ask(connection, trial, turn, which, probe)
            trial.observations.append(self._seen(which, probe.name, reply))
            asked_after += reply.began > trial.answered
            if n + 1 == len(trial.keys):
                trial.signs.put("begun")
            if trial.over or asked_after == enough:
                break
            if trial.pause:
                time.sleep(trial.pause)
        trial.signs.put("done")

    def _probe(self, trial: Trial, turn: int, which: int) -> Probe:
        """Return the next probe; with a seeded cache always the same for a key, and another in each trial."""
        turn = which if trial.remembers else turn
        return self._door.probes[(turn + trial.number + self._number) % len(self._door.probes)]

    def _ask(
        self, connection: Connection, trial: Trial, turn: int, which: int, probe: Probe
    ) -> Reply:
        """Send the probe; with the seeded cache, return an earlier response."""
        if trial.remembers and which in self._remembered:
            reply, until = self._remembered[which]
            began = time.monotonic_ns()
            if began < until:
                time.sleep(0.000_05)
                return Reply(reply.status, began, time.monotonic_ns(), opened=reply.opened)
        if not self._door.kept and turn % FRESH_EVERY == FRESH_EVERY - 1:
            connection.close()
        reply = probe.ask(connection, trial.keys[which].token, narrowed=self._narrowed)
        if reply.status == NO_ANSWER:
            time.sleep(0.01)
        self._remembered[which] = (reply, reply.ended + trial.remembers)
        return reply

    def _seen(self, which: int, name: str, reply: Reply) -> Observation:
        answer = Answer.UNKNOWN
        if accepts(reply.status):
            answer = Answer.ACCEPTED
        elif reply.status in REFUSED:
            answer = Answer.REFUSED
        operation = Operation(self._number, Kind.VERIFY, reply.began, reply.ended, answer)
        return Observation(which, name, reply.status, reply.opened, operation)


def by_endpoint(observations: Iterable[Observation]) -> list[list[Observation]]:
    """Return the observations of each endpoint."""
    parts: dict[int, list[Observation]] = {}
    for observation in observations:
        parts.setdefault(observation.operation.server, []).append(observation)
    return list(parts.values())
