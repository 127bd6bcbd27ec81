"""Point reads on both engines: what they read, what that costs, and what happens while the database is away."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from keystead.domain.errors import Unavailable
from keystead.domain.ids import KeyId
from keystead.domain.instants import from_microseconds
from keystead.domain.keys import KeyPatch
from keystead.domain.renewals import Renewal
from keystead.domain.verification import KeyRecord, Verified
from keystead.storage.database import Database
from keystead.storage.engine.connections import sqlite_driver
from keystead.storage.engine.roles import Purpose
from keystead.storage.point_reads.by_id import (
    Lookup,
    SqliteLookup,
    SqlitePointReads,
    point_reads_of,
)
from keystead.storage.point_reads.postgresql import CONNECTIONS, PostgresqlPointReads
from keystead.storage.schema.verification_reads import CREDENTIAL, KEY, KEY_DETAILS
from tests.support.installations import (
    SandboxInstallation,
    fresh_sandbox,
    fresh_url,
    plan_of,
    prepare,
    sandbox_on,
    sqlite_file,
)
from tests.support.postgres import PostgresServer, PrivatePostgres
from tests.support.row_security import as_owner

ABSENT = KeyId("key_0000000000000000000000")


@pytest.fixture
def lookup(sandbox: SandboxInstallation) -> Lookup[KeyRecord]:
    """The installation's lookup of keys."""
    return sandbox.installation.reads.lookup(KEY)


def _open_files(file: Path) -> int:
    return sum(
        str(link.resolve()).startswith(str(file)) for link in Path("/proc/self/fd").iterdir()
    )


def test_the_columns_are_the_records(
    sandbox: SandboxInstallation, lookup: Lookup[KeyRecord]
) -> None:
    """The columns are the fields of the record: the digest as bytes, times as whole microseconds."""
    for query in (KEY, KEY_DETAILS, CREDENTIAL):
        fields = [*getattr(query.record, "_fields")]  # noqa: B009 - of every named tuple
        assert [column.name for column in query.one.selected_columns] == fields
        assert [column.name for column in query.many.selected_columns] == [*fields, "id"]
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, "sync", scopes=["keys:read", "documents:read"])
    record = lookup.find(created.key.id)
    assert record is not None
    assert type(record) is KeyRecord
    assert record == KeyRecord(
        tenant.workspace_id,
        "sync",
        "p1",
        record.digest,
        "documents:read keys:read",
        None,
        None,
        None,
        None,
    )
    restricted = sandbox.key(
        tenant,
        networks=["192.0.2.0/24", "2001:db8::/32"],
        metadata={"line": "a\\nb"},
        renewal=Renewal(from_microseconds(4_000_000_000_000_000)),
    )
    found = lookup.find(restricted.key.id)
    assert found is not None
    assert found.extras == ('192.0.2.0/24 2001:db8::/32\n{"line":"a\\\\nb"}\n4000000000000000\n')
    assert (type(record.digest), len(record.digest)) == (bytes, 32)
    assert lookup.find(ABSENT) is None


def test_two_searches(sandbox: SandboxInstallation, lookup: Lookup[KeyRecord]) -> None:
    """The query finds the key by its id, and the workspace among those that are suspended."""
    if isinstance(lookup, SqliteLookup):
        connection = lookup._open()
        rows = connection.execute(f"EXPLAIN QUERY PLAN {lookup.sql}", (ABSENT,)).fetchall()
        connection.close()
        assert [row[3] for row in rows] == [
            "SEARCH api_keys USING PRIMARY KEY (id=?)",
            "CORRELATED SCALAR SUBQUERY 1",
            "SEARCH workspaces USING COVERING INDEX workspaces_suspended (id=? AND suspended_at>?)",
        ]
    else:
        plan = plan_of(sandbox.database, KEY.one.params(id=ABSENT))
        assert "api_keys_pk" in plan
        assert "workspaces_suspended" in plan
        assert "Seq Scan" not in plan


def test_every_read_is_of_now(sandbox: SandboxInstallation, lookup: Lookup[KeyRecord]) -> None:
    """A read that begins after a commit sees it, on every connection."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    together = threading.Barrier(CONNECTIONS)

    def read() -> bool:
        together.wait(30)
        record = lookup.find(created.key.id)
        return record is not None and record.revoked_at is not None

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        assert not any(pool.map(lambda _: read(), range(CONNECTIONS)))
        sandbox.services.keys.revoke(tenant, created.key.id)
        assert all(pool.map(lambda _: read(), range(CONNECTIONS)))


def test_a_read_ends_with_its_answer(own_sandbox: SandboxInstallation) -> None:
    """After its answer, a read on SQLite keeps no snapshot: the write-ahead log can be emptied."""
    if not own_sandbox.database.is_sqlite:
        return
    tenant = own_sandbox.tenant()
    created, _ = own_sandbox.key(tenant), own_sandbox.key(tenant)
    lookup = own_sandbox.installation.reads.lookup(KEY)
    for key_id in (created.key.id, ABSENT):
        lookup.find(key_id)
        own_sandbox.services.keys.update(tenant, created.key.id, KeyPatch(description=key_id))
        with closing(sqlite_driver.connect(sqlite_file(own_sandbox))) as other:
            busy, *_ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0


def test_it_cannot_write(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The connections of point reads on SQLite are read-only: verification cannot change a row."""
    with fresh_sandbox(request, tmp_path_factory, "sqlite") as sandbox:
        connection = SqlitePointReads(str(sqlite_file(sandbox))).open()
        with pytest.raises(sqlite_driver.OperationalError, match="readonly"):
            connection.execute("UPDATE api_keys SET revoked_at = NULL")
        connection.close()


def test_threads_that_come_and_go_leave_nothing_open(own_sandbox: SandboxInstallation) -> None:
    """Threads that verify one after another leave no more connections open than were used at the same time."""
    created = own_sandbox.key(own_sandbox.tenant())
    own_sandbox.verify(created)

    def open_now() -> int:
        if own_sandbox.database.is_sqlite:
            return _open_files(sqlite_file(own_sandbox))
        with own_sandbox.database.read_across(Purpose.SERVER) as tx:
            count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            return int(tx.exec_driver_sql(count).scalar_one())

    before = open_now()
    for _ in range(40):
        thread = threading.Thread(target=own_sandbox.verify, args=(created,))
        thread.start()
        thread.join()
    assert open_now() == before


# --- PostgreSQL away, back, paused ---


@contextmanager
def _sandbox_on(server: PostgresServer) -> Iterator[SandboxInstallation]:
    url = server.dsn(server.create_database())
    prepare(url)
    with sandbox_on(url) as sandbox:
        yield sandbox


def test_away_and_back(private_postgres: PrivatePostgres) -> None:
    """While PostgreSQL is away verifications are unavailable, never denied; the first after its return works."""
    with _sandbox_on(private_postgres) as sandbox:
        tenant = sandbox.tenant()
        live, dead = sandbox.key(tenant), sandbox.key(tenant)
        sandbox.services.keys.revoke(tenant, dead.key.id)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(lambda _: sandbox.verify(live), range(5 * CONNECTIONS)))
        private_postgres.kill()
        for created in (live, dead) * CONNECTIONS:
            with pytest.raises(Unavailable):
                sandbox.verify(created)
        private_postgres.start()
        assert (sandbox.verdict(live), sandbox.verdict(dead)) == ("verified", "revoked")
        assert sandbox.key(tenant).token is not None


def test_cut_connections_are_not_noticed(private_postgres: PrivatePostgres) -> None:
    """After PostgreSQL has ended its connections, as at a restart, the next verifications succeed."""
    with _sandbox_on(private_postgres) as sandbox:
        created = sandbox.key(sandbox.tenant())
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(lambda _: sandbox.verify(created), range(5 * CONNECTIONS)))
        private_postgres.restart()
        for _ in range(2 * CONNECTIONS):
            assert isinstance(sandbox.verify(created), Verified)


def test_a_server_that_is_silent(private_postgres: PrivatePostgres) -> None:
    """A silent PostgreSQL makes verifications unavailable: no wait is endless (R36)."""
    with _sandbox_on(private_postgres) as sandbox:
        created = sandbox.key(sandbox.tenant())
        sandbox.verify(created)
        with sandbox.database.read_across(Purpose.SERVER) as tx:
            backend = tx.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        parent = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        family = [parent, *map(int, children)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable):
                sandbox.verify(created)
        finally:
            for pid in family:
                os.kill(pid, signal.SIGCONT)
        assert isinstance(sandbox.verify(created), Verified)


def test_locked_out(private_postgres: PrivatePostgres) -> None:
    """While another transaction locks the whole table, as a careless migration would, verifications are unavailable."""
    with _sandbox_on(private_postgres) as sandbox:
        created = sandbox.key(sandbox.tenant())
        with psycopg.connect(as_owner(sandbox.url)) as other:
            other.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(Unavailable):
                sandbox.verify(created)
        assert isinstance(sandbox.verify(created), Verified)


def test_no_lookup_without_its_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A lookup in a file without tables, or without a file, is unavailable and not a denial."""
    with fresh_url(request, tmp_path_factory, "sqlite") as url:
        for address in (url, "sqlite:////nowhere/at/all.db"):
            database = Database(address)
            reads = point_reads_of(database)
            with pytest.raises(Unavailable):
                reads.lookup(KEY).find(ABSENT)
            reads.close()
            database.close()


def test_closed(sandbox: SandboxInstallation) -> None:
    """Closing the point reads a second time does nothing."""
    reads = point_reads_of(sandbox.database)
    created = sandbox.key(sandbox.tenant())
    assert reads.lookup(KEY).find(created.key.id) is not None
    reads.close()
    reads.close()


def test_a_connection_in_use_while_the_reads_close_is_closed_with_them(
    postgres: PostgresServer,
) -> None:
    """It comes back after the end, is not handed out again, and none is opened afterwards."""
    with _sandbox_on(postgres) as sandbox:
        reads = point_reads_of(sandbox.database)
        assert isinstance(reads, PostgresqlPointReads)
        with reads._connection() as connection:
            assert connection.read("SELECT 1", {}) == [(1,)]
            reads.close()
        assert connection._connection is None
        with pytest.raises(Unavailable):
            reads.lookup(KEY).find(ABSENT)
