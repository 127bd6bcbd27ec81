"""Database: transactions with their locks, and the translation of driver errors into the storage errors."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from keystead.domain.errors import DiskFull, NotFound, OutcomeUnknown, StorageError, Unavailable
from keystead.domain.ids import WorkspaceId
from keystead.storage import schema

Tx = Connection
"""An open transaction. Only storage looks inside; services hand it on."""


def _sqlite_driver() -> Any:
    bundled = importlib.util.find_spec("pysqlite3") is not None
    return importlib.import_module("pysqlite3.dbapi2" if bundled else "sqlite3")


sqlite_driver: Final = _sqlite_driver()
"""The one copy of SQLite in this process: two copies on one file lose each other's locks."""

LOCK_SECONDS: Final = 5
POOL_SIZE: Final = 16
MMAP_BYTES: Final = 64 * 1024**3
SQLITE_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    f"PRAGMA mmap_size = {MMAP_BYTES}",
)
_FULL = ("SQLITE_FULL", "53100")
_READ_ONLY = ("25006", "SQLITE_READONLY")
_NO_EFFECT = ("SQLITE_BUSY", "SQLITE_FULL", "SQLITE_CONSTRAINT", "23", "40001", "40P01")


class Database:
    """One database. `read` and `write` open a transaction; a write holds its workspace's lock from the start."""

    def __init__(self, url: str) -> None:
        """`url`: `sqlite:///path` or `postgresql://user@host:port/name`."""
        self.url = _with_driver(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(self.url) if self.is_sqlite else _postgresql_engine(self.url)
        self._writing = threading.Lock()

    @contextmanager
    def read(self, workspace_id: WorkspaceId) -> Iterator[Tx]:
        """A consistent view of one workspace's rows."""
        with self._transaction("BEGIN") as tx:
            yield tx

    @contextmanager
    def write(self, workspace_id: WorkspaceId) -> Iterator[Tx]:
        """A change within one workspace, alone among the changes of that workspace. NotFound where there is none."""
        with self._one_writer(), self._transaction("BEGIN IMMEDIATE", workspace_id) as tx:
            yield tx

    @contextmanager
    def read_across(self) -> Iterator[Tx]:
        """A consistent view over workspaces: sign-in, sessions, plans, operators' lists."""
        with self._transaction("BEGIN") as tx:
            yield tx

    @contextmanager
    def write_across(self) -> Iterator[Tx]:
        """A change that belongs to no single workspace: plans, sessions, use."""
        with self._one_writer(), self._transaction("BEGIN IMMEDIATE") as tx:
            yield tx

    def ping(self) -> None:
        """Unavailable unless the database answers."""
        with self.read_across() as tx:
            tx.execute(select(1))

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """SQLite has one writer; threads of this process queue here, fairly, and not in its busy handler."""
        if not self.is_sqlite:
            yield
            return
        if not self._writing.acquire(timeout=LOCK_SECONDS):
            raise Unavailable("The database is busy.")
        try:
            yield
        finally:
            self._writing.release()

    @contextmanager
    def _transaction(self, begin: str, locked: WorkspaceId | None = None) -> Iterator[Tx]:
        with translated_errors():
            tx = self._open(begin, locked)
        try:
            with translated_errors():
                yield tx
            _commit(tx)
        except BaseException:
            _abandon(tx)
            raise
        finally:
            tx.close()

    def _open(self, begin: str, locked: WorkspaceId | None) -> Tx:
        """A begun transaction. A pooled connection that died is replaced: nothing was done on it yet."""
        try:
            return self._begin(begin, locked)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return self._begin(begin, locked)

    def _begin(self, begin: str, locked: WorkspaceId | None) -> Tx:
        tx = self.engine.connect()
        try:
            tx.begin()
            tx.exec_driver_sql(begin if self.is_sqlite else "SELECT 1")
            if locked is not None:
                _lock_workspace(tx, locked)
        except BaseException:
            tx.close()
            raise
        return tx


def _with_driver(url: str) -> URL:
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ValueError(
                f"{other} is not a database that Keystead runs on: use sqlite or postgresql"
            )


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        module=sqlite_driver,
        hide_parameters=True,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=LOCK_SECONDS,
        connect_args={"check_same_thread": False, "isolation_level": None},
    )
    event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: Any, _: ConnectionPoolEntry) -> None:
    for pragma in SQLITE_PRAGMAS:
        connection.execute(pragma).fetchall()


def _postgresql_engine(url: URL) -> Engine:
    timeouts = {
        "lock_timeout": LOCK_SECONDS,
        "statement_timeout": 4 * LOCK_SECONDS,
        "idle_in_transaction_session_timeout": 4 * LOCK_SECONDS,
    }
    options = " ".join(f"-c {name}={seconds}s" for name, seconds in timeouts.items())
    return create_engine(
        url,
        hide_parameters=True,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=LOCK_SECONDS,
        connect_args={"connect_timeout": 2, "options": f"-c timezone=UTC {options}"},
    )


def _lock_workspace(tx: Tx, workspace_id: WorkspaceId) -> None:
    """On PostgreSQL the row's lock (foreign keys may still point at it); SQLite holds the whole database already."""
    workspaces = schema.workspaces
    found = select(workspaces.c.id).where(workspaces.c.id == workspace_id)
    found = found.with_for_update(key_share=True)
    if tx.execute(found).first() is None:
        raise NotFound("There is no such workspace.")


def _commit(tx: Tx) -> None:
    """Commits, never cancelled. OutcomeUnknown where the answer was lost or is in doubt."""
    try:
        tx.commit()
    except DBAPIError as error:
        fault = storage_error(error)
        if fault is None:
            raise
        if _rolled_back(error):
            raise fault from None
        raise OutcomeUnknown("The database did not confirm the change.") from None


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
    """The store's faults become storage errors, without the statement's values; this program's own stay."""
    try:
        yield
    except PoolTimeout:
        raise Unavailable("The database is busy.") from None
    except DBAPIError as error:
        fault = storage_error(error)
        if fault is None:
            raise
        raise fault from None


def storage_error(error: DBAPIError) -> StorageError | None:
    """The storage error for a driver's; None where the statement is at fault and not the store."""
    code = _driver_code(error)
    if code in _FULL:
        return DiskFull("The database has no room left.")
    away = isinstance(error, OperationalError | InterfaceError) and code != "SQLITE_ERROR"
    return Unavailable("The database does not answer.") if away or code in _READ_ONLY else None
