"""Does revoked access end immediately? Keys are verified at every endpoint while a random server revokes them."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import suppress
from typing import Final

from keystead_prove.race.acts import ACTS, TOLERANCE, Act, has_revocation
from keystead_prove.race.history import MILLISECOND
from keystead_prove.race.race import Race, clock_of
from keystead_prove.race.tally import Tally
from keystead_prove.report import At, Finding, SeededFault
from keystead_prove.servers.endpoints import Operator, Target

NAME: Final = "revocation"
PROMISE: Final = (
    "No verification that begins after the response to a revocation is accepted, at any endpoint;"
    " and a key that was refused once is not accepted again."
)
CHUNK: Final = 25
LEAST_SEEDED: Final = 20
SEEDED_SHARE: Final = 10
OnStep = Callable[[int], None]


def run(
    target: Target,
    act: Act,
    keys: int,
    operator: Operator,
    *,
    each: int = 1,
    processes: int = 2,
    on_step: OnStep = lambda _: None,
) -> Finding:
    """Run the race for that many keys, and for a tenth more with the seeded cache.

    Every probe must have shown a seeded cache, or the race is not conclusive. `each`: verifiers at every endpoint.
    """
    began = time.monotonic()
    race = Race(target, act, clock_of(operator), operator if act.with_operator else None, each)
    for done in _races(race, trials_of(act, keys), processes):
        race.actual.add(done.actual)
        for memory, tallies in done.seeded.items():
            race.seeded[memory].add(tallies)
        on_step(done.actual.whole.keys)
    race.prove_sensitivity()
    return finding(race, time.monotonic() - began)


def trials_of(act: Act, keys: int) -> list[bool]:
    """Return the trials for that many keys, the seeded ones (True) spread evenly among the others."""
    actual = -(-keys // act.together)
    least = LEAST_SEEDED if act.remembers == MILLISECOND else 1
    seeded = -(-max(least, keys // SEEDED_SHARE) // act.together)
    every = max(1, actual // seeded)
    trials: list[bool] = []
    for n in range(actual):
        trials += [False, True] if n % every == 0 and trials.count(True) < seeded else [False]
    return trials


def acts_of(target: Target) -> Sequence[Act]:
    """Return the acts that the servers of this target support and an endpoint detects."""
    done = [act for act in ACTS if act.name != "given up" or has_revocation(target.urls)]
    return [
        act
        for act in done
        if any(endpoint.detecting(narrowed=act.narrows) for endpoint in target.endpoints)
    ]


def finding(race: Race, seconds: float) -> Finding:
    """Return the finding of the race's tallies."""
    act, whole = race.act, race.actual.whole
    remembered = f"{act.remembers // MILLISECOND:,} ms"
    return Finding(
        experiment=NAME,
        form=act.says if race.each == 1 else f"{act.says}, {race.in_flight} in flight",
        promise=PROMISE,
        trials=whole.keys,
        violations={
            "accepted after the response": whole.late,
            "accepted after a refusal": whole.again,
            "refused before the revocation": whole.early + whole.before,
            "errors of the server": whole.server_errors,
        },
        seeded=SeededFault(
            f"a client that caches responses for {remembered}",
            race.caught.keys,
            race.caught.broken,
        ),
        counts={
            "verifications": whole.verifications,
            "without a response": whole.unanswered,
        },
        worst=_worst(act, whole),
        measures="the last accepted verification began, after the "
        + ("expiry" if act.ends_at else "response"),
        seconds=seconds,
        at=by_probe(race),
    )


def by_probe(race: Race) -> list[At]:
    """Return the finding by each probe."""
    return [_at(race, name) for name in sorted(race.names)]


def _at(race: Race, name: str) -> At:
    tally, sees = race.actual.by_name[name], race.sees(name)
    return At(
        name=name,
        verifications=tally.verifications,
        after=tally.after,
        kept=tally.kept,
        wrong=tally.late + tally.again,
        worst=_worst(race.act, tally),
        sees=None if sees is None else sees / MILLISECOND,
    )


def _worst(act: Act, tally: Tally) -> float | None:
    # By the clock, the history's end is the expiry plus the tolerance; we report the time since the expiry.
    tolerated = TOLERANCE if act.ends_at else 0
    return None if tally.worst is None else (tally.worst + tolerated) / MILLISECOND


def _races(race: Race, trials: Sequence[bool], processes: int) -> Iterator[Race]:
    """Run the race in parts over that many processes; acts of the operator run in this one only."""
    size = min(CHUNK, -(-len(trials) // processes))
    parts = [trials[start : start + size] for start in range(0, len(trials), size)]
    if processes == 1 or race.operator is not None:
        yield from (_on(race, part) for part in parts)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(parts)), context) as pool:
        waiting: list[Future[Race]] = [pool.submit(_on, race, part) for part in parts]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            with suppress(Exception):
                pool.shutdown(cancel_futures=True)


def _on(race: Race, trials: Sequence[bool]) -> Race:
    part = Race(race.target, race.act, race.clock, race.operator, race.each)
    part.run(trials)
    return part
