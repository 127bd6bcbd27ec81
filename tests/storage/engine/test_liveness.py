"""Waits for PostgreSQL: of any length while the server answers others, and given up once it is silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from sqlalchemy import text

from keystead.domain.errors import Unavailable
from keystead.storage.database import Database
from keystead.storage.engine.liveness import SILENT_SECONDS, SUSPECT_SECONDS, LivenessProbe
from keystead.storage.engine.roles import Purpose
from tests.support.postgres import PostgresServer, wait_until
from tests.support.relay import Relay, relay_to

LONG = text(f"SELECT pg_sleep({2 * (SUSPECT_SECONDS + SILENT_SECONDS)})")
SHORT = text("SELECT 1")


@pytest.fixture
def relay(postgres: PostgresServer) -> Iterator[Relay]:
    """A relay that carries every connection to PostgreSQL."""
    with relay_to(postgres.port) as started:
        yield started


@pytest.fixture
def database(postgres: PostgresServer, relay: Relay) -> Iterator[Database]:
    """PostgreSQL without tables, behind the relay."""
    opened = Database(postgres.dsn().replace(str(postgres.port), str(relay.port)))
    yield opened
    opened.close()


def answers(database: Database) -> bool:
    """Return whether the database answers."""
    with suppress(Unavailable), database.read_across(Purpose.OWNER) as tx:
        return bool(tx.execute(SHORT).scalar_one())
    return False


def fall_silent(database: Database, relay: Relay) -> None:
    """Have a statement stay without an answer."""
    with database.read_across(Purpose.OWNER) as tx:
        relay.silence()
        tx.execute(SHORT)


def test_a_slow_statement_is_waited_for(database: Database) -> None:
    """It is waited for without limit: the server answered a probe on another connection meanwhile."""
    with database.read_across(Purpose.OWNER) as tx:
        tx.execute(LONG)
    assert answers(database)


def test_a_silent_server_is_given_up_and_refused(database: Database, relay: Relay) -> None:
    """Waiting callers get Unavailable, later ones get it immediately, and all are answered when the server is back."""
    assert database.liveness is not None
    with pytest.raises(Unavailable):
        fall_silent(database, relay)
    assert database.liveness.is_silent
    connections = database.pool.in_use
    assert not any(answers(database) for _ in range(100))
    assert database.pool.in_use == connections
    relay.restore()
    wait_until(lambda: answers(database), "the database is back")
    assert not database.liveness.is_silent


def test_a_server_that_refuses_is_not_silent(database: Database, relay: Relay) -> None:
    """A quick error is an answer: no caller has to wait for the probe."""
    assert database.liveness is not None
    relay.cut()
    database.liveness.suspect()
    assert not answers(database)
    relay.restore()
    assert answers(database)


def test_any_answer_counts(postgres: PostgresServer, relay: Relay) -> None:
    """While any connection gets answers the server is not silent, though the probe gets none."""

    def connect() -> psycopg.Connection[tuple[object, ...]]:
        probes.append(1)
        return psycopg.connect(f"host=127.0.0.1 port={relay.port} user=postgres", connect_timeout=2)

    probes: list[int] = []
    relay.silence()
    probe = LivenessProbe(connect)
    probe.suspect()
    wait_until(lambda: probe.is_silent, "the server is silent")
    probe.record_answer()
    assert not probe.is_silent
    wait_until(lambda: probe.is_silent, "the server is silent again")
    relay.restore()
    wait_until(lambda: not probe.is_silent, "the server is back")
    probe.close()
    assert probes
