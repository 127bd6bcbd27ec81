"""May servers be restarted one after the other? They are, again and again, while keys are verified and revoked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from keystead_prove.acts import REVOKED
from keystead_prove.finding import Finding, Planted
from keystead_prove.race import Course, clock_of
from keystead_prove.revocation import at_doors
from keystead_prove.servers import Own
from keystead_prove.target import Operator, Site

NAME: Final = "restart"
PROMISE: Final = (
    "While servers are restarted one after the other, no answer is wrong and none is an error;"
    " each server ends what it has begun, and exits with 0."
)
TRIALS: Final = (False, False, True)
"""What is tried again and again meanwhile; True with the planted cache."""


def run(
    site: Site,
    operator: Operator,
    servers: Sequence[Own],
    rounds: int,
    tell: Callable[[int], None] = lambda _: None,
) -> Finding:
    """Each server so many times."""
    began = time.monotonic()
    course = Course(site, REVOKED, clock_of(operator))
    rolled = threading.Event()
    failures: list[BaseException] = []
    load = threading.Thread(target=_race, args=(course, rolled, failures), daemon=True)
    load.start()
    codes = []
    try:
        for _ in range(rounds):
            for server in servers:
                codes.append(server.stop())
                server.start()
                tell(1)
    finally:
        rolled.set()
        load.join()
    if failures:
        raise failures[0]
    return _finding(course, codes, time.monotonic() - began)


def _race(course: Course, rolled: threading.Event, failures: list[BaseException]) -> None:
    """Until all servers were restarted, and the planted cache was seen."""
    try:
        while not rolled.is_set():
            course.run(TRIALS)
        course.sharpen()
    except Exception as error:  # noqa: BLE001 - told to who waits for the end of it
        failures.append(error)


def _finding(course: Course, codes: Sequence[int], seconds: float) -> Finding:
    honest, planted = course.honest.whole, course.caught
    return Finding(
        experiment=NAME,
        form="servers restarted one after the other, while keys are revoked",
        promise=PROMISE,
        trials=len(codes),
        violations={
            "accepted after the answer": honest.late,
            "accepted after a refusal": honest.again,
            "refused before the end": honest.early + honest.before,
            "errors of the server": honest.server_errors + honest.statuses[503],
            "servers that did not end well": sum(code != 0 for code in codes),
        },
        planted=Planted("a client that remembers answers for 1 ms", planted.keys, planted.broken),
        counts={
            "keys revoked": honest.keys,
            "verifications": honest.verifications,
            "sent while the server was away": honest.statuses[0],
        },
        seconds=seconds,
        at=at_doors(course),
    )
