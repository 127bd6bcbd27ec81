"""Reads of one statement that share a message on PostgreSQL: few connections, and nothing else in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import Integer, Text, bindparam, func, select

from keystead.domain.errors import Unavailable
from keystead.domain.ids import WorkspaceId
from keystead.storage.database import Database
from keystead.storage.engine import shared_reads, transactions
from keystead.storage.engine.errors import RolledBack, StatementFault
from keystead.storage.engine.waits import run_on_loop
from keystead.storage.freshness.write_watch import StatementsExceeded
from keystead.storage.queries import Query
from keystead.storage.retry import retry_on_conflict
from tests.support.postgres import DEADLINE_SECONDS, PostgresServer
from tests.support.row_security import as_owner, installed_database, server_url

TASKS = 40
WHO = Query(
    select(
        func.current_setting("keystead.workspace", True),
        func.current_user(),
        func.current_setting("transaction_read_only"),
        func.pg_backend_pid(),
    )
)
DIVIDED = Query(select(100 // bindparam("by", type_=Integer)))
ECHO = Query(select(func.upper(bindparam("value", type_=Text))))
SLEEP = Query(select(func.pg_sleep(bindparam("seconds"))))
FORGET = "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"
"""Unnoticed by psycopg, which reads the command's tag."""
TERMINATE = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
def served(postgres: PostgresServer) -> Iterator[Database]:
    """PostgreSQL with tables and roles, for the server."""
    name = installed_database(postgres)
    opened = Database(server_url(postgres, name))
    yield opened
    opened.close()
    postgres.drop_database(name)


def ask(database: Database, query: Query, number: int = 0, **values: Any) -> tuple[Any, ...]:
    """Return the row of a query in a workspace of that number."""
    with database.read_once(WorkspaceId(f"ws_{number}")) as tx:
        return query.all(tx, values)[0]


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls on one loop at the same time. Returns what each returned or raised."""

    async def run() -> list[Any]:
        return await asyncio.gather(*map(run_on_loop, calls), return_exceptions=True)

    return asyncio.run(run())


def test_tasks_share_connections_and_nothing_else(served: Database) -> None:
    """Each has its own workspace, in the role of the application, and writes nothing."""
    # Often enough for every statement to be prepared on the way.
    for _ in range(3):
        rows = together(*(partial(ask, served, WHO, number) for number in range(TASKS)))
        assert [row[0] for row in rows] == [f"ws_{number}" for number in range(TASKS)]
        assert all(row[1].endswith("_application") for row in rows)
        assert {row[2] for row in rows} == {"on"}
        assert len({row[3] for row in rows}) <= shared_reads.CONNECTIONS
    assert served.pool.in_use == 0


def test_a_statement_that_fails_fails_alone(served: Database) -> None:
    """So does one with a value that cannot be sent, also while they are prepared."""
    for _ in range(3):
        results = together(
            *(partial(ask, served, DIVIDED, by=number % 5) for number in range(20)),
            *(partial(ask, served, ECHO, value="a\0" if n % 5 == 0 else "a") for n in range(20)),
        )
        for number, result in enumerate(results[:20]):
            if number % 5:
                assert result == (100 // (number % 5),)
            else:
                assert isinstance(result, StatementFault)
        for number, result in enumerate(results[20:]):
            assert isinstance(result, StatementFault) if number % 5 == 0 else result == ("A",)


def test_a_second_statement_is_refused(served: Database) -> None:
    """The view is of one statement on a loop as well."""

    def ask_twice() -> None:
        with served.read_once(WorkspaceId("ws_a")) as tx:
            WHO.first(tx)
            WHO.first(tx)

    (result,) = together(ask_twice)
    assert isinstance(result, StatementsExceeded)


def test_a_cancelled_task_costs_the_others_nothing(served: Database) -> None:
    """Those of the same message get their rows."""

    async def run() -> list[Any]:
        tasks = [
            asyncio.create_task(run_on_loop(partial(ask, served, SLEEP, seconds=0.01)))
            for _ in range(20)
        ]
        await asyncio.sleep(0.05)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait(tasks)
        return [None if task.cancelled() else task.result() for task in tasks]

    results = asyncio.run(run())
    assert all(isinstance(result, tuple) for result in results[1::2])
    assert served.pool.in_use == 0


def test_a_statement_that_is_not_prepared_any_more_is_asked_again(served: Database) -> None:
    """As after DISCARD or DEALLOCATE: the use case is retried on another connection."""
    calls = [partial(retry_on_conflict(ask), served, WHO) for _ in range(TASKS)]
    together(*calls)

    for tx in served.pool._idle:
        tx.connection.driver_connection.execute(FORGET)  # type: ignore[union-attr]
    assert any(isinstance(result, RolledBack) for result in together(partial(ask, served, WHO)))
    assert all(isinstance(result, tuple) for result in together(*calls))


def test_no_task_waits_long_behind_others(
    served: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message has its time as a whole. The connection is given up, and the next read has another."""
    monkeypatch.setattr(transactions, "SHARED_SECONDS", 0.5)
    results = together(*(partial(ask, served, SLEEP, seconds=0.2) for _ in range(TASKS)))
    assert {isinstance(result, Unavailable) for result in results} == {True, False}
    assert served.pool.in_use == 0
    assert all(isinstance(row, tuple) for row in together(partial(ask, served, WHO)))


def test_a_read_that_is_asked_as_a_message_ends_is_sent(
    served: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if no other read follows: each task asks again as soon as it has its answer."""
    monkeypatch.setattr(shared_reads, "CONNECTIONS", 1)

    def ask_again_and_again() -> list[Any]:
        return [ask(served, WHO) for _ in range(5)]

    async def run() -> list[Any]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await run_on_loop(ask_again_and_again)

    assert len(asyncio.run(run())) == 5


def test_connections_that_died_are_replaced(served: Database) -> None:
    """No task waits for ever, and those that are retried get their rows."""
    calls = [partial(retry_on_conflict(ask), served, WHO) for _ in range(TASKS)]
    together(*calls)
    url = as_owner(served.url.set(drivername="postgresql").render_as_string(hide_password=False))
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(TERMINATE)
    assert all(isinstance(result, tuple) for result in together(*calls))


def test_a_closed_database_answers_all_who_wait(served: Database) -> None:
    """A server that is away is an error for each task of the message."""
    url = served.url.set(port=1)
    away = Database(url.render_as_string(hide_password=False))
    results = together(*(partial(ask, away, WHO) for _ in range(TASKS)))
    assert {type(result) for result in results} == {Unavailable}
    away.close()
