"""Can servers be restarted one by one? They are, repeatedly, while keys are verified and revoked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from keystead_prove.experiments.revocation import by_probe
from keystead_prove.race.acts import REVOKED
from keystead_prove.race.race import Race, clock_of
from keystead_prove.report import Finding, SeededFault
from keystead_prove.servers.endpoints import Operator, Target
from keystead_prove.servers.processes import RestartableServer

NAME: Final = "restart"
PROMISE: Final = (
    "While servers are restarted one by one, every response is right, without errors;"
    " each server finishes its requests, and exits with 0."
)
TRIALS: Final = (False, False, True)
"""The trials that are repeated meanwhile; True with the seeded cache."""


def run(
    target: Target,
    operator: Operator,
    servers: Sequence[RestartableServer],
    rounds: int,
    on_step: Callable[[int], None] = lambda _: None,
) -> Finding:
    """Restart each server that often."""
    began = time.monotonic()
    race = Race(target, REVOKED, clock_of(operator))
    rolled = threading.Event()
    failures: list[BaseException] = []
    load = threading.Thread(target=_race, args=(race, rolled, failures), daemon=True)
    load.start()
    codes = []
    try:
        for _ in range(rounds):
            for server in servers:
                codes.append(server.stop())
                server.start()
                on_step(1)
    finally:
        rolled.set()
        load.join()
    if failures:
        raise failures[0]
    return _finding(race, codes, time.monotonic() - began)


def _race(race: Race, rolled: threading.Event, failures: list[BaseException]) -> None:
    """Run until all servers were restarted, and the seeded cache was seen."""
    try:
        while not rolled.is_set():
            race.run(TRIALS)
        race.prove_sensitivity()
    except Exception as error:  # noqa: BLE001 - raised by `run`
        failures.append(error)


def _finding(race: Race, codes: Sequence[int], seconds: float) -> Finding:
    actual, seeded = race.actual.whole, race.caught
    return Finding(
        experiment=NAME,
        form="servers restarted one by one, while keys are revoked",
        promise=PROMISE,
        trials=len(codes),
        violations={
            "accepted after the response": actual.late,
            "accepted after a refusal": actual.again,
            "refused before the revocation": actual.early + actual.before,
            "errors of the server": actual.server_errors + actual.statuses[503],
            "servers with another exit code than 0": sum(code != 0 for code in codes),
        },
        seeded=SeededFault("a client that caches responses for 1 ms", seeded.keys, seeded.broken),
        counts={
            "keys revoked": actual.keys,
            "verifications": actual.verifications,
            "sent while the server was down": actual.statuses[0],
        },
        seconds=seconds,
        at=by_probe(race),
    )
