"""Transactions on both engines: their locks, what they see, and the translation of driver errors."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, insert, select, text

from keystead.domain.errors import DiskFull, NotFound, OutcomeUnknown, Unavailable
from keystead.domain.ids import WorkspaceId
from keystead.domain.principals import Principal
from keystead.storage import database as databases
from keystead.storage.database import Database, Tx
from keystead.storage.engine import connections as engines
from keystead.storage.engine.connections import POOL_SIZE, SQLITE_PRAGMAS
from keystead.storage.engine.errors import StatementFault
from keystead.storage.engine.roles import Purpose
from keystead.storage.freshness.write_watch import StatementsExceeded
from keystead.storage.point_reads.by_id import SqlitePointReads
from keystead.storage.schema.tables import api_keys, workspaces
from tests.support.administrator import read_behind, write_behind
from tests.support.installations import (
    SandboxInstallation,
    fresh_sandbox,
    read_only,
    sqlite_file,
)

ABSENT = WorkspaceId("ws_0000000000000000000000")


@pytest.fixture
def embedded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxInstallation]:
    """An installation on SQLite."""
    with fresh_sandbox(request, tmp_path_factory, "sqlite") as sandbox:
        yield sandbox


@pytest.fixture
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxInstallation]:
    """An installation on PostgreSQL."""
    with fresh_sandbox(request, tmp_path_factory, "postgresql") as sandbox:
        yield sandbox


@contextmanager
def _tuned(database: Database, *statements: str) -> Iterator[None]:
    """Run these statements on each new connection."""

    def tune(connection: Any, _: object) -> None:
        for statement in statements:
            connection.execute(statement)
        connection.commit()

    event.listen(database.engine, "connect", tune)
    database.pool.close_idle()
    yield
    event.remove(database.engine, "connect", tune)
    database.pool.close_idle()


def _rename(tx: Tx, tenant: Principal, name: str) -> None:
    tx.execute(workspaces.update().where(workspaces.c.id == tenant.workspace_id).values(name=name))


def _name(database: Database, tenant: Principal) -> str:
    with database.read(tenant.workspace_id) as tx:
        query = select(workspaces.c.name).where(workspaces.c.id == tenant.workspace_id)
        return str(tx.execute(query).scalar_one())


# --- transactions ---


def test_both_or_neither(sandbox: SandboxInstallation) -> None:
    """A write is kept if its block ends, and undone if it raises; the connection is returned clean either way."""
    tenant = sandbox.tenant()
    with sandbox.database.write(tenant.workspace_id) as tx:
        _rename(tx, tenant, "kept")

    def break_off() -> None:
        with sandbox.database.write(tenant.workspace_id) as tx:
            _rename(tx, tenant, "undone")
            raise KeyboardInterrupt

    for _ in range(40):
        with pytest.raises(KeyboardInterrupt):
            break_off()
    assert _name(sandbox.database, tenant) == "kept"
    assert sandbox.database.pool.in_use == 0


def test_no_such_workspace(sandbox: SandboxInstallation) -> None:
    """A change in a workspace that does not exist is not begun."""
    with pytest.raises(NotFound), sandbox.database.write(ABSENT):
        pytest.fail("it was begun")


def test_one_change_at_a_time(sandbox: SandboxInstallation) -> None:
    """Changes of one workspace go one after the other: none reads what another is about to change."""
    tenant = sandbox.tenant()
    with sandbox.database.write(tenant.workspace_id) as tx:
        _rename(tx, tenant, "0")
    servers = [sandbox.database, sandbox.another().database]

    def add_one(number: int) -> None:
        database = servers[number % 2]
        with database.write(tenant.workspace_id) as tx:
            row = select(workspaces.c.name).where(workspaces.c.id == tenant.workspace_id)
            _rename(tx, tenant, str(int(tx.execute(row).scalar_one()) + 1))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(add_one, range(64)))
    assert _name(sandbox.database, tenant) == "64"


def test_workspaces_change_side_by_side(served: SandboxInstallation) -> None:
    """On PostgreSQL a change in one workspace does not wait for one in another."""
    one, other = served.tenant(), served.tenant()
    with served.database.write(one.workspace_id) as tx, ThreadPoolExecutor(1) as pool:
        _rename(tx, one, "held")
        assert pool.submit(served.key, other).result(30).token is not None


def test_a_read_sees_one_state(sandbox: SandboxInstallation) -> None:
    """All statements of a read see the state at its first, whatever is committed in between."""
    tenant = sandbox.tenant()
    names = select(workspaces.c.name).where(workspaces.c.id == tenant.workspace_id)
    with sandbox.database.read(tenant.workspace_id) as tx, ThreadPoolExecutor(1) as pool:
        before = tx.execute(names).scalar_one()
        pool.submit(_write_name, sandbox.database, tenant, "changed").result()
        assert tx.execute(names).scalar_one() == before
    assert _name(sandbox.database, tenant) == "changed"


def _write_name(database: Database, tenant: Principal, name: str) -> None:
    with database.write(tenant.workspace_id) as tx:
        _rename(tx, tenant, name)


def test_a_view_for_one_statement_has_one(sandbox: SandboxInstallation) -> None:
    """It sees the workspace's rows, a second statement is refused, and the connection is good for others afterwards."""
    tenant = sandbox.tenant()
    names = select(workspaces.c.name)

    def read_twice() -> None:
        with sandbox.database.read_once(tenant.workspace_id) as tx:
            assert tx.execute(names.where(workspaces.c.id == tenant.workspace_id)).scalar_one()
            tx.execute(names)

    with pytest.raises(StatementsExceeded):
        read_twice()
    assert _name(sandbox.database, tenant)
    with sandbox.database.write(tenant.workspace_id) as tx:
        _rename(tx, tenant, "changed")
    assert _name(sandbox.database, tenant) == "changed"


def test_a_view_for_one_statement_is_of_one_workspace(served: SandboxInstallation) -> None:
    """On PostgreSQL row-level security holds in it, and it cannot write."""
    tenant, _ = served.tenant(), served.tenant()
    with served.database.read_once(tenant.workspace_id) as tx:
        assert tx.execute(select(workspaces.c.id)).scalars().all() == [tenant.workspace_id]
    with pytest.raises(Unavailable), served.database.read_once(tenant.workspace_id) as tx:
        _rename(tx, tenant, "slipped by")
    with served.database.read_across(Purpose.SERVER) as tx:
        assert tx.exec_driver_sql("SELECT current_user = session_user").scalar_one()


def test_a_read_does_not_wait(sandbox: SandboxInstallation) -> None:
    """While a workspace is being changed, it is read, in the state before."""
    tenant = sandbox.tenant()
    before = _name(sandbox.database, tenant)
    with sandbox.database.write(tenant.workspace_id) as tx:
        _rename(tx, tenant, "unfinished")
        assert _name(sandbox.database, tenant) == before


def test_a_read_on_postgresql_cannot_write(served: SandboxInstallation) -> None:
    """A transaction opened for reading refuses to write, so no change bypasses the workspace's lock."""
    tenant = served.tenant()
    with pytest.raises(Unavailable), served.database.read(tenant.workspace_id) as tx:
        _rename(tx, tenant, "slipped by")


# --- SQLite as it must be set up ---


def test_pragmas_in_force(embedded: SandboxInstallation) -> None:
    """On every connection a commit is on disk before it is reported, foreign keys hold, and there is a WAL (R34).

    Connections that write check each page for damage; point reads are spared that.
    """
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "trusted_schema": 0,
        "cell_size_check": 1,
    }
    lookup = SqlitePointReads(str(sqlite_file(embedded))).open()
    with (
        embedded.database.read_across(Purpose.PEOPLE) as read,
        embedded.database.read_reserved(Purpose.PEOPLE) as reserved,
        embedded.database.write_across(Purpose.PEOPLE) as write,
    ):
        for name, value in expected.items():
            for tx in (read, reserved, write):
                assert tx.exec_driver_sql(f"PRAGMA {name}").scalar_one() == value, name
        assert _in_force(lookup, expected) == expected | {"cell_size_check": 0}
        assert int(read.exec_driver_sql("PRAGMA mmap_size").scalar_one()) > 1 << 30
    assert {pragma.split()[1] for pragma in SQLITE_PRAGMAS} == {*expected, "mmap_size"}
    lookup.close()


def _in_force(connection: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}


@pytest.mark.slow
def test_one_copy_of_sqlite(tmp_path: Any) -> None:
    """A server's process loads one SQLite library: a second copy's close would drop the first one's file locks."""
    script = f"""
import sys
from tests.support.installations import sandbox_on, prepare
url = "sqlite:///{tmp_path}/keystead.db"
prepare(url)
with sandbox_on(url) as sandbox:
    sandbox.verify(sandbox.key(sandbox.tenant()))
libraries = {{line.split()[-1] for line in open("/proc/self/maps") if "sqlite" in line and ".so" in line}}
print(len([path for path in libraries if "libsqlite3" in path or "pysqlite3" in path]))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.stdout.strip(), ran.stderr) == ("1", "")


# --- the translation of errors ---


@pytest.mark.parametrize("act", ["duplicate", "digest", "reference", "missing"])
def test_faults_show_no_values(sandbox: SandboxInstallation, act: str) -> None:
    """A refused statement is a fault of this program; the error has the statement, and no value of the row."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, "secret description")
    with read_behind(sandbox.database) as tx:
        stored = tx.execute(select(api_keys).where(api_keys.c.id == created.key.id)).one()
    row = {**stored._mapping, "id": "key_other", "description": "secret description"}
    change: dict[str, dict[str, Any]] = {
        "duplicate": {"id": stored.id},
        "digest": {"digest": stored.digest[:31]},
        "reference": {"workspace_id": ABSENT},
        "missing": {"scopes": None},
    }
    with pytest.raises(StatementFault) as fault, write_behind(sandbox.database) as tx:
        tx.execute(insert(api_keys), {**row, **change[act]})
    trace = "".join(traceback.format_exception(fault.value))
    assert "INSERT INTO api_keys" in trace
    for value in (stored.id, stored.hint, "secret description", tenant.workspace_id):
        assert value not in trace
    for written in (stored.digest.hex(), repr(stored.digest)[2:-1], stored.digest[:31].hex()):
        assert written not in trace


def test_a_wrong_argument_is_no_outage(sandbox: SandboxInstallation) -> None:
    """A value that a driver cannot take is this program's fault, and not an unavailable database."""
    with pytest.raises(StatementFault), sandbox.database.read_across(Purpose.PEOPLE) as tx:
        tx.exec_driver_sql("SELECT ?" if sandbox.database.is_sqlite else "SELECT %s", (object(),))


def test_a_wrong_statement_is_no_outage(sandbox: SandboxInstallation) -> None:
    """A malformed statement is this program's fault on both engines."""
    with pytest.raises(StatementFault), sandbox.database.read_across(Purpose.PEOPLE) as tx:
        tx.exec_driver_sql("SELECT nothing FROM nowhere")


def test_read_only(own_sandbox: SandboxInstallation) -> None:
    """A database that refuses writes is unavailable for changes, and can be read (R36)."""
    tenant = own_sandbox.tenant()
    created = own_sandbox.key(tenant)
    with read_only(own_sandbox.database):
        with pytest.raises(Unavailable):
            own_sandbox.services.keys.revoke(tenant, created.key.id)
        with pytest.raises(Unavailable):
            own_sandbox.key(tenant)
        assert own_sandbox.ids(tenant) == [created.key.id]
        assert own_sandbox.verdict(created) == "verified"
    own_sandbox.services.keys.revoke(tenant, created.key.id)


def test_locked_by_another_process(own_sandbox: SandboxInstallation) -> None:
    """If another process holds the lock too long, a change is unavailable without effect, and reading goes on."""
    tenant = own_sandbox.tenant()
    created = own_sandbox.key(tenant)
    short = "PRAGMA busy_timeout = 50"
    if not own_sandbox.database.is_sqlite:
        short = "SET lock_timeout = '50ms'"
    other = own_sandbox.another().database
    with (
        _tuned(own_sandbox.database, short),
        other.write(tenant.workspace_id),
        pytest.raises(Unavailable),
    ):
        own_sandbox.services.keys.revoke(tenant, created.key.id)
    assert own_sandbox.verdict(created) == "verified"
    assert own_sandbox.happened(tenant) == ["key.created"]


def test_busy_threads(embedded: SandboxInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite the threads of a process queue for the one writer; one that waits too long gets Busy."""
    monkeypatch.setattr(databases, "LOCK_SECONDS", 0.05)
    tenant = embedded.tenant()
    with (
        embedded.database.write_across(Purpose.PEOPLE),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(Unavailable),
    ):
        pool.submit(embedded.key, tenant).result()
    assert embedded.key(tenant).token is not None


def test_no_connection_left(sandbox: SandboxInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
    """If every connection is in use, a thread that waits too long for one gets Unavailable."""
    database = Database(sandbox.url)
    monkeypatch.setattr(engines, "LOCK_SECONDS", 0.05)
    connections = [database.pool.take() for _ in range(2 * POOL_SIZE)]
    with pytest.raises(Unavailable):
        database.ping()
    for connection in connections:
        database.pool.give_back(connection)
    database.ping()
    database.close()


def test_disk_full(embedded: SandboxInstallation) -> None:
    """On a full disk a creation fails and leaves nothing; verification and lists go on (R44)."""
    tenant = embedded.tenant()
    created = embedded.key(tenant)
    with embedded.database.read_across(Purpose.PEOPLE) as tx:
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
    with _tuned(embedded.database, f"PRAGMA max_page_count = {pages}"):
        with pytest.raises(DiskFull):
            _fill(embedded, tenant)
        listed = embedded.ids(tenant)
        assert embedded.verdict(created) == "verified"
    assert embedded.ids(tenant) == listed
    assert len(embedded.happened(tenant)) == len(listed)
    with embedded.database.read_across(Purpose.PEOPLE) as tx:
        assert tx.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    assert embedded.key(tenant).token is not None


def _fill(sandbox: SandboxInstallation, tenant: Principal) -> None:
    for _ in range(1000):
        sandbox.key(tenant, "x" * 200)


# --- PostgreSQL: commits in doubt, connections that die ---


def _deferred(sandbox: SandboxInstallation, body: str) -> None:
    """Have PostgreSQL run a statement at the commit of each change of a workspace's name."""
    with write_behind(sandbox.database) as tx:
        tx.execute(
            text(f"""
            CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN {body}; RETURN NULL; END $$
        """)
        )
        tx.execute(
            text("""
            CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE OF name ON workspaces
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit()
        """)
        )


def test_a_commit_with_a_warning_is_in_doubt(served: SandboxInstallation) -> None:
    """A commit reported with a WARNING is not acknowledged: so PostgreSQL reports a lost standby (R34)."""
    tenant = served.tenant()
    _deferred(served, "RAISE WARNING 'canceling wait for synchronous replication'")
    with (
        pytest.raises(OutcomeUnknown),
        served.database.write(tenant.workspace_id) as tx,
    ):
        _rename(tx, tenant, "in doubt")
    served.key(tenant)


def test_a_warning_before_the_commit_does_not_matter(served: SandboxInstallation) -> None:
    """PostgreSQL's warnings before the commit, or notices at it, do not put the commit in doubt."""
    tenant = served.tenant()
    _deferred(served, "RAISE NOTICE 'nothing to worry about'")
    with served.database.write(tenant.workspace_id) as tx:
        tx.execute(text("DO $$ BEGIN RAISE WARNING 'on the way'; END $$"))
        _rename(tx, tenant, "done")
    assert _name(served.database, tenant) == "done"


def test_a_commit_without_an_answer_is_in_doubt(served: SandboxInstallation) -> None:
    """If the connection dies at the commit, the outcome is unknown, and reported as such."""
    tenant = served.tenant()

    def rename_and_die() -> None:
        with served.database.write(tenant.workspace_id) as tx:
            _rename(tx, tenant, "in doubt")
            _terminate(served, tx.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())

    with pytest.raises(OutcomeUnknown):
        rename_and_die()
    served.key(tenant)


def test_a_commit_that_is_refused_is_undone(served: SandboxInstallation) -> None:
    """A commit that PostgreSQL refuses had no effect, and the fault has no values."""
    tenant = served.tenant()
    before = _name(served.database, tenant)
    _deferred(served, "RAISE check_violation USING MESSAGE = 'told: ' || NEW.name")
    with (
        pytest.raises(StatementFault) as fault,
        served.database.write(tenant.workspace_id) as tx,
    ):
        _rename(tx, tenant, "secret name")
    assert "secret name" not in "".join(traceback.format_exception(fault.value))
    assert _name(served.database, tenant) == before


def _terminate(sandbox: SandboxInstallation, backend: int | None = None) -> None:
    condition = "pid <> pg_backend_pid()" if backend is None else f"pid = {backend}"
    with psycopg.connect(sandbox.url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            f" WHERE datname = current_database() AND {condition}"
        )


def test_dead_connections_are_replaced(served: SandboxInstallation) -> None:
    """After PostgreSQL has ended every idle connection, the next change and the next read succeed."""
    tenant = served.tenant()
    ping = served.database.ping
    acts: list[Callable[[], object]] = [
        lambda: served.key(tenant),
        lambda: served.ids(tenant),
        served.flush,
        ping,
    ]
    with ThreadPoolExecutor(4) as pool:
        for act in acts:
            for pinged in [pool.submit(ping) for _ in range(16)]:
                pinged.result()
            _terminate(served)
            act()


def test_a_connection_that_dies_on_the_way(served: SandboxInstallation) -> None:
    """If the connection dies before the commit, nothing was done, and the error says so."""
    tenant = served.tenant()
    before = _name(served.database, tenant)

    def die() -> None:
        with served.database.write(tenant.workspace_id) as tx:
            _terminate(served, tx.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
            _rename(tx, tenant, "never")

    with pytest.raises(Unavailable):
        die()
    assert _name(served.database, tenant) == before


# --- addresses ---


@pytest.mark.parametrize("url", ["mysql://localhost/x", "mssql://localhost/x", "oracle://x"])
def test_other_databases(url: str) -> None:
    """Keystead runs on SQLite and PostgreSQL, and refuses the URL of any other."""
    with pytest.raises(ValueError, match="use sqlite or postgresql"):
        Database(url)


def test_no_password_in_sight() -> None:
    """The password of a database's URL is shown neither by the database nor by its errors."""
    database = Database("postgresql://keystead:hunter2hunter2@127.0.0.1:1/none")
    shown = [repr(database), repr(database.url), repr(database.engine), str(database.url)]
    with pytest.raises(Unavailable) as refused:
        database.ping()
    shown += traceback.format_exception(refused.value)
    assert not any("hunter2" in text for text in shown)
    database.close()


@pytest.mark.parametrize("careless", ["off", "local", "remote_write"])
def test_a_write_waits_for_the_disk_whatever_the_server_is_set_to(
    served: SandboxInstallation, careless: str
) -> None:
    """On PostgreSQL our writes wait for the disk at commit, even if the role or the database is set not to."""
    query = text("SELECT current_setting('synchronous_commit')")
    database = served.database
    with _tuned(database, f"SET synchronous_commit = {careless}"):
        database.pool.close_idle()
        with database.write_across(Purpose.PEOPLE) as tx:
            assert tx.execute(query).scalar_one() == "on"
        with database.read_across(Purpose.PEOPLE) as tx:
            assert tx.execute(query).scalar_one() == careless
    database.pool.close_idle()
