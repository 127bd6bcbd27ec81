"""`python -m bench [NAME ...]`: measure, print the figures with their targets, write `bench/latest.json`.

Without names it takes all figures except the large ones of millions of keys: minutes and gigabytes. `rest` takes all
that are about the speed of the REST API; with `--only`, single calls of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bench import (
    commands,
    embedding,
    gateway,
    limits,
    management,
    memory,
    moving,
    neighbours,
    pages,
    ten_million,
    tracking,
    verification,
    webhooks,
)
from bench.figures import Figure, report
from bench.rest import measurement as calls
from bench.rest import scale

SIZES: Final = (1_000, 100_000, 1_000_000)
QUICK_SIZES: Final = (1_000, 10_000)


@dataclass(frozen=True)
class Measurement:
    """Figures that are measured together; `take` gets whether small tables are enough."""

    says: str
    take: Callable[[bool], Iterator[Figure]]
    large: bool = False


MEASUREMENTS: Final = {
    "verification": Measurement(
        "one read for each, with its floor, at growing sizes",
        lambda quick: verification.figures(QUICK_SIZES if quick else SIZES),
    ),
    "tracking": Measurement("verification with and without the note of its use", tracking.figures),
    "memory": Measurement("memory of a serving process and a cached token", memory.figures),
    "commands": Measurement("processor time of commands", commands.figures),
    "management": Measurement(
        "creating, listing, revoking, pushing", lambda _: management.figures()
    ),
    "limits": Measurement("creating under a limit and without, on PostgreSQL", limits.figures),
    "neighbours": Measurement("one workspace under the load of another", neighbours.figures),
    "webhooks": Measurement(
        "cost of events and deliveries, their rate and delay", webhooks.figures
    ),
    "calls": Measurement(
        "the REST API, forward-auth and introspection vs. floors and a bare 204",
        lambda quick: calls.figures(quick, ()),
    ),
    "documents": Measurement("pushing and searching 100,000 documents", scale.figures),
    "embedding": Measurement(
        "applications with the guard in process vs. the same ones bare", embedding.figures
    ),
    "gateway": Measurement("nginx with and without Keystead", gateway.figures),
    "pages": Measurement("cost of pages", lambda _: pages.figures()),
    "moving": Measurement(
        "moving a million keys to PostgreSQL and back", moving.figures, large=True
    ),
    "ten-million-sqlite": Measurement(
        "ten million keys in one table, on SQLite", ten_million.on_sqlite, large=True
    ),
    "ten-million-postgresql": Measurement(
        "ten million keys in one table, on PostgreSQL", ten_million.on_postgresql, large=True
    ),
}
REST: Final = ("calls", "documents", "webhooks", "pages", "memory", "commands")
"""The measurements that `rest` stands for."""


def main() -> None:
    """Measure the figures that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], "rest", *MEASUREMENTS])
    parser.add_argument("--list", action="store_true", help="which measurements there are")
    parser.add_argument("--quick", action="store_true", help="small tables: to see that it runs")
    parser.add_argument("--ten-million", action="store_true", help="the large ones too")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TEXT",
        help="only calls of the REST API with this in their name: whoami, SQLite, 32 (repeatable)",
    )
    arguments = parser.parse_args()
    if arguments.list:
        for name, measurement in MEASUREMENTS.items():
            print(f"{name:24}{measurement.says}{' (large)' if measurement.large else ''}")
        return
    if arguments.only:
        report(list(calls.figures(arguments.quick, arguments.only)), ["calls"])
        return
    chosen = arguments.names or [
        name
        for name, measurement in MEASUREMENTS.items()
        if arguments.ten_million or not measurement.large
    ]
    names = [part for name in chosen for part in (REST if name == "rest" else (name,))]
    report([figure for name in names for figure in MEASUREMENTS[name].take(arguments.quick)], names)


if __name__ == "__main__":
    main()
