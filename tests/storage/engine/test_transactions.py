"""PostgreSQL transactions: few round trips, on an event loop without its thread, and nothing lost on the way."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from keystead.domain.errors import Unavailable
from keystead.domain.ids import WorkspaceId
from keystead.services.execution import Execution
from keystead.storage.database import Database, Tx
from keystead.storage.engine import transactions
from keystead.storage.engine.errors import RolledBack, StatementFault
from keystead.storage.engine.roles import Purpose
from keystead.storage.engine.transactions import TransactionConnection
from keystead.storage.engine.waits import off_loop, pause, run_on_loop
from tests.support.postgres import PostgresServer, wait_until
from tests.support.row_security import installed_database, server_url

ONE = text("SELECT 1")
SLEEP = text("SELECT pg_sleep(0.2)")
_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database, for its owner."""
    name = postgres.create_database()
    yield postgres.dsn(name)
    postgres.drop_database(name)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """That database."""
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture
def served(postgres: PostgresServer) -> Iterator[Database]:
    """PostgreSQL with tables and roles, for the server."""
    name = installed_database(postgres)
    opened = Database(server_url(postgres, name))
    yield opened
    opened.close()
    postgres.drop_database(name)


def driver_of(tx: Tx) -> TransactionConnection:
    """Return psycopg's connection."""
    driver: TransactionConnection = tx.connection.driver_connection  # type: ignore[assignment]
    return driver


def ask(database: Database, statement: Any = ONE) -> Any:
    """Return the value of one statement in a read."""
    with database.read_across(Purpose.OWNER) as tx:
        return tx.execute(statement).scalar_one()


@contextmanager
def traced(database: Database, path: Path) -> Iterator[list[str]]:
    """Gather the messages of the next transactions: F for those sent, B for those received."""
    messages: list[str] = []
    with database.read_across(Purpose.SERVER) as tx:
        driver = driver_of(tx)
        tx.execute(ONE)
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    driver.pgconn.trace(file)
    try:
        yield messages
    finally:
        driver.pgconn.untrace()
        os.close(file)
        for line in path.read_text().splitlines():
            _, side, _, name, *_ = line.split("\t")
            messages.append(f"{side} {name}")


def turns(messages: list[str]) -> int:
    """Return how often the client waited for the server: a message received after one that was sent."""
    sides = [message[0] for message in messages]
    return sum(pair == ("F", "B") for pair in pairwise(sides))


def test_psycopg_has_the_names_that_are_not_public() -> None:
    """The names exist that only `storage/engine/transactions.py` may use."""
    for owner, names in {
        psycopg.Cursor: ("_start_query", "_convert_query", "_maybe_prepare_gen", "_encoding"),
        psycopg.Connection: ("_exec_command",),
        psycopg.Pipeline: ("_enqueue_sync", "_fetch_gen"),
        psycopg.errors: ("error_from_result",),
    }.items():
        assert [name for name in names if not hasattr(owner, name)] == []


def test_a_read_of_one_statement_waits_once(database: Database, tmp_path: Path) -> None:
    """BEGIN and the statement are one message, and the COMMIT's answer is not waited for."""
    with traced(database, tmp_path / "trace") as messages:
        assert ask(database) == 1
        assert ask(database) == 1
    # The first wait may still read the answer to the COMMIT before it.
    assert messages.count("F Query") == 2
    assert messages.count("F Sync") == 2
    assert turns(messages) <= 3


def test_a_view_for_one_statement_sends_one_message(served: Database, tmp_path: Path) -> None:
    """Without BEGIN and COMMIT: the statement's end is the transaction's."""
    with (
        traced(served, tmp_path / "trace") as messages,
        served.read_once(WorkspaceId("ws_a")) as tx,
    ):
        assert tx.execute(ONE).scalar_one() == 1
    assert [message for message in messages if message == "F Query"] == []
    assert messages.count("F Sync") == 1
    assert messages[-1] == "B ReadyForQuery"


def test_a_transaction_without_a_statement_sends_nothing(
    database: Database, tmp_path: Path
) -> None:
    """Nothing was begun, and the connection is good for the next."""
    with traced(database, tmp_path / "trace") as messages, database.read_across(Purpose.OWNER):
        pass
    assert [message for message in messages if message.startswith("F")] == []
    assert ask(database) == 1


def test_a_first_statement_for_many_rows_is_in_the_transaction(database: Database) -> None:
    """It is rolled back with it."""
    with database.write_across(Purpose.OWNER) as tx:
        tx.execute(text("CREATE TABLE IF NOT EXISTS many (n int)"))

    def break_off() -> None:
        with database.write_across(Purpose.OWNER) as tx:
            tx.execute(text("INSERT INTO many VALUES (:n)"), [{"n": 1}, {"n": 2}])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert ask(database, text("SELECT count(*) FROM many")) == 0


def test_a_refused_first_statement_leaves_the_connection_usable(database: Database) -> None:
    """The fault is the statement's, and the next transaction works."""
    assert ask(database) == 1
    with pytest.raises(StatementFault) as fault:
        ask(database, text("SELECT nothing FROM nowhere"))
    assert fault.value.code == "42P01"
    assert ask(database) == 1


def test_a_rollback_keeps_prepared_statements(database: Database, tmp_path: Path) -> None:
    """It is one message, and the next transaction prepares nothing again."""

    def break_off() -> None:
        with database.write_across(Purpose.OWNER) as tx:
            tx.execute(ONE)
            raise KeyboardInterrupt

    for _ in range(8):
        with pytest.raises(KeyboardInterrupt):
            break_off()
    with traced(database, tmp_path / "trace") as messages, pytest.raises(KeyboardInterrupt):
        break_off()
    assert messages.count("F Query") == 1
    # BEGIN alone is parsed: as a statement without a name.
    assert messages.count("F Parse") == 1


def test_a_login_without_roles_gets_an_error_of_its_own(database: Database) -> None:
    """The error says what is missing, and the connection stays good."""
    with (
        pytest.raises(Unavailable, match="no roles of Keystead"),
        database.read(WorkspaceId("ws_a")) as tx,
    ):
        tx.execute(ONE)
    assert ask(database) == 1


def test_a_connection_that_dies_before_its_first_statement_may_be_retried(
    database: Database, url: str
) -> None:
    """Whether or not its death was noticed in time, the next transaction finds a live one."""
    with database.read_across(Purpose.OWNER) as tx:
        backend = tx.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()

    def ask_while_it_dies() -> None:
        with database.read_across(Purpose.OWNER) as tx:
            assert driver_of(tx).is_opening
            with psycopg.connect(url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))
            tx.execute(ONE)

    with pytest.raises(RolledBack):
        ask_while_it_dies()
    assert ask(database) == 1


def test_a_connection_that_has_not_answered_lately_is_asked_first(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead one is replaced, unnoticed by the caller."""
    monkeypatch.setattr(transactions, "FRESH_SECONDS", -1)
    assert ask(database) == 1
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with database.read_across(Purpose.OWNER) as tx:
        assert tx.execute(ONE).scalar_one() == 1


def test_calls_on_a_loop_wait_without_its_thread(database: Database, url: str) -> None:
    """The loop's own thread can free the lock that a call waits for."""

    async def run() -> None:
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(1)")
            locking = text("SELECT pg_advisory_xact_lock(1)")
            calls = [
                asyncio.create_task(run_on_loop(partial(ask, database, locking))) for _ in range(4)
            ]
            while other.execute(_WAITING).fetchone() != (4,):  # noqa: ASYNC110 - a database's state
                await asyncio.sleep(0.01)
            other.execute("SELECT pg_advisory_unlock(1)")
            await asyncio.gather(*calls)

    asyncio.run(run())


def test_pauses_and_blocking_calls_on_a_loop_do_not_hold_it() -> None:
    """Its other tasks go on meanwhile."""
    ticks: list[int] = []

    async def tick() -> None:
        while True:
            ticks.append(1)
            await asyncio.sleep(0.01)

    def call() -> str:
        pause(0.1)
        off_loop(partial(time.sleep, 0.1))
        return "done"

    async def run() -> str:
        ticking = asyncio.create_task(tick())
        result = await run_on_loop(call)
        ticking.cancel()
        return result

    assert asyncio.run(run()) == "done"
    assert len(ticks) >= 4


def test_a_cancelled_read_closes_its_connection_and_frees_its_place(database: Database) -> None:
    """However many are cancelled, the next read is answered."""
    execution = Execution(is_sqlite=False)

    async def run() -> None:
        for _ in range(20):
            long = partial(ask, database, text("SELECT pg_sleep(60)"))
            task = asyncio.create_task(execution.run_read("ws_a", long))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await execution.run_read("ws_a", partial(ask, database)) == 1

    asyncio.run(run())
    execution.close()
    assert database.pool.in_use == 0


def test_a_write_goes_on_when_its_caller_is_cancelled(database: Database) -> None:
    """It is committed."""
    execution = Execution(is_sqlite=False)
    with database.write_across(Purpose.OWNER) as tx:
        tx.execute(text("CREATE TABLE IF NOT EXISTS kept (n int)"))

    def write() -> None:
        with database.write_across(Purpose.OWNER) as tx:
            tx.execute(text("INSERT INTO kept VALUES (1)"))
            tx.execute(SLEEP)

    def count() -> bool:
        return bool(ask(database, text("SELECT count(*) FROM kept")))

    async def run() -> None:
        task = asyncio.create_task(execution.run_write("ws_a", write))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(wait_until, count, "the write is committed")

    asyncio.run(run())
    execution.close()
