"""Database: transactions with their locks, and the translation of driver errors into the storage errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

import psycopg
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from keystead.domain.errors import DiskFull, NotFound, OutcomeUnknown, StorageError, Unavailable
from keystead.domain.ids import WorkspaceId
from keystead.domain.revocation_log import RevocationEntry
from keystead.storage.engine.connections import (
    LOCK_SECONDS,
    POOL_SIZE,
    WARNINGS,
    postgresql_engine,
    pulse_of,
    soon_answered,
    sqlite_engine,
)
from keystead.storage.engine.disk_reserve import Reserve
from keystead.storage.engine.fifo_lock import Turns
from keystead.storage.engine.liveness import Pulse
from keystead.storage.engine.roles import APPLICATION, ROLES, SETTING, Purpose
from keystead.storage.engine.urls import parse_url
from keystead.storage.freshness.generation_file import Stamp
from keystead.storage.freshness.revocation_log import take_endings
from keystead.storage.freshness.write_watch import watch
from keystead.storage.schema import tables as schema

Tx = Connection
"""An open transaction. Only storage looks inside; services hand it on."""
OnEndings = Callable[[Sequence[RevocationEntry]], None]
"""Told of what took authority away: after the commit, before anybody is answered."""

_FULL = ("SQLITE_FULL", "53100")
_READ_ONLY = ("25006", "SQLITE_READONLY")
_STANDBY = "hot standby mode"
"""What libpq says where it found nothing but standbys."""
_POOLER = "unsupported startup parameter"
"""What PgBouncer says of settings that a session begins with."""
_NO_EFFECT = ("SQLITE_BUSY", "SQLITE_FULL", "SQLITE_CONSTRAINT", "23", "40001", "40P01")
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
"""The first statement on PostgreSQL, without and with a role. It finds out whether a pooled connection still lives.

Role and workspace hold until the end of the transaction and no longer, whoever uses the connection next. A write waits
for the disk, whatever the server or the role is set to.
"""
_NO_LOCK: Final = "55P03"
_ROLLED_BACK: Final = ("40001", "40P01", "SQLITE_BUSY_SNAPSHOT")
"""Others were at the same rows: not to be serialized, a deadlock, a snapshot that is out of date."""
_FORBIDDEN: Final = "42501"
_NO_ROLE: Final = ("22023", _FORBIDDEN)
_SNAPSHOT: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""All statements of a read see one state, on PostgreSQL by this, on SQLite without being asked."""


class StatementFault(Exception):
    """A statement that the database refused: this program's fault. Its code, constraint and text, never its values."""

    @property
    def code(self) -> str:
        """SQLite's error name, or PostgreSQL's SQLSTATE."""
        return str(self.args[1])

    @property
    def is_forbidden(self) -> bool:
        """Whether the role lacks the right."""
        return self.code == _FORBIDDEN


class Busy(Unavailable):
    """A lock was not to be had in time."""


class RolledBack(Unavailable):
    """The database undid the transaction, because others were at the same rows. It may be run again: see `anew`."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What a transaction is for: across workspaces, or within one. `locks`: the workspace whose changes it orders."""

    purpose: str
    workspace: str = ""
    locks: WorkspaceId | None = None

    @property
    def role(self) -> str | None:
        """The role that PostgreSQL holds the work to; None for the login's own."""
        return self.purpose if self.purpose in ROLES else None


class Database:
    """One database. `read` and `write` open a transaction; a write holds its workspace's lock from the start."""

    def __init__(self, url: str) -> None:
        """`url`: `sqlite:///path` or `postgresql://user@host:port/name`; of several hosts the primary is used."""
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.pulse: Pulse | None = None
        make_engine = sqlite_engine
        if not self.is_sqlite:
            self.pulse = pulse_of(self.url)
            make_engine = partial(postgresql_engine, pulse=self.pulse)
        self.engine = make_engine(self.url, POOL_SIZE)
        self._engine_aside = make_engine(self.url, 1)
        self._turns = Turns()
        self.on_endings: OnEndings | None = None
        self.reserve: Reserve | None = None
        self.stamp: Stamp | None = None
        if self.url.database and self.is_sqlite:
            self.stamp = Stamp(Path(self.url.database))
            watch(self.engine, self.stamp)

    @contextmanager
    def read(self, workspace_id: WorkspaceId) -> Iterator[Tx]:
        """A consistent view of one workspace's rows."""
        with self._transaction("BEGIN", _Work(APPLICATION, workspace_id)) as tx:
            yield tx

    @contextmanager
    def write(self, workspace_id: WorkspaceId, *, ends: bool = False) -> Iterator[Tx]:
        """A change within one workspace, alone among the changes of that workspace. NotFound where there is none.

        `ends`: it takes authority away, and may have the room that is kept for that on a full disk.
        """
        self._require_room(ends)
        work = _Work(APPLICATION, workspace_id, locks=workspace_id)
        with self._one_writer(work), self._transaction("BEGIN IMMEDIATE", work) as tx:
            yield tx

    @contextmanager
    def read_across(self, purpose: Purpose) -> Iterator[Tx]:
        """A consistent view over workspaces, for that purpose."""
        with self._transaction("BEGIN", _Work(purpose)) as tx:
            yield tx

    @contextmanager
    def write_across(
        self, purpose: Purpose, locks: WorkspaceId | None = None, *, ends: bool = False
    ) -> Iterator[Tx]:
        """A change that belongs to no single workspace, for that purpose; `locks` one all the same, or NotFound.

        `ends`: as for `write`.
        """
        self._require_room(ends)
        work = _Work(purpose, locks=locks)
        with self._one_writer(work), self._transaction("BEGIN IMMEDIATE", work) as tx:
            yield tx

    @contextmanager
    def read_aside(self, purpose: Purpose) -> Iterator[Tx]:
        """As read_across, on a connection kept for this: it never waits behind those who wait for a lock."""
        with self._transaction("BEGIN", _Work(purpose), self._engine_aside) as tx:
            yield tx

    def ping(self) -> None:
        """Unavailable unless the database answers."""
        with self.read_across(Purpose.SERVER) as tx:
            tx.execute(select(1))

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()
        self._engine_aside.dispose()
        if self.pulse is not None:
            self.pulse.close()
        if self.stamp is not None:
            self.stamp.close()

    @contextmanager
    def _one_writer(self, work: _Work) -> Iterator[None]:
        """Wait for SQLite's one writer. Threads of this process queue here, and not in its busy handler.

        Workspaces take turns: however many changes one of them sends, another one's is next.
        """
        if not self.is_sqlite:
            yield
            return
        owner = work.locks or work.purpose
        try:
            self._turns.take(owner, LOCK_SECONDS)
        except TimeoutError:
            raise Busy("The database is busy.") from None
        try:
            yield
        finally:
            self._end_turn(owner)

    def _end_turn(self, owner: str) -> None:
        try:
            if self.stamp is not None:
                self.stamp.settle()
        finally:
            self._turns.hand_on(owner)

    @contextmanager
    def _transaction(self, begin: str, work: _Work, engine: Engine | None = None) -> Iterator[Tx]:
        with translated_errors():
            tx = self._open(engine or self.engine, begin, work)
        take_endings(tx)
        try:
            with translated_errors():
                yield tx
            _commit(tx)
            self._tell(take_endings(tx))
        except BaseException:
            _abandon(tx)
            raise
        finally:
            tx.close()

    def _require_room(self, ends: bool) -> None:
        if self.reserve is None:
            return
        if not ends:
            self.reserve.keep()
        elif self.reserve.give():
            self._begin_journal_anew()

    def _begin_journal_anew(self) -> None:
        """Has SQLite's next write begin at the start of its journal, and not make it longer. Where it can be done."""
        with suppress(SQLAlchemyError), self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(RESTART)").all()

    def _tell(self, endings: Sequence[RevocationEntry]) -> None:
        if endings and self.on_endings is not None:
            self.on_endings(endings)

    def _open(self, engine: Engine, begin: str, work: _Work) -> Tx:
        """A begun transaction. A pooled connection that died is replaced: nothing was done on it yet."""
        try:
            return self._begin(engine, begin, work)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return self._begin(engine, begin, work)

    def _begin(self, engine: Engine, begin: str, work: _Work) -> Tx:
        tx = self._connected(engine)
        try:
            if not self.is_sqlite:
                tx = _set_for(tx, begin)
            tx.begin()
            if self.is_sqlite:
                tx.exec_driver_sql(begin)
            else:
                _put_on(tx, begin, work)
            if work.locks is not None:
                _lock_workspace(tx, work.locks)
        except BaseException:
            tx.close()
            raise
        return tx

    def _connected(self, engine: Engine) -> Tx:
        """One of the pool's connections, as soon as one is free. Unavailable at once where that is in vain."""
        if self.pulse is None:
            return engine.connect()
        deadline = monotonic() + LOCK_SECONDS
        while True:
            self.pulse.require()
            try:
                return engine.connect()
            except PoolTimeout:
                if monotonic() > deadline:
                    raise


def _set_for(tx: Tx, begin: str) -> Tx:
    """A read has a snapshot. A write is one where the server lets it: SQLAlchemy would insist after a read."""
    if begin == "BEGIN":
        return tx.execution_options(**_SNAPSHOT)
    tx.connection.driver_connection.read_only = None  # type: ignore[union-attr]
    return tx


def _put_on(tx: Tx, begin: str, work: _Work) -> None:
    """The first statement: with the role of the work, unless that is the login's own."""
    try:
        with soon_answered(tx):
            if work.role is None:
                tx.exec_driver_sql(_FIRST[begin, False])
            else:
                values = {"role": f"_{work.role}", "workspace": work.workspace}
                tx.exec_driver_sql(_FIRST[begin, True], values)
    except DBAPIError as error:
        if _driver_code(error) not in _NO_ROLE:
            raise
        raise Unavailable(
            "The database's login has no roles of Keystead: is it the server's? Run: keystead migrate"
        ) from None


def _lock_workspace(tx: Tx, workspace_id: WorkspaceId) -> None:
    """On PostgreSQL the row's lock (foreign keys may still point at it); SQLite holds the whole database already."""
    workspaces = schema.workspaces
    found = select(workspaces.c.id).where(workspaces.c.id == workspace_id)
    found = found.with_for_update(key_share=True)
    if tx.execute(found).first() is None:
        raise NotFound("There is no such workspace.")


def _commit(tx: Tx) -> None:
    """Commits, never cancelled. OutcomeUnknown where the answer was lost or is in doubt.

    PostgreSQL reports a commit whose synchronous standby it gave up waiting for as a success with a WARNING.
    """
    warnings = tx.info.get(WARNINGS, [])
    warnings.clear()
    try:
        tx.commit()
    except DBAPIError as error:
        fault = storage_error(error)
        if fault is None or _rolled_back(error):
            raise fault or _fault_of(error) from None
        raise OutcomeUnknown("The database did not confirm the change.") from None
    if warnings:
        raise OutcomeUnknown("The database confirmed the change with a warning.")


def _abandon(tx: Tx) -> None:
    try:
        tx.rollback()
    except SQLAlchemyError:
        tx.invalidate()


def _rolled_back(error: DBAPIError) -> bool:
    """Whether a failed commit is known to have had no effect."""
    return _driver_code(error).startswith(_NO_EFFECT)


def _driver_code(error: DBAPIError) -> str:
    """SQLite's error name, or PostgreSQL's SQLSTATE; empty where the driver gives none."""
    origin = error.orig
    if isinstance(origin, psycopg.Error):
        return origin.sqlstate or ""
    return str(getattr(origin, "sqlite_errorname", ""))


@contextmanager
def translated_errors() -> Iterator[None]:
    """The store's faults become storage errors, this program's own StatementFault; neither tells a value."""
    try:
        yield
    except PoolTimeout:
        raise Unavailable("The database is busy.") from None
    except DBAPIError as error:
        raise storage_error(error) or _fault_of(error) from None


def storage_error(error: DBAPIError) -> StorageError | None:
    """The storage error for a driver's; None where the statement is at fault and not the store."""
    code = _driver_code(error)
    if code in _FULL:
        return DiskFull("The database has no room left.")
    if _STANDBY in str(error.orig):
        return Unavailable("The database is a standby: give the address of its primary, or all.")
    if _POOLER in str(error.orig):
        return Unavailable("The database is behind PgBouncer: add ?pgbouncer=true to its URL.")
    if code == _NO_LOCK:
        return Busy("The database is busy.")
    if code in _ROLLED_BACK:
        return RolledBack("Others were changing the same.")
    away = isinstance(error, OperationalError) and code != "SQLITE_ERROR"
    return Unavailable("The database does not answer.") if away or code in _READ_ONLY else None


def _fault_of(error: DBAPIError) -> StatementFault:
    """PostgreSQL's own words would repeat the whole refused row, digest and all."""
    origin = error.orig
    constraint = origin.diag.constraint_name if isinstance(origin, psycopg.Error) else None
    return StatementFault(type(origin).__name__, _driver_code(error), constraint, error.statement)
