"""Figures: measured in rounds that alternate both sides, printed with their targets, and stored."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from keystead.storage.engine.connections import sqlite_driver

LATEST: Final = Path(__file__).parent / "latest.json"
ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Target:
    """The bound of a figure's ratio: at most `bound`, or at least."""

    bound: float
    at_most: bool

    def holds(self, ratio: float) -> bool:
        """Return whether a measured ratio is within the bound."""
        return ratio <= self.bound if self.at_most else ratio >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


def at_most(bound: float) -> Target:
    """Return a target of this ratio or less."""
    return Target(bound, at_most=True)


def at_least(bound: float) -> Target:
    """Return a target of this ratio or more."""
    return Target(bound, at_most=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value with its baseline; `ratio` is value / baseline, in `unit` both."""

    name: str
    value: float
    unit: str
    baseline: float
    ratio: float
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """Return whether it meets its target; empty without a target."""
        if self.target is None:
            return ""
        return "held" if self.target.holds(self.ratio) else "missed"

    def to_json(self) -> dict[str, Any]:
        """Return it as in `latest.json`."""
        content = (
            {} if self.target is None else {"target": str(self.target), "verdict": self.verdict}
        )
        return asdict(self) | {"target": None} | content


@dataclass(frozen=True, slots=True)
class Sample:
    """Durations of single calls, in microseconds."""

    durations: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.durations)

    @property
    def p99(self) -> float:
        """The 99th percentile."""
        return statistics.quantiles(self.durations, n=100)[98]


def side_by_side(
    measured: Callable[[], object], floor: Callable[[], object], calls: int
) -> tuple[Sample, Sample]:
    """Time `calls` calls of each side a round, alternating, so that other load affects both alike."""
    ours: list[float] = []
    floors: list[float] = []
    timed(measured, max(1, calls // 10))
    timed(floor, max(1, calls // 10))
    for _ in range(ROUNDS):
        ours += timed(measured, calls)
        floors += timed(floor, calls)
    return Sample(tuple(ours)), Sample(tuple(floors))


def timed(call: Callable[[], object], calls: int) -> list[float]:
    """Return the duration of each of `calls` calls, in microseconds."""
    durations = []
    for _ in range(calls):
        started = time.perf_counter_ns()
        call()
        durations.append((time.perf_counter_ns() - started) / 1000)
    return durations


def durations(name: str, ours: Sample, floor: Sample, target: Target | None = None) -> list[Figure]:
    """Yield median and p99 of a call with the floor's; the target is the median's."""
    return [
        compared(f"{name}, median", ours.median, "µs", floor.median, target),
        compared(f"{name}, p99", ours.p99, "µs", floor.p99),
    ]


def per_second(name: str, ours: Sample, floor: Sample, items: int = 1) -> Figure:
    """Return calls (or items of a call) a second, from the medians; the ratio is ours to the floor's."""
    return compared(name, items * 1e6 / ours.median, "/s", items * 1e6 / floor.median)


def rates(
    name: str, ours: Sequence[float], floor: Sequence[float], target: Target | None = None
) -> Figure:
    """Return the medians of rounds' rates, in calls a second."""
    return compared(name, statistics.median(ours), "/s", statistics.median(floor), target)


def compared(
    name: str, value: float, unit: str, baseline: float, target: Target | None = None
) -> Figure:
    """Return a value with its baseline."""
    return Figure(
        name, round(value, 2), unit, round(baseline, 2), round(value / baseline, 3), target
    )


def goal(name: str, value: float, unit: str, bound: Target) -> Figure:
    """Return a value with an absolute goal as its baseline."""
    return compared(name, value, unit, bound.bound, Target(1, at_most=bound.at_most))


def report(figures: Sequence[Figure], names: Iterable[str]) -> None:
    """Print the table, and store the figures of the measurements `names` in `bench/latest.json`."""
    table = Table(title="Keystead vs. its floor or baseline, in one run")
    for heading in ("figure", "value", "unit", "baseline", "ratio", "target", ""):
        left = heading in {"figure", "unit", "target", ""}
        table.add_column(heading, justify="left" if left else "right")
    for figure in figures:
        value, baseline = f"{figure.value:,.2f}", f"{figure.baseline:,.2f}"
        target = "" if figure.target is None else str(figure.target)
        ratio = f"{figure.ratio:.3f}"
        table.add_row(figure.name, value, figure.unit, baseline, ratio, target, figure.verdict)
    Console(width=130).print(table)
    _write(figures, list(names))


def _write(figures: Sequence[Figure], names: list[str]) -> None:
    before = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    stored = before.get("figures", []) if isinstance(before, dict) else []
    mine = {figure.name for figure in figures}
    taken = {"taken": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}", "load": round(os.getloadavg()[1], 1)}
    rows = [row for row in stored if row["name"] not in mine]
    rows += [figure.to_json() | taken for figure in figures]
    content = {"machine": machine(), "measured": names, "figures": rows}
    LATEST.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def machine() -> dict[str, Any]:
    """Return the machine on which the figures were measured. Each figure has the load of the last five minutes."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "sqlite": sqlite_driver.sqlite_version,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
