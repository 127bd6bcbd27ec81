"""The clock that decides: the database's, carried by this machine's monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from keystead.domain.errors import Unavailable
from keystead.domain.instants import to_microseconds
from keystead.storage import clock as clocks
from keystead.storage.clock import DatabaseClock, SystemClock, clock_of
from keystead.storage.database import Database
from tests.support.postgres import PostgresServer, PrivatePostgres

MILLISECOND = 1_000
NOW_SQL = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
HALTING_SQL = f"""
    SELECT told FROM (SELECT pg_sleep(random() / 200), ({NOW_SQL}) AS told, pg_sleep(random() / 200)) AS halting
"""


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    """PostgreSQL without tables."""
    opened = Database(postgres.dsn())
    yield opened
    opened.close()


def _bracketed(
    clock: DatabaseClock, connection: psycopg.Connection[tuple[int]]
) -> tuple[int, int, int]:
    before = connection.execute(NOW_SQL).fetchone()
    reading = clock.microseconds()
    after = connection.execute(NOW_SQL).fetchone()
    assert before is not None
    assert after is not None
    return before[0], reading, after[0]


def test_the_databases_time(database: Database, postgres: PostgresServer) -> None:
    """The clock returns PostgreSQL's time, up to the round trip of a query."""
    clock = DatabaseClock(database)
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        errors = []
        for _ in range(20):
            before, reading, after = _bracketed(clock, connection)
            errors.append(max(before - reading, reading - after, 0))
    assert min(errors) < 50 * MILLISECOND


def test_each_engine_has_its_clock(database: Database, tmp_path: Path) -> None:
    """On PostgreSQL the server's clock decides, on SQLite this machine's, which is the same."""
    assert isinstance(clock_of(database), DatabaseClock)
    embedded = Database(f"sqlite:///{tmp_path}/keystead.db")
    assert isinstance(clock_of(embedded), SystemClock)
    embedded.close()


def test_the_machines_time() -> None:
    """The system's clock returns microseconds since 1970, and the same as a datetime."""
    clock = SystemClock()
    before, reading, after = time.time_ns() // 1000, clock.microseconds(), clock.now()
    assert before <= reading <= to_microseconds(after)


def test_time_never_runs_back(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread queries the database, which answers unevenly, another never sees time run back."""
    monkeypatch.setattr(clocks, "RESAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(clocks, "_DATABASE_TIME", text(HALTING_SQL))
    clock = DatabaseClock(database)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(lambda: [clock.microseconds() for _ in range(40)])
        times = [clock.microseconds()]
        while not asking.done():
            times.append(clock.microseconds())
    assert min(later - earlier for earlier, later in pairwise(times)) > -MILLISECOND / 10


def test_the_machines_own_clock_does_not_matter(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose own clock is wrong by ten minutes returns the same time (R38)."""
    right = DatabaseClock(database)
    wrong = time.time_ns() - 600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: wrong)
    monkeypatch.setattr(time, "time", lambda: wrong / 10**9)
    late = DatabaseClock(database)
    assert abs(late.microseconds() - right.microseconds()) < 1_000 * MILLISECOND


def test_time_goes_on_while_the_database_is_away(
    private_postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While PostgreSQL is away the clock goes on, and queries it again once it is back; it cannot start without it."""
    monkeypatch.setattr(clocks, "RESAMPLE_SECONDS", 0.0)
    database = Database(private_postgres.dsn())
    clock = DatabaseClock(database)
    before = clock.microseconds()
    private_postgres.stop()
    carried = [clock.microseconds() for _ in range(5)]
    assert before <= carried[0] <= carried[-1]
    with pytest.raises(Unavailable):
        DatabaseClock(database)
    private_postgres.start()
    with psycopg.connect(private_postgres.dsn(), autocommit=True) as connection:
        times = [_bracketed(clock, connection) for _ in range(5)]
    assert min(max(b - t, t - a, 0) for b, t, a in times) < 50 * MILLISECOND
    database.close()


def test_many_threads_ask(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many threads may read the clock at the same time; one of them queries the database, the others do not wait."""
    monkeypatch.setattr(clocks, "RESAMPLE_SECONDS", 0.0)
    clock = DatabaseClock(database)
    with ThreadPoolExecutor(16) as pool:
        times = list(pool.map(lambda _: clock.microseconds(), range(400)))
    assert max(times) - min(times) < 30_000 * MILLISECOND
