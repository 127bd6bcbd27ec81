"""Is a limit exact? Many keys are created at the same time, at all servers, with room for a few."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from keystead_prove.report import Finding, SeededFault
from keystead_prove.servers.calls import active_keys, clear, draft
from keystead_prove.servers.connection import Connection
from keystead_prove.servers.endpoints import Operator, Target
from keystead_prove.servers.faulty_server import Fault, faulty_server

NAME: Final = "limit"
PROMISE: Final = (
    "With room for ten more keys in a plan, exactly ten of a hundred concurrent creations over all servers are"
    " acknowledged, and exactly ten keys are active."
)
ROOM: Final = 10
CREATIONS: Final = 100
THREADS: Final = 25
SEEDED_ROUNDS: Final = 3


@dataclass
class Rounds:
    """The results of the rounds."""

    number: int = 0
    over: int = 0
    under: int = 0
    lost: int = 0
    unanswered: int = 0

    @property
    def broken(self) -> bool:
        """Return whether any round was not exact."""
        return bool(self.over or self.under or self.lost)


def run(
    target: Target, operator: Operator, rounds: int, on_step: Callable[[int], None] = lambda _: None
) -> Finding:
    """Run that many rounds, and some against a server that counts without a lock."""
    began = time.monotonic()
    actual = _rounds(target, operator, rounds, on_step)
    with faulty_server(Fault.RACY) as racy:
        seeded = [_rounds(racy.target, racy, 1, on_step) for _ in range(SEEDED_ROUNDS)]
    return Finding(
        experiment=NAME,
        form=f"{CREATIONS} concurrent creations for {ROOM} places",
        promise=PROMISE,
        trials=actual.number,
        violations={
            "rounds with too many keys": actual.over,
            "rounds with too few": actual.under,
            "rounds whose acknowledged keys are not the active ones": actual.lost,
        },
        seeded=SeededFault(
            f"a server that {Fault.RACY}", SEEDED_ROUNDS, sum(p.broken for p in seeded)
        ),
        counts={"creations": actual.number * CREATIONS, "without a response": actual.unanswered},
        seconds=time.monotonic() - began,
    )


def _rounds(
    target: Target, operator: Operator, rounds: int, on_step: Callable[[int], None]
) -> Rounds:
    results = Rounds()
    with ExitStack() as stack:
        managers = [stack.enter_context(connection) for connection in target.managers()]
        connections = [
            stack.enter_context(Connection(target.urls[n % len(target.urls)], target.token))
            for n in range(THREADS)
        ]
        present = clear(managers[0])
        operator.limit_keys(len(present) + ROOM)
        try:
            for _ in range(rounds):
                _round(managers, connections, present, results)
                on_step(1)
        finally:
            operator.limit_keys(None)
    return results


def _round(
    managers: list[Connection], connections: list[Connection], present: set[str], results: Rounds
) -> None:
    """Run one round, then revoke its keys, which makes room for the next."""
    barrier = threading.Barrier(THREADS)

    def create(connection: Connection) -> list[int]:
        barrier.wait()
        return [
            connection.send("POST", "/v1/keys", draft()).status for _ in range(CREATIONS // THREADS)
        ]

    with ThreadPoolExecutor(THREADS) as pool:
        statuses = [status for statuses in pool.map(create, connections) for status in statuses]
    acknowledged = statuses.count(201)
    unanswered = len(statuses) - acknowledged - statuses.count(409)
    active = [{key["id"] for key in active_keys(connection)} - present for connection in managers]
    results.number += 1
    results.unanswered += unanswered
    results.over += any(len(keys) > ROOM for keys in active) or acknowledged > ROOM
    results.under += any(len(keys) < ROOM for keys in active) and not unanswered
    results.lost += any(not 0 <= len(keys) - acknowledged <= unanswered for keys in active)
    for id in set[str]().union(*active):
        managers[0].send("DELETE", f"/v1/keys/{id}")
