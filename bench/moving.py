"""The time and the memory of `keystead move`, from SQLite to PostgreSQL and back."""

from __future__ import annotations

import base64
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.figures import Figure, at_most
from bench.installations import postgresql
from bench.loading import load
from bench.populations import Population
from keystead import bootstrap
from keystead.bootstrap import Settings
from keystead.domain.digest import Pepper
from tests.support.row_security import as_server, installed

KEYS: Final = 1_000_000
FEW: Final = 20_000
MINUTES: Final = 10.0
"""What a million keys may take."""
MEGABYTES: Final = 400.0
"""What the process may take of memory, whatever the number of rows."""


def figures(quick: bool) -> Iterator[Figure]:
    """Move a population, and move it back."""
    keys, secret = FEW if quick else KEYS, os.urandom(32)
    population = Population(keys, keys // 100, keys // 10, Pepper("bench", secret))
    with postgresql() as server, tempfile.TemporaryDirectory(prefix="keystead-bench-") as folder:
        there, back = server.dsn(server.create_database()), f"sqlite:///{folder}/back.db"
        here = f"sqlite:///{folder}/keystead.db"
        load(installed(here), population)
        own = {"data": Path(folder), "peppers": f"bench:{base64.b64encode(secret).decode()}"}
        trial = Settings.model_validate({**own, "database": here})
        moved = {"database": as_server(there), "migration_database": there}
        yield from _move(f"{keys:,} keys, SQLite to PostgreSQL", trial, there, keys)
        production = Settings.model_validate({**own, **moved})
        yield from _move(f"{keys:,} keys, PostgreSQL to SQLite", production, back, keys)


def _move(title: str, settings: Settings, to: str, keys: int) -> Iterator[Figure]:
    began = time.monotonic()
    spawning = multiprocessing.get_context("spawn")
    peak = spawning.Value("d")
    process = spawning.Process(target=_run, args=(settings, to, peak))
    process.start()
    process.join()
    assert process.exitcode == 0
    seconds, allowed = time.monotonic() - began, MINUTES * 60 * keys / KEYS
    yield Figure(f"{title}: time", seconds, "s", allowed, seconds / allowed, at_most(1))
    memory = peak.value
    yield Figure(f"{title}: memory", memory, "MB", MEGABYTES, memory / MEGABYTES, at_most(1))


def _run(settings: Settings, to: str, peak: Any) -> None:
    bootstrap.move(settings, to, lambda _: None)
    # Not by getrusage: that counts what the process had before it was replaced by a new program too.
    status = Path("/proc/self/status").read_text()
    peak.value = int(status.partition("VmHWM:")[2].split()[0]) / 1024
