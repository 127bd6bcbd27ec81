"""Figures: how they are taken (rounds of both sides in turn), printed and written down."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

LATEST: Final = Path(__file__).parent / "latest.json"
ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value beside its baseline; `ratio` is value / baseline, in `unit` both."""

    name: str
    value: float
    unit: str
    baseline: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Sample:
    """Durations of single calls, in microseconds."""

    durations: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.durations)

    @property
    def p99(self) -> float:
        """What 99 of 100 calls stay under."""
        return statistics.quantiles(self.durations, n=100)[98]


def side_by_side(
    measured: Callable[[], object], floor: Callable[[], object], calls: int
) -> tuple[Sample, Sample]:
    """Both sides in turn, `calls` each a round, so that whatever else the machine does meets both alike."""
    ours: list[float] = []
    floors: list[float] = []
    timed(measured, max(1, calls // 10))
    timed(floor, max(1, calls // 10))
    for _ in range(ROUNDS):
        ours += timed(measured, calls)
        floors += timed(floor, calls)
    return Sample(tuple(ours)), Sample(tuple(floors))


def timed(call: Callable[[], object], calls: int) -> list[float]:
    """The duration of each of `calls` calls, in microseconds."""
    durations = []
    for _ in range(calls):
        begun = time.perf_counter_ns()
        call()
        durations.append((time.perf_counter_ns() - begun) / 1000)
    return durations


def durations(name: str, ours: Sample, floor: Sample) -> list[Figure]:
    """Median and p99 of a call, beside the floor's."""
    return [
        _ratio(f"{name}, median", ours.median, "µs", floor.median),
        _ratio(f"{name}, p99", ours.p99, "µs", floor.p99),
    ]


def per_second(name: str, ours: Sample, floor: Sample, items: int = 1) -> Figure:
    """Calls (or items of a call) a second, from the medians; the ratio is ours to the floor's."""
    return _ratio(name, items * 1e6 / ours.median, "/s", items * 1e6 / floor.median)


def _ratio(name: str, value: float, unit: str, baseline: float) -> Figure:
    return Figure(name, round(value, 2), unit, round(baseline, 2), round(value / baseline, 3))


def report(figures: Sequence[Figure]) -> None:
    """Prints the table and writes `bench/latest.json`."""
    table = Table(title="Keystead beside its floor, in one run")
    for heading in ("figure", "value", "unit", "baseline", "ratio"):
        table.add_column(heading, justify="left" if heading in {"figure", "unit"} else "right")
    for figure in figures:
        value, baseline = f"{figure.value:,.2f}", f"{figure.baseline:,.2f}"
        table.add_row(figure.name, value, figure.unit, baseline, f"{figure.ratio:.3f}")
    Console(width=110).print(table)
    LATEST.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
