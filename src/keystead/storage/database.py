"""The database: transactions with their locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.util.concurrency import in_greenlet

from keystead.domain.errors import NotFound, OutcomeUnknown
from keystead.domain.ids import WorkspaceId
from keystead.domain.revocation_log import RevocationEntry
from keystead.storage.engine.connections import (
    POOL_SIZE,
    WARNINGS,
    ConnectionPool,
    sqlite_engine,
)
from keystead.storage.engine.disk_reserve import DiskReserve
from keystead.storage.engine.errors import (
    Busy,
    driver_errors,
    had_no_effect,
    storage_error,
    translated,
    translated_errors,
)
from keystead.storage.engine.fifo_lock import FifoLock
from keystead.storage.engine.roles import APPLICATION, ROLES, SETTING, Opening, Purpose
from keystead.storage.engine.shared_reads import SharedRead, SharedReads
from keystead.storage.engine.urls import parse_url
from keystead.storage.engine.waits import LOCK_SECONDS, off_loop
from keystead.storage.freshness.generation_file import GenerationFile
from keystead.storage.freshness.revocation_log import take_revocations
from keystead.storage.freshness.write_watch import KEEPS_ACCESS, STATEMENTS_LEFT, watch
from keystead.storage.queries import Query
from keystead.storage.schema import tables as schema

if TYPE_CHECKING:
    from keystead.storage.engine.liveness import LivenessProbe
    from keystead.storage.engine.transactions import TransactionConnection

Tx = Connection
"""An open transaction. Only storage uses its methods; services pass it along."""
OnRevocations = Callable[[Sequence[RevocationEntry]], None]
"""Receives the revocations of a transaction: after the commit, before the caller gets its answer."""
MAKES_DUE: Final = "keystead_makes_due"
"""Set in the `info` of a transaction that made deliveries of webhooks due."""

_BEGIN_ON_SQLITE: Final = {"read": "BEGIN", "write": "BEGIN IMMEDIATE"}
_BEGIN_ON_POSTGRESQL: Final = {
    "read": b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "write": b"BEGIN",
}
"""All statements of a read see one state: on PostgreSQL through this, on SQLite always."""
_PROBE: Final = "SELECT 1"
DURABLE: Final = (
    "CASE WHEN current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
    " THEN set_config('synchronous_commit', 'on', true) END"
)
"""SQL with which a transaction on PostgreSQL waits for the disk."""
_ROLE: Final = (
    f"set_config('role', session_user::text || %s, true), set_config('{SETTING}', %s, true)"
)
_SETTING_OF_ONE: Final = f"SELECT {_ROLE}, set_config('transaction_read_only', 'on', true)"
_SETTINGS: Final = {
    ("read", True): f"SELECT {_ROLE}",
    ("write", False): f"SELECT {DURABLE}",
    ("write", True): f"SELECT {_ROLE}, {DURABLE}",
}
"""What follows BEGIN on PostgreSQL, without and with a role.

Role and workspace are set for this transaction only, so the next user of the connection has neither. A write waits for
the disk, whatever the server or the role is set to.
"""

# FOR NO KEY UPDATE: a plain FOR UPDATE would block every insert of a row that refers to the workspace.
_LOCK: Final = Query(
    select(schema.workspaces.c.id)
    .where(
        schema.workspaces.c.id == bindparam("workspace"), schema.workspaces.c.deleted_at.is_(None)
    )
    .with_for_update(key_share=True)
)


@dataclass(frozen=True, slots=True)
class _Work:
    """What a transaction is for. `locks`: the workspace whose changes it is ordered with."""

    kind: Literal["read", "write"]
    purpose: str
    workspace: str = ""
    locks: WorkspaceId | None = None
    keeps_access: bool = False
    statements: int | None = None

    @property
    def role(self) -> str | None:
        """The role to work as on PostgreSQL; None for the login's own."""
        return self.purpose if self.purpose in ROLES else None

    @property
    def opening(self) -> Opening:
        """What PostgreSQL gets before the first statement."""
        role = self.role
        values = () if role is None else (f"_{role}", self.workspace)
        if self.statements == 1:
            return Opening(None, _SETTING_OF_ONE, values)
        setting = _SETTINGS.get((self.kind, role is not None))
        return Opening(_BEGIN_ON_POSTGRESQL[self.kind], setting, values)


class Database:
    """One database. `read` and `write` open a transaction; a write holds its workspace's lock from the start."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet.

        Args:
            url: `sqlite:///path` or `postgresql://user@host:port/name`; of several hosts the primary is used.
        """
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.liveness: LivenessProbe | None = None
        make_engine = sqlite_engine
        if not self.is_sqlite:
            # Only now: psycopg takes a process on SQLite 10 MB, and a command a tenth of its time.
            from keystead.storage.engine.liveness import liveness_probe_of
            from keystead.storage.engine.transactions import postgresql_engine

            self.liveness = liveness_probe_of(self.url)
            make_engine = partial(postgresql_engine, liveness=self.liveness)
        self.engine = make_engine(self.url)
        self.pool = ConnectionPool(self.engine, POOL_SIZE, self.liveness)
        self._reserved_pool = ConnectionPool(make_engine(self.url), 1, self.liveness)
        self._shared_reads = SharedReads(partial(self._transaction, _Work("read", Purpose.SERVER)))
        self._writers = FifoLock()
        self.on_revocations: OnRevocations | None = None
        self.on_due: Callable[[], None] | None = None
        """Called after each commit of this process that made deliveries of webhooks due."""
        self.reserve: DiskReserve | None = None
        self.generation_file: GenerationFile | None = None
        if self.url.database and self.is_sqlite:
            self.generation_file = GenerationFile(Path(self.url.database))
        watch(self.engine, self.generation_file)

    @contextmanager
    def read(self, workspace_id: WorkspaceId) -> Iterator[Tx]:
        """Open a consistent view of one workspace's rows."""
        with self._transaction(_Work("read", APPLICATION, workspace_id)) as tx:
            yield tx

    @contextmanager
    def read_once(self, workspace_id: WorkspaceId) -> Iterator[Tx]:
        """Open a view of one workspace's rows for a single statement; a second raises StatementsExceeded.

        The statement is a `Query`. PostgreSQL needs no BEGIN and no COMMIT for it: the setting and the statement are
        one implicit transaction. On an event loop those of several tasks are one message.
        """
        work = _Work("read", APPLICATION, workspace_id, statements=1)
        if self.is_sqlite or not in_greenlet():
            with self._transaction(work) as tx:
                yield tx
            return
        info = {KEEPS_ACCESS: False, STATEMENTS_LEFT: work.statements}
        with translated_errors():
            yield SharedRead(self.engine, self._shared_reads, work.opening, info)

    @contextmanager
    def write(
        self, workspace_id: WorkspaceId, *, revokes: bool = False, keeps_access: bool = False
    ) -> Iterator[Tx]:
        """Open a change within one workspace, which excludes every other change of that workspace.

        The steps, in this order:

        1. Disk space. A revoking write may use the reserve; the others require it to be whole. First, because a write
           that finds the disk full in the middle has held the lock for nothing.
        2. SQLite: queue for its one writer. A FIFO lock that rotates among workspaces; SQLite's own busy handler
           polls, which favors the thread that polls most often.
        3. Take a pooled connection, and give up while PostgreSQL is silent.
        4. Begin. SQLite takes its write lock now (BEGIN IMMEDIATE): a lock taken at the first change could fail there.
           PostgreSQL gets BEGIN, role, workspace and durability in one message with the first statement, which is step
           6 mostly. A connection that has not answered lately is asked alone first, and replaced if it is dead.
        5. SQLite: map the generation file, and publish a generation if an earlier writer left it INVALID. The lock
           shows that this writer has committed, rolled back or died.
        6. Lock the workspace's row. So two changes of a workspace never read the same state and both act on it.
        7. The caller's statements. Before the first change the generation becomes INVALID, unless the write keeps
           access; from then on every verification reads its row. It must precede the commit: a crash in between costs
           a few reads, the other order would leave a revoked key accepted.
        8. Commit. If its outcome is unknown, OutcomeUnknown; nothing retries it.
        9. Log the revocations, before the caller can answer: what was confirmed survives a restore of an older backup.
        10. SQLite: publish a new generation, under the write lock again, so that it never covers another writer's
            uncommitted change; if another has the lock, that one publishes.
        11. Release the FIFO lock.

        Args:
            workspace_id: The workspace, whose row is locked.
            revokes: Whether it revokes access; then it may use the disk space reserved for that.
            keeps_access: Whether it changes nothing that a verification reads, so that cached ones stay valid. Each of
                its statements is checked; AccessChange if one may change access after all.

        Raises:
            NotFound: The workspace does not exist, or was deleted.
        """
        self._require_disk_space(revokes)
        work = _Work("write", APPLICATION, workspace_id, workspace_id, keeps_access)
        with self._one_writer(work), self._transaction(work) as tx:
            yield tx

    @contextmanager
    def read_across(self, purpose: Purpose) -> Iterator[Tx]:
        """Open a consistent view across workspaces, for that purpose."""
        with self._transaction(_Work("read", purpose)) as tx:
            yield tx

    @contextmanager
    def write_across(
        self,
        purpose: Purpose,
        locks: WorkspaceId | None = None,
        *,
        revokes: bool = False,
        keeps_access: bool = False,
    ) -> Iterator[Tx]:
        """Open a change that belongs to no single workspace, for that purpose. The steps are those of `write`.

        `locks` names a workspace to lock all the same: NotFound if it does not exist.
        """
        self._require_disk_space(revokes)
        work = _Work("write", purpose, locks=locks, keeps_access=keeps_access)
        with self._one_writer(work), self._transaction(work) as tx:
            yield tx

    @contextmanager
    def read_reserved(self, purpose: Purpose) -> Iterator[Tx]:
        """Like `read_across`, on a reserved connection: it never waits behind callers that wait for a lock."""
        with self._transaction(_Work("read", purpose), self._reserved_pool) as tx:
            yield tx

    def ping(self) -> None:
        """Raise Unavailable unless the database answers."""
        with self.read_across(Purpose.SERVER) as tx:
            tx.execute(select(1))

    def close(self) -> None:
        """Close all connections."""
        self.pool.close()
        self._reserved_pool.close()
        if self.liveness is not None:
            self.liveness.close()
        if self.generation_file is not None:
            self.generation_file.close()

    @contextmanager
    def _one_writer(self, work: _Work) -> Iterator[None]:
        """Wait for SQLite's one writer: steps 2, 10 and 11 of a write."""
        if not self.is_sqlite:
            yield
            return
        owner = work.locks or work.purpose
        try:
            self._writers.acquire(owner, LOCK_SECONDS)
        except TimeoutError:
            raise Busy("The database is busy.") from None
        try:
            yield
        finally:
            self._end_write(owner)

    def _end_write(self, owner: str) -> None:
        try:
            if self.generation_file is not None:
                self.generation_file.publish()
        finally:
            self._writers.release(owner)

    @contextmanager
    def _transaction(self, work: _Work, pool: ConnectionPool | None = None) -> Iterator[Tx]:
        pool = pool or self.pool
        with translated_errors():
            tx = self._open(pool, work)
        # A rolled-back transaction on this connection may have left some.
        take_revocations(tx)
        tx.info.pop(MAKES_DUE, None)
        try:
            with translated_errors():
                yield tx
            if work.kind == "write":
                _commit(tx)
                self._report_revocations(take_revocations(tx))
                if MAKES_DUE in tx.info and self.on_due is not None:
                    self.on_due()
        except BaseException:
            if work.kind == "write":
                _abandon(tx)
            raise
        finally:
            if work.kind == "read":
                self._end_read(tx)
            pool.give_back(tx)

    def _require_disk_space(self, revokes: bool) -> None:
        if self.reserve is None:
            return
        if not revokes:
            self.reserve.fill()
        elif self.reserve.release_if_needed():
            self._restart_write_ahead_log()

    def _restart_write_ahead_log(self) -> None:
        """Make SQLite's next write start over in its log, if possible, and not extend it."""
        with suppress(SQLAlchemyError), self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(RESTART)").all()

    def _report_revocations(self, entries: Sequence[RevocationEntry]) -> None:
        if entries and self.on_revocations is not None:
            off_loop(partial(self.on_revocations, entries))  # it syncs a file

    def _open(self, pool: ConnectionPool, work: _Work) -> Tx:
        """Begin a transaction. A pooled connection that died is replaced: nothing was done on it yet."""
        try:
            return self._begin(pool, work)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            pool.close_idle()  # they are probably dead too
            return self._begin(pool, work)

    def _begin(self, pool: ConnectionPool, work: _Work) -> Tx:
        tx = pool.take()
        try:
            tx.info[KEEPS_ACCESS], tx.info[STATEMENTS_LEFT] = work.keeps_access, None
            if self.is_sqlite:
                _driver(tx).execute(_BEGIN_ON_SQLITE[work.kind])
            else:
                _open_on_postgresql(tx, work)
            if work.kind == "write":
                self._begin_write(tx, work)
            tx.info[STATEMENTS_LEFT] = work.statements
        except BaseException:
            _abandon(tx)
            pool.give_back(tx)
            raise
        return tx

    def _begin_write(self, tx: Tx, work: _Work) -> None:
        if not tx.in_transaction():  # a read before it leaves SQLAlchemy's own transaction open
            tx.begin()
        if self.generation_file is not None:
            self.generation_file.begin_write()
        if work.locks is not None:
            _lock_workspace(tx, work.locks)

    def _end_read(self, tx: Tx) -> None:
        """Commit a read. On PostgreSQL its answer is not waited for."""
        if tx.invalidated:
            return
        try:
            if self.is_sqlite:
                _driver(tx).execute("COMMIT")
            else:
                _driver(tx).end_read()
                if _driver(tx).closed:  # in the pool it would cast suspicion on the others
                    tx.invalidate()
        except driver_errors():
            tx.invalidate()


def _driver(tx: Tx) -> Any:
    return tx.connection.driver_connection


def _open_on_postgresql(tx: Tx, work: _Work) -> None:
    driver: TransactionConnection = _driver(tx)
    if not driver.is_fresh():
        with driver.soon_answered():
            tx.exec_driver_sql(_PROBE)
    driver.open(work.opening)


def _lock_workspace(tx: Tx, workspace_id: WorkspaceId) -> None:
    """Lock the workspace's row on PostgreSQL; on SQLite the whole database is locked already."""
    if _LOCK.first(tx, {"workspace": workspace_id}) is None:
        raise NotFound("There is no such workspace.")


def _commit(tx: Tx) -> None:
    """Commit, never cancelled. OutcomeUnknown if the answer was lost or is in doubt."""
    # PostgreSQL reports a commit as a success with a WARNING if it gave up waiting for its synchronous standby: after
    # a failover it may be gone.
    warnings = tx.info.get(WARNINGS, [])
    warnings.clear()
    try:
        tx.commit()
    except DBAPIError as error:
        fault = storage_error(error.orig)
        if fault is None or had_no_effect(error.orig):
            raise fault or translated(error.orig, error.statement) from None
        # The connection broke after COMMIT was sent: it may have been executed.
        raise OutcomeUnknown("The database did not confirm the change.") from None
    if warnings:
        raise OutcomeUnknown("The database confirmed the change with a warning.")


def _abandon(tx: Tx) -> None:
    if tx.invalidated:
        return
    try:
        _driver(tx).rollback()
        tx.rollback()  # SQLAlchemy's own state, which a refused commit leaves open
    except driver_errors():
        tx.invalidate()
