"""Does an end take effect at once? Keys are verified at every door while they are ended at a random server."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import suppress
from typing import Final

from keystead_prove.acts import ACTS, TOLERANCE, Act, has_revocation
from keystead_prove.finding import At, Finding, Planted
from keystead_prove.history import MILLISECOND
from keystead_prove.race import Course, clock_of
from keystead_prove.tally import Tally
from keystead_prove.target import Operator, Site

NAME: Final = "revocation"
PROMISE: Final = (
    "From the answer of an ending on no verification that begins later is accepted, at any door;"
    " and what was refused once is not accepted again."
)
CHUNK: Final = 25
LEAST_PLANTED: Final = 20
PLANTED_SHARE: Final = 10
Tell = Callable[[int], None]


def run(
    site: Site,
    act: Act,
    keys: int,
    operator: Operator,
    *,
    each: int = 1,
    processes: int = 2,
    tell: Tell = lambda _: None,
) -> Finding:
    """The race for so many keys, and a tenth more with the planted cache; `each` verifiers at every door.

    Each way of asking must have seen a planted cache, or the race is not conclusive.
    """
    began = time.monotonic()
    course = Course(site, act, clock_of(operator), operator if act.with_operator else None, each)
    for done in _courses(course, trials_of(act, keys), processes):
        course.honest.add(done.honest)
        for memory, tallies in done.planted.items():
            course.planted[memory].add(tallies)
        tell(done.honest.whole.keys)
    course.sharpen()
    return finding(course, time.monotonic() - began)


def trials_of(act: Act, keys: int) -> list[bool]:
    """The trials that so many keys make, True for each planted one: evenly among the others."""
    honest = -(-keys // act.together)
    least = LEAST_PLANTED if act.remembers == MILLISECOND else 1
    planted = -(-max(least, keys // PLANTED_SHARE) // act.together)
    every = max(1, honest // planted)
    trials: list[bool] = []
    for n in range(honest):
        trials += [False, True] if n % every == 0 and trials.count(True) < planted else [False]
    return trials


def acts_of(site: Site) -> Sequence[Act]:
    """The acts that can be tried on that site: its servers do them, and a door tells of them."""
    done = [act for act in ACTS if act.name != "given up" or has_revocation(site.urls)]
    return [act for act in done if any(door.telling(narrowed=act.narrows) for door in site.doors)]


def finding(course: Course, seconds: float) -> Finding:
    """What the course's tallies say."""
    act, whole = course.act, course.honest.whole
    remembered = f"{act.remembers // MILLISECOND:,} ms"
    return Finding(
        experiment=NAME,
        form=act.says if course.each == 1 else f"{act.says}, {course.in_flight} in flight",
        promise=PROMISE,
        trials=whole.keys,
        violations={
            "accepted after the answer": whole.late,
            "accepted after a refusal": whole.again,
            "refused before the end": whole.early + whole.before,
            "errors of the server": whole.server_errors,
        },
        planted=Planted(
            f"a client that remembers answers for {remembered}",
            course.caught.keys,
            course.caught.broken,
        ),
        counts={
            "verifications": whole.verifications,
            "without an answer": whole.unanswered,
        },
        worst=_worst(act, whole),
        measures="the last accepted verification began, after the "
        + ("instant" if act.ends_at else "answer"),
        seconds=seconds,
        at=at_doors(course),
    )


def at_doors(course: Course) -> list[At]:
    """What was found by each way of asking."""
    return [_at(course, name) for name in sorted(course.names)]


def _at(course: Course, name: str) -> At:
    tally, sees = course.honest.by_name[name], course.sees(name)
    return At(
        name=name,
        verifications=tally.verifications,
        after=tally.after,
        kept=tally.kept,
        wrong=tally.late + tally.again,
        worst=_worst(course.act, tally),
        sees=None if sees is None else sees / MILLISECOND,
    )


def _worst(act: Act, tally: Tally) -> float | None:
    """By the clock the history's end is the instant and what is tolerated; what is told is from the instant on."""
    tolerated = TOLERANCE if act.ends_at else 0
    return None if tally.worst is None else (tally.worst + tolerated) / MILLISECOND


def _courses(course: Course, trials: Sequence[bool], processes: int) -> Iterator[Course]:
    """The course in parts, over so many processes; what only the operator can do is done in this one."""
    size = min(CHUNK, -(-len(trials) // processes))
    parts = [trials[start : start + size] for start in range(0, len(trials), size)]
    if processes == 1 or course.operator is not None:
        yield from (_on(course, part) for part in parts)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(parts)), context) as pool:
        waiting: list[Future[Course]] = [pool.submit(_on, course, part) for part in parts]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            with suppress(Exception):
                pool.shutdown(cancel_futures=True)


def _on(course: Course, trials: Sequence[bool]) -> Course:
    part = Course(course.site, course.act, course.clock, course.operator, course.each)
    part.run(trials)
    return part
