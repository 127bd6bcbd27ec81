"""PostgreSQL transactions that break: the next one on the connection sees its own role and workspace, and works."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import psycopg
import pytest
from sqlalchemy import bindparam, func, select, text

from keystead.domain.errors import StorageError
from keystead.domain.ids import WorkspaceId
from keystead.services.execution import READS, Execution
from keystead.storage.database import Database, Tx
from keystead.storage.engine.connections import POOL_SIZE
from keystead.storage.engine.errors import StatementFault
from keystead.storage.engine.roles import Purpose
from keystead.storage.engine.waits import run_on_loop
from keystead.storage.queries import Query
from tests.support.postgres import PostgresServer
from tests.support.row_security import installed_database, server_url

WORKSPACE = WorkspaceId("ws_a")
ONE = text("SELECT 1")
ECHO = text("SELECT CAST(:value AS text)")
SLEEP = Query(select(func.pg_sleep(bindparam("seconds"))))
WHO = Query(select(func.current_setting("keystead.workspace", True), func.current_user()))
TIMED_OUT = ("SET LOCAL statement_timeout = '5ms'", "SELECT pg_sleep(60)")
ENDS: dict[str, Callable[[Tx], object]] = {
    "once": lambda _: None,
    "fault": lambda tx: tx.exec_driver_sql("SELECT 1 / 0"),
    "slow": lambda tx: [tx.exec_driver_sql(part) for part in TIMED_OUT],
    "unsent": lambda tx: tx.execute(ECHO, {"value": "\0"}),
    "cancelled": lambda tx: SLEEP.all(tx, {"seconds": 0.02}),
    "well": lambda _: None,
}
"""How a transaction may end."""
SLOW_COMMIT = """
CREATE TABLE slow (n int);
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON slow
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait();
"""


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


def free_places(database: Database) -> int:
    """Return how many connections may be taken, and take their places."""
    free = 0
    while database.pool._free.acquire(blocking=False):
        free += 1
    return free


def sleep(database: Database, seconds: float) -> None:
    """Wait for the database."""
    with database.read_across(Purpose.OWNER) as tx:
        SLEEP.all(tx, {"seconds": seconds})


async def cancel(call: Callable[[], object], after: float) -> None:
    """Run the call on the loop, and cancel it meanwhile."""
    task = asyncio.create_task(run_on_loop(call))
    await asyncio.sleep(after)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_value_that_cannot_be_sent_leaves_the_connection_usable(
    served: Database, value: str
) -> None:
    """The setting of the role, queued before it, was not prepared: the next transaction prepares it."""

    def send() -> None:
        with served.read(WORKSPACE) as tx:
            tx.execute(ECHO, {"value": value})

    with pytest.raises((StatementFault, UnicodeEncodeError)):
        send()
    with served.read(WORKSPACE) as tx:
        assert tx.execute(ONE).scalar_one() == 1


def test_a_statement_after_one_that_cannot_be_sent_is_in_the_transaction(served: Database) -> None:
    """It has the role and the workspace, never the login's own."""
    with served.read(WORKSPACE) as tx:
        with suppress(Exception):
            tx.execute(ECHO, {"value": "\0"})
        workspace, role = WHO.all(tx)[0]
    assert workspace == WORKSPACE
    assert role.endswith("_application")


def test_a_statement_that_could_not_be_prepared_is_prepared_again(
    database: Database, url: str
) -> None:
    """While a migration locks its table, it cannot even be parsed."""

    def count() -> int:
        with database.read_across(Purpose.OWNER) as tx:
            return int(tx.execute(text("SELECT count(*) FROM numbers")).scalar_one())

    with psycopg.connect(url, autocommit=True) as other:
        other.execute("CREATE TABLE numbers (n int)")
        for _ in range(5):  # at the sixth time it is prepared
            assert count() == 0
        with database.read_across(Purpose.OWNER) as tx:
            tx.exec_driver_sql("SET lock_timeout = '50ms'")
        with other.transaction():
            other.execute("LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StorageError):
                count()
    assert count() == 0


def test_a_refusal_of_the_logins_own_statement_is_no_missing_role(served: Database) -> None:
    """It works as itself: the fault is the statement's."""
    with (
        pytest.raises(StatementFault) as fault,
        served.read_across(Purpose.SERVER) as tx,
    ):
        tx.exec_driver_sql("SELECT set_config('role', 'no_such_role', true)")
    assert fault.value.code == "22023"


def test_a_cancelled_wait_for_a_connection_keeps_no_place(database: Database) -> None:
    """However many give up, all connections stay available."""

    async def run() -> None:
        taken = [database.pool.take() for _ in range(2 * POOL_SIZE)]
        for _ in range(3):
            await cancel(partial(sleep, database, 0), 0.05)
        for connection in taken:
            database.pool.give_back(connection)
        await asyncio.sleep(0.5)  # longer than a thread would wait

    asyncio.run(run())
    assert free_places(database) == 2 * POOL_SIZE


def test_a_cancelled_read_leaves_only_live_connections_in_the_pool(database: Database) -> None:
    """A closed one would be found dead by the next transaction, which would then close all the others."""

    async def run() -> None:
        await asyncio.gather(*(run_on_loop(partial(sleep, database, 0.1)) for _ in range(4)))
        await cancel(partial(sleep, database, 60), 0.1)

    asyncio.run(run())
    assert [idle.connection.driver_connection.closed for idle in database.pool._idle] == [False] * 3  # type: ignore[union-attr]


def test_a_commit_that_is_cancelled_with_its_loop_leaves_the_pool_whole(
    database: Database, url: str
) -> None:
    """A caller's cancellation never reaches it; the end of the loop does, and closes the connection."""
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(SLOW_COMMIT)
    execution, confirmed = Execution(is_sqlite=False), list[str]()

    def write() -> None:
        with database.write_across(Purpose.OWNER) as tx:
            tx.exec_driver_sql("INSERT INTO slow VALUES (1)")
        confirmed.append("committed")

    async def leave() -> None:
        task = asyncio.create_task(execution.run_write(WORKSPACE, write))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await execution.run_write(WORKSPACE, partial(sleep, database, 0))
        assert confirmed == ["committed"]

    async def stop() -> None:
        asyncio.create_task(execution.run_write(WORKSPACE, write))  # noqa: RUF006 - left behind
        await asyncio.sleep(0.2)

    asyncio.run(leave())
    asyncio.run(stop())
    assert confirmed == ["committed"]
    assert database.pool.in_use == 0
    assert free_places(database) == 2 * POOL_SIZE


def test_calls_that_fail_and_are_cancelled_never_share_a_workspace(served: Database) -> None:
    """Each statement has the workspace and the role of its own transaction, whatever ended the one before."""
    chance, wrong = random.Random(4), list[object]()
    execution = Execution(is_sqlite=False)

    def work(workspace: WorkspaceId, end: str) -> None:
        opened = served.read_once if end == "once" else served.read
        with opened(workspace) as tx:
            seen, role = WHO.all(tx)[0]
            if seen != workspace or not role.endswith("_application"):
                wrong.append((workspace, seen, role))
            ENDS[end](tx)

    async def call(number: int) -> None:
        for turn in range(20):
            end = chance.choice(list(ENDS))
            workspace = WorkspaceId(f"ws_{number}_{turn}")
            task = asyncio.create_task(execution.run_read(number, partial(work, workspace, end)))
            if end == "cancelled":
                await asyncio.sleep(0.02 * chance.random())
                task.cancel()
            with suppress(asyncio.CancelledError, StatementFault, StorageError):
                await task

    async def run() -> None:
        await asyncio.gather(*map(call, range(READS + 2)))

    asyncio.run(run())
    assert wrong == []
    assert served.pool.in_use == 0
    assert free_places(served) == 2 * POOL_SIZE
