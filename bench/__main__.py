"""`python -m bench [NAME ...]`: takes the figures, prints them beside their targets, writes `bench/latest.json`.

Without names all but the large ones, which take minutes and gigabytes: those of ten million keys.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bench import (
    embedding,
    gate,
    gateway,
    limits,
    management,
    memory,
    neighbours,
    pages,
    ten_million,
    tracking,
    verification,
    webhooks,
)
from bench.figures import Figure, report

SIZES: Final = (1_000, 100_000, 1_000_000)
QUICK_SIZES: Final = (1_000, 10_000)


@dataclass(frozen=True)
class Measurement:
    """Figures that are taken together: `take` is told whether small tables will do."""

    says: str
    take: Callable[[bool], Iterator[Figure]]
    large: bool = False


MEASUREMENTS: Final = {
    "verification": Measurement(
        "one read for each, beside its floor, at growing sizes",
        lambda quick: verification.figures(QUICK_SIZES if quick else SIZES),
    ),
    "tracking": Measurement("verification with and without the note of its use", tracking.figures),
    "memory": Measurement("what a remembered token takes", memory.figures),
    "management": Measurement(
        "creating, listing, revoking, pushing", lambda _: management.figures()
    ),
    "limits": Measurement("creating under a limit and without, on PostgreSQL", limits.figures),
    "neighbours": Measurement(
        "one workspace beside another that hammers the server", neighbours.figures
    ),
    "webhooks": Measurement(
        "what events and deliveries cost, how many go out and how soon", webhooks.figures
    ),
    "gate": Measurement(
        "forward-auth and introspection beside a bare 204 on the same server", gate.figures
    ),
    "embedding": Measurement(
        "applications with the guard in process beside the same ones bare", embedding.figures
    ),
    "gateway": Measurement("nginx that asks beside nginx that does not", gateway.figures),
    "pages": Measurement("what pages cost the server", lambda _: pages.figures()),
    "ten-million-sqlite": Measurement(
        "ten million keys in one table, on SQLite", ten_million.on_sqlite, large=True
    ),
    "ten-million-postgresql": Measurement(
        "ten million keys in one table, on PostgreSQL", ten_million.on_postgresql, large=True
    ),
}


def main() -> None:
    """Takes the figures that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *MEASUREMENTS])
    parser.add_argument("--list", action="store_true", help="which measurements there are")
    parser.add_argument("--quick", action="store_true", help="small tables: to see that it runs")
    parser.add_argument("--ten-million", action="store_true", help="the large ones too")
    asked = parser.parse_args()
    if asked.list:
        for name, one in MEASUREMENTS.items():
            print(f"{name:24}{one.says}{' (large)' if one.large else ''}")
        return
    names = asked.names or [
        name for name, one in MEASUREMENTS.items() if asked.ten_million or not one.large
    ]
    report([figure for name in names for figure in MEASUREMENTS[name].take(asked.quick)], names)


if __name__ == "__main__":
    main()
