"""`python -m bench`: takes every figure, prints the table, writes `bench/latest.json`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from bench import management, pages, verification
from bench.figures import Figure, report

SIZES = (1_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)


def main() -> None:
    """Takes the figures that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small tables: to see that it runs")
    report(list(_figures(QUICK_SIZES if parser.parse_args().quick else SIZES)))


def _figures(sizes: tuple[int, ...]) -> Iterator[Figure]:
    yield from verification.figures(sizes)
    yield from management.figures()
    yield from pages.figures()


if __name__ == "__main__":
    main()
