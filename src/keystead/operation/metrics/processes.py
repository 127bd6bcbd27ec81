"""The metrics `process_*` of a server as one: its parent and all processes that serve."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from keystead.operation.metrics import definitions
from keystead.operation.metrics.definitions import Definition

THREADS: Final = Path("/proc/self/task")
OF_ALL: Final[Mapping[Definition, Callable[[Iterable[float]], float]]] = {
    definitions.MEMORY: sum,
    definitions.VIRTUAL_MEMORY: sum,
    definitions.STARTED: min,
    definitions.OPEN_FILES: max,
    definitions.MOST_FILES: min,
}
"""How the values of the processes become one."""


class Processes(Collector):
    """Reads /proc for each scrape; reports nothing on systems without it."""

    @override
    def collect(self) -> Iterator[Metric]:
        read = [_values_of(process) for process in (os.getpid(), *_children())]
        each = [values for values in read if len(values) > len(OF_ALL)]  # else it has just ended
        if not each:
            return
        # Children that have exited count too, so the sum never falls.
        ended = os.times()
        cpu = sum(values[definitions.CPU.name] for values in each)
        cpu += ended.children_user + ended.children_system
        yield CounterMetricFamily(_family(definitions.CPU), definitions.CPU.text, value=cpu)
        for definition, together in OF_ALL.items():
            value = together(values[definition.name] for values in each)
            yield GaugeMetricFamily(definition.name, definition.text, value=value)


def _children() -> Iterator[int]:
    for listed in THREADS.glob("*/children"):
        try:
            yield from map(int, listed.read_text().split())
        except OSError:  # the thread has ended
            continue


def _values_of(process: int) -> dict[str, float]:
    collector = ProcessCollector(pid=lambda: process, registry=None)
    return {
        sample.name: sample.value for family in collector.collect() for sample in family.samples
    }


def _family(counter: Definition) -> str:
    return counter.name.removesuffix("_total")
