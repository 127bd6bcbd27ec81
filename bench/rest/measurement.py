"""The figures: each call vs. its floor, a bare 204 and forward-auth; one process on two cores; many writers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.figures import ROUNDS, Figure, at_least, compared, rates
from bench.load import Requests, Side, always, interleaved, rate
from bench.rest.calls import (
    BARE,
    CALLS,
    ENGINES,
    FLOOR,
    FORWARD_AUTH,
    LOG,
    LOGGED,
    MANY,
    Call,
    Targets,
)
from bench.rest.servers import Target, floor_of, target_on
from bench.servers import application, pin, server_and_load

SECONDS: Final = 1.0
QUICK_SECONDS: Final = 0.2
ON_TWO_CORES: Final = 16
"""Connections to a process that may use two cores."""
TWO_CORES: Final = "whoami on two cores vs. on one"
WRITERS: Final = f"keys created over {MANY} connections and workspaces vs. over one"
LOAD: Final = "the load's own share of its core at a bare 204 (near 1: the load is the bottleneck)"
INTROSPECTION: Final = "introspection"
GATE: Final[dict[str, Targets]] = {
    FORWARD_AUTH: {("SQLite", BARE): at_least(0.85), ("PostgreSQL", BARE): at_least(0.45)},
    INTROSPECTION: {("SQLite", BARE): at_least(0.45)},
}


@dataclass(frozen=True)
class Run:
    """How long to measure, on which cores, and which figures: those with all of `only` in their name."""

    rounds: int
    seconds: float
    only: Sequence[str]
    server_core: int
    load_core: int

    def takes(self, name: str) -> bool:
        """Return whether this figure is measured."""
        return all(part in name for part in self.only)

    def interleaved(self, sides: dict[str, Side], connections: int) -> dict[str, list[float]]:
        """Return the rates of each side."""
        return interleaved(sides, self.rounds, self.seconds, connections, self.load_core)


def figures(quick: bool, only: Sequence[str]) -> Iterator[Figure]:
    """Measure what `only` chooses, engine by engine."""
    run = Run(1 if quick else ROUNDS, QUICK_SECONDS if quick else SECONDS, only, *server_and_load())
    with application(run.server_core, "bench.bare") as bare:
        for engine in ENGINES:
            yield from _on(engine, run, bare)


def _on(engine: str, run: Run, bare: int) -> Iterator[Figure]:
    calls = [
        (call, connections)
        for call in CALLS
        for connections in call.connections
        if run.takes(_name(call.name, engine, connections))
    ]
    gate = [name for name in GATE if run.takes(_name(name, engine, MANY))]
    others = {f"{TWO_CORES}, {engine}": _two_cores, f"{WRITERS}, {engine}": _writers}
    chosen = {name: take for name, take in others.items() if run.takes(name)}
    if not (calls or gate or chosen):
        return
    with target_on(engine, run.server_core) as target, floor_of(target, run.server_core) as floor:
        if engine == ENGINES[0]:
            yield _load(run, bare, target)
        for call, connections in calls:
            yield from _call(call, connections, run, target, bare, floor)
        for name in gate:
            yield from _gate(name, run, target, bare)
        for name, take in chosen.items():
            yield take(name, run, target)


def _name(call: str, engine: str, connections: int) -> str:
    return f"{call}, {engine}, {connections} connection{'s' * (connections > 1)}"


def _call(
    call: Call, connections: int, run: Run, target: Target, bare: int, floor: int
) -> Iterator[Figure]:
    """Measure a call with all its baselines; its targets are those with most connections."""

    def requests() -> Requests:
        return target.requests(call)

    sides = {
        "ours": Side(target.server.port, requests),
        FLOOR: Side(floor, requests),
        BARE: Side(bare, always(target.forward_auth)),
        FORWARD_AUTH: Side(target.server.port, always(target.forward_auth)),
    }
    if call.revokes:
        sides[LOGGED] = Side(floor, partial(target.requests, call, LOG))
    measured = run.interleaved(sides, connections)
    name = _name(call.name, target.engine, connections)
    for baseline in list(sides)[1:]:
        last = connections == call.connections[-1]
        bound = call.targets.get((target.engine, baseline)) if last else None
        yield rates(f"{name}, vs. {baseline}", measured["ours"], measured[baseline], bound)


def _gate(name: str, run: Run, target: Target, bare: int) -> Iterator[Figure]:
    sent = target.introspection if name == INTROSPECTION else target.forward_auth
    sides = {
        "ours": Side(target.server.port, always(sent)),
        BARE: Side(bare, always(target.forward_auth)),
    }
    measured = run.interleaved(sides, MANY)
    title = f"{_name(name, target.engine, MANY)}, vs. {BARE}"
    yield rates(title, measured["ours"], measured[BARE], GATE[name].get((target.engine, BARE)))


def _load(run: Run, bare: int, target: Target) -> Figure:
    """Return how much of its core the load takes at the highest rate of all."""
    measured = rate(bare, [target.forward_auth], run.seconds, MANY, run.load_core)
    return compared(LOAD, measured.busy, "core", 1.0)


def _two_cores(name: str, run: Run, target: Target) -> Figure:
    """Return the rate of a process that may use the load's core too, vs. that on its own core alone."""
    both, alone = (run.server_core, run.load_core), (run.server_core,)
    call, port = CALLS[0], target.server.port
    measured: dict[tuple[int, ...], list[float]] = {both: [], alone: []}
    for number in range(run.rounds + 1):
        for cores, side in measured.items():
            for process in target.server.processes():
                pin(process, *cores)
            taken = rate(port, target.requests(call), run.seconds, ON_TWO_CORES, run.load_core)
            if number:
                side.append(taken.rate)
    for process in target.server.processes():
        pin(process, *alone)
    return rates(name, measured[both], measured[alone], at_least(1.0))


def _writers(name: str, run: Run, target: Target) -> Figure:
    """Return creations a second of as many workspaces as connections, vs. those of one."""
    port, requests = target.server.port, target.creations()
    measured: dict[int, list[float]] = {MANY: [], 1: []}
    for number in range(run.rounds + 1):
        for connections, side in measured.items():
            taken = rate(port, requests[:connections], run.seconds, connections, run.load_core)
            if number:
                side.append(taken.rate)
    bound = at_least(1.2 if target.engine == "SQLite" else 4)
    return rates(name, measured[MANY], measured[1], bound)
