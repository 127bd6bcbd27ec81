"""The database: transactions with their locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from keystead.domain.errors import NotFound, OutcomeUnknown, Unavailable
from keystead.domain.ids import WorkspaceId
from keystead.domain.revocation_log import RevocationEntry
from keystead.storage.engine.connections import (
    LOCK_SECONDS,
    POOL_SIZE,
    WARNINGS,
    liveness_probe_of,
    postgresql_engine,
    soon_answered,
    sqlite_engine,
)
from keystead.storage.engine.disk_reserve import DiskReserve
from keystead.storage.engine.errors import (
    FORBIDDEN,
    Busy,
    driver_code,
    fault_of,
    had_no_effect,
    storage_error,
    translated_errors,
)
from keystead.storage.engine.fifo_lock import FifoLock
from keystead.storage.engine.liveness import LivenessProbe
from keystead.storage.engine.roles import APPLICATION, ROLES, SETTING, Purpose
from keystead.storage.engine.urls import parse_url
from keystead.storage.freshness.generation_file import GenerationFile
from keystead.storage.freshness.revocation_log import take_revocations
from keystead.storage.freshness.write_watch import KEEPS_ACCESS, watch
from keystead.storage.schema import tables as schema

Tx = Connection
"""An open transaction. Only storage uses its methods; services pass it along."""
OnRevocations = Callable[[Sequence[RevocationEntry]], None]
"""Receives the revocations of a transaction: after the commit, before the caller gets its answer."""
MAKES_DUE: Final = "keystead_makes_due"
"""Set in the `info` of a transaction that made deliveries of webhooks due."""

_PROBE: Final = "SELECT 1"
_DURABLE: Final = (
    "CASE WHEN current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
    " THEN set_config('synchronous_commit', 'on', true) END"
)
_ROLE: Final = (
    "set_config('role', session_user::text || %(role)s, true),"
    f" set_config('{SETTING}', %(workspace)s, true)"
)
_FIRST: Final = {
    ("BEGIN", False): _PROBE,
    ("BEGIN", True): f"SELECT {_ROLE}",
    ("BEGIN IMMEDIATE", False): f"SELECT {_DURABLE}",
    ("BEGIN IMMEDIATE", True): f"SELECT {_ROLE}, {_DURABLE}",
}
"""The first statement on PostgreSQL, without and with a role. It also tests whether a pooled connection is alive.

Role and workspace are set for this transaction only, so the next user of the connection has neither. A write waits for
the disk, whatever the server or the role is set to.
"""
_NO_ROLE: Final = ("22023", FORBIDDEN)
_SNAPSHOT: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""All statements of a read see one state: on PostgreSQL through this, on SQLite always."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What a transaction is for. `locks`: the workspace whose changes it is ordered with."""

    purpose: str
    workspace: str = ""
    locks: WorkspaceId | None = None
    keeps_access: bool = False

    @property
    def role(self) -> str | None:
        """The role to work as on PostgreSQL; None for the login's own."""
        return self.purpose if self.purpose in ROLES else None


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
            self.liveness = liveness_probe_of(self.url)
            make_engine = partial(postgresql_engine, liveness=self.liveness)
        self.engine = make_engine(self.url, POOL_SIZE)
        self._reserved_engine = make_engine(self.url, 1)
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
        with self._transaction("BEGIN", _Work(APPLICATION, workspace_id)) as tx:
            yield tx

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
           PostgreSQL gets role, workspace and durability in one statement, which also detects a dead connection; it is
           replaced, because nothing was done on it yet.
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
            NotFound: The workspace does not exist.
        """
        self._require_disk_space(revokes)
        work = _Work(APPLICATION, workspace_id, workspace_id, keeps_access)
        with self._one_writer(work), self._transaction("BEGIN IMMEDIATE", work) as tx:
            yield tx

    @contextmanager
    def read_across(self, purpose: Purpose) -> Iterator[Tx]:
        """Open a consistent view across workspaces, for that purpose."""
        with self._transaction("BEGIN", _Work(purpose)) as tx:
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
        work = _Work(purpose, locks=locks, keeps_access=keeps_access)
        with self._one_writer(work), self._transaction("BEGIN IMMEDIATE", work) as tx:
            yield tx

    @contextmanager
    def read_reserved(self, purpose: Purpose) -> Iterator[Tx]:
        """Like `read_across`, on a reserved connection: it never waits behind callers that wait for a lock."""
        with self._transaction("BEGIN", _Work(purpose), self._reserved_engine) as tx:
            yield tx

    def ping(self) -> None:
        """Raise Unavailable unless the database answers."""
        with self.read_across(Purpose.SERVER) as tx:
            tx.execute(select(1))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        self._reserved_engine.dispose()
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
    def _transaction(self, begin: str, work: _Work, engine: Engine | None = None) -> Iterator[Tx]:
        with translated_errors():
            tx = self._open(engine or self.engine, begin, work)
        # A rolled-back transaction on this connection may have left some.
        take_revocations(tx)
        tx.info.pop(MAKES_DUE, None)
        try:
            with translated_errors():
                yield tx
            _commit(tx)
            self._report_revocations(take_revocations(tx))
            if MAKES_DUE in tx.info and self.on_due is not None:
                self.on_due()
        except BaseException:
            _abandon(tx)
            raise
        finally:
            tx.close()

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
            self.on_revocations(entries)

    def _open(self, engine: Engine, begin: str, work: _Work) -> Tx:
        """Begin a transaction. A pooled connection that died is replaced: nothing was done on it yet."""
        try:
            return self._begin(engine, begin, work)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return self._begin(engine, begin, work)

    def _begin(self, engine: Engine, begin: str, work: _Work) -> Tx:
        tx = self._connect(engine)
        try:
            if work.keeps_access:
                tx = tx.execution_options(**{KEEPS_ACCESS: True})
            if not self.is_sqlite:
                tx = _configure(tx, begin)
            tx.begin()
            if self.is_sqlite:
                tx.exec_driver_sql(begin)
            else:
                _set_role(tx, begin, work)
            if begin == "BEGIN IMMEDIATE" and self.generation_file is not None:
                self.generation_file.begin_write()
            if work.locks is not None:
                _lock_workspace(tx, work.locks)
        except BaseException:
            tx.close()
            raise
        return tx

    def _connect(self, engine: Engine) -> Tx:
        """Take one of the pool's connections as soon as one is free. Unavailable while the server is silent."""
        if self.liveness is None:
            return engine.connect()
        deadline = monotonic() + LOCK_SECONDS
        while True:
            self.liveness.require_answers()
            try:
                return engine.connect()
            except PoolTimeout:
                # The pool waits for a fifth of a second only, so that all who wait notice a silent server.
                if monotonic() > deadline:
                    raise


def _configure(tx: Tx, begin: str) -> Tx:
    """Give a read its snapshot. A write must be possible again: SQLAlchemy would keep the read's setting."""
    if begin == "BEGIN":
        return tx.execution_options(**_SNAPSHOT)
    tx.connection.driver_connection.read_only = None  # type: ignore[union-attr]
    return tx


def _set_role(tx: Tx, begin: str, work: _Work) -> None:
    """Execute the first statement, with the role of the work unless that is the login's own."""
    try:
        with soon_answered(tx):
            if work.role is None:
                tx.exec_driver_sql(_FIRST[begin, False])
            else:
                values = {"role": f"_{work.role}", "workspace": work.workspace}
                tx.exec_driver_sql(_FIRST[begin, True], values)
    except DBAPIError as error:
        if driver_code(error) not in _NO_ROLE:
            raise
        raise Unavailable(
            "The database's login has no roles of Keystead: is it the server's? Run: keystead migrate"
        ) from None


def _lock_workspace(tx: Tx, workspace_id: WorkspaceId) -> None:
    """Lock the workspace's row on PostgreSQL; on SQLite the whole database is locked already."""
    workspaces = schema.workspaces
    query = select(workspaces.c.id).where(workspaces.c.id == workspace_id)
    # FOR NO KEY UPDATE: a plain FOR UPDATE would block every insert of a row that refers to the workspace.
    if tx.execute(query.with_for_update(key_share=True)).first() is None:
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
        fault = storage_error(error)
        if fault is None or had_no_effect(error):
            raise fault or fault_of(error) from None
        # The connection broke after COMMIT was sent: it may have been executed.
        raise OutcomeUnknown("The database did not confirm the change.") from None
    if warnings:
        raise OutcomeUnknown("The database confirmed the change with a warning.")


def _abandon(tx: Tx) -> None:
    try:
        tx.rollback()
    except SQLAlchemyError:
        tx.invalidate()
