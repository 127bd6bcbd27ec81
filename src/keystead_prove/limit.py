"""Is a limit exact? Many ask for keys at once, at all servers, where there is room for a few."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from keystead_prove.calls import active_keys, clear, draft
from keystead_prove.connection import Line
from keystead_prove.faulty_server import Fault, flawed
from keystead_prove.finding import Finding, Planted
from keystead_prove.target import Operator, Site

NAME: Final = "limit"
PROMISE: Final = (
    "Where a plan has room for ten more keys, of a hundred creations at once over all servers exactly ten are"
    " acknowledged and exactly ten keys are active."
)
ROOM: Final = 10
CREATIONS: Final = 100
THREADS: Final = 25
PLANTED_ROUNDS: Final = 3


@dataclass
class Rounds:
    """How the rounds came out."""

    number: int = 0
    over: int = 0
    under: int = 0
    lost: int = 0
    unanswered: int = 0

    @property
    def broken(self) -> bool:
        """Whether any was not exact."""
        return bool(self.over or self.under or self.lost)


def run(
    site: Site, operator: Operator, rounds: int, tell: Callable[[int], None] = lambda _: None
) -> Finding:
    """So many rounds, and a few against a server that counts without a lock."""
    began = time.monotonic()
    honest = _rounds(site, operator, rounds, tell)
    with flawed(Fault.RACY) as racy:
        planted = [_rounds(racy.site, racy, 1, tell) for _ in range(PLANTED_ROUNDS)]
    return Finding(
        experiment=NAME,
        form=f"{CREATIONS} creations at once for {ROOM} places",
        promise=PROMISE,
        trials=honest.number,
        violations={
            "rounds with too many keys": honest.over,
            "rounds with too few": honest.under,
            "rounds that acknowledged other than what is there": honest.lost,
        },
        planted=Planted(
            f"a server that {Fault.RACY}", PLANTED_ROUNDS, sum(p.broken for p in planted)
        ),
        counts={"creations": honest.number * CREATIONS, "without an answer": honest.unanswered},
        seconds=time.monotonic() - began,
    )


def _rounds(site: Site, operator: Operator, rounds: int, tell: Callable[[int], None]) -> Rounds:
    seen = Rounds()
    with ExitStack() as stack:
        managers = [stack.enter_context(line) for line in site.managers()]
        lines = [
            stack.enter_context(Line(site.urls[n % len(site.urls)], site.token))
            for n in range(THREADS)
        ]
        kept = clear(managers[0])
        operator.limit_keys(len(kept) + ROOM)
        try:
            for _ in range(rounds):
                _round(managers, lines, kept, seen)
                tell(1)
        finally:
            operator.limit_keys(None)
    return seen


def _round(managers: list[Line], lines: list[Line], kept: set[str], seen: Rounds) -> None:
    """One round; afterwards its keys are revoked, which makes room for the next."""
    barrier = threading.Barrier(THREADS)

    def create(line: Line) -> list[int]:
        barrier.wait()
        return [line.send("POST", "/v1/keys", draft()).status for _ in range(CREATIONS // THREADS)]

    with ThreadPoolExecutor(THREADS) as pool:
        statuses = [status for told in pool.map(create, lines) for status in told]
    acknowledged = statuses.count(201)
    unanswered = len(statuses) - acknowledged - statuses.count(409)
    active = [{key["id"] for key in active_keys(line)} - kept for line in managers]
    seen.number += 1
    seen.unanswered += unanswered
    seen.over += any(len(keys) > ROOM for keys in active) or acknowledged > ROOM
    seen.under += any(len(keys) < ROOM for keys in active) and not unanswered
    seen.lost += any(not 0 <= len(keys) - acknowledged <= unanswered for keys in active)
    for id in set[str]().union(*active):
        managers[0].send("DELETE", f"/v1/keys/{id}")
