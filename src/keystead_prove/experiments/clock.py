"""Does a key end at its time on every server? Keys that expire are verified every 20 ms at each of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from keystead_prove.race.acts import EXPIRED, TOLERANCE
from keystead_prove.race.history import MILLISECOND
from keystead_prove.race.race import Race, clock_of
from keystead_prove.race.tally import Tally
from keystead_prove.report import Finding, SeededFault
from keystead_prove.servers.endpoints import Operator, Target
from keystead_prove.servers.faulty_server import Fault, faulty_server

NAME: Final = "clock"
PROMISE: Final = (
    "A key expires within a quarter of a second of its time by the database's clock, on every server,"
    " and stays expired."
)
TOGETHER: Final = 4
ACT: Final = replace(EXPIRED, together=TOGETHER)
SEEDED_TRIALS: Final = 1


def run(
    target: Target, operator: Operator, rounds: int, on_step: Callable[[int], None] = lambda _: None
) -> Finding:
    """Let that many keys expire, four at a time; then some at a server whose clock is slow."""
    began = time.monotonic()
    actual = _watched(target, operator, -(-rounds // TOGETHER), on_step)
    with faulty_server(Fault.LATE) as late:
        seeded = _watched(late.target, late, SEEDED_TRIALS, on_step)
    return Finding(
        experiment=NAME,
        form="keys that expire in three seconds, verified every 20 ms",
        promise=PROMISE,
        trials=actual.keys,
        violations={
            "accepted after the expiry": actual.late,
            "accepted after a refusal": actual.again,
            "refused before the expiry": actual.early,
            "errors of the server": actual.server_errors,
        },
        seeded=SeededFault(f"a server with {Fault.LATE}", seeded.keys, seeded.broken),
        counts={"verifications": actual.verifications, "without a response": actual.unanswered},
        worst=None if actual.worst is None else (actual.worst + TOLERANCE) / MILLISECOND,
        measures="the last accepted verification began, after the expiry",
        seconds=time.monotonic() - began,
    )


def _watched(
    target: Target, operator: Operator, trials: int, on_step: Callable[[int], None]
) -> Tally:
    race = Race(target, ACT, clock_of(operator))
    for _ in range(trials):
        race.run([False])
        on_step(TOGETHER)
    return race.actual.whole
