"""Do all servers end a key at its instant? Keys with an end are asked for every 20 ms at each of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from keystead_prove.acts import EXPIRED, TOLERANCE
from keystead_prove.faulty_server import Fault, flawed
from keystead_prove.finding import Finding, Planted
from keystead_prove.history import MILLISECOND
from keystead_prove.race import Course, clock_of
from keystead_prove.tally import Tally
from keystead_prove.target import Operator, Site

NAME: Final = "clock"
PROMISE: Final = (
    "A key ends within a quarter of a second of its instant by the database's time, on every server,"
    " and for good."
)
TOGETHER: Final = 4
ACT: Final = replace(EXPIRED, together=TOGETHER)
PLANTED_TRIALS: Final = 1


def run(
    site: Site, operator: Operator, rounds: int, tell: Callable[[int], None] = lambda _: None
) -> Finding:
    """So many keys, four at a time, and a few at a server whose clock is late."""
    began = time.monotonic()
    honest = _watched(site, operator, -(-rounds // TOGETHER), tell)
    with flawed(Fault.LATE) as late:
        planted = _watched(late.site, late, PLANTED_TRIALS, tell)
    return Finding(
        experiment=NAME,
        form="keys that end in three seconds, asked for every 20 ms",
        promise=PROMISE,
        trials=honest.keys,
        violations={
            "accepted after the end": honest.late,
            "accepted after a refusal": honest.again,
            "refused before the end": honest.early,
            "errors of the server": honest.server_errors,
        },
        planted=Planted(f"a server with {Fault.LATE}", planted.keys, planted.broken),
        counts={"verifications": honest.verifications, "without an answer": honest.unanswered},
        worst=None if honest.worst is None else (honest.worst + TOLERANCE) / MILLISECOND,
        measures="the last accepted verification began, after the instant",
        seconds=time.monotonic() - began,
    )


def _watched(site: Site, operator: Operator, trials: int, tell: Callable[[int], None]) -> Tally:
    course = Course(site, ACT, clock_of(operator))
    for _ in range(trials):
        course.run([False])
        tell(TOGETHER)
    return course.honest.whole
