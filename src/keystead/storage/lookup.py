"""The hot statement: one key by its id, compiled from the schema, run on the raw driver."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import psycopg
from psycopg_pool import ConnectionPool
from sqlalchemy import Select, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Dialect

from keystead.domain.errors import Unavailable
from keystead.domain.ids import KeyId
from keystead.domain.verification import KeyRecord
from keystead.storage.database import SQLITE_PRAGMAS, Database, sqlite_driver
from keystead.storage.schema import api_keys, workspaces

CONNECTIONS = 8
WAIT_SECONDS = 2.0


class Lookup(Protocol):
    """Reads the row of one key, as committed at the time of the call."""

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None. Unavailable where the database does not answer."""
        ...

    def close(self) -> None:
        """Gives the connections back."""
        ...


def lookup_statement() -> Select[Any]:
    """Key and workspace in one primary-key read each; its columns are KeyRecord's fields, in order."""
    keys = api_keys.c
    return (
        select(
            keys.id,
            keys.workspace_id,
            keys.description,
            keys.pepper_id,
            keys.digest,
            keys.scopes,
            keys.expires_at,
            keys.revoked_at,
            workspaces.c.suspended_at,
        )
        .join(workspaces, workspaces.c.id == keys.workspace_id)
        .where(keys.id == bindparam("key_id"))
    )


def _compiled(dialect: Dialect) -> str:
    return str(lookup_statement().compile(dialect=dialect))


class SqliteLookup:
    """One read-only connection a thread, on the calling thread: a read costs less than a hop to another."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._sql = _compiled(sqlite.dialect(paramstyle="qmark"))
        self._local = threading.local()
        self._opened: list[Any] = []
        self._opening = threading.Lock()

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None. Unavailable where the file cannot be read."""
        try:
            row = self._connection().execute(self._sql, (key_id,)).fetchone()
        except sqlite_driver.Error:
            raise Unavailable("The database does not answer.") from None
        return None if row is None else KeyRecord._make(row)

    def close(self) -> None:
        """Closes every thread's connection."""
        with self._opening:
            for connection in self._opened:
                connection.close()
            self._opened.clear()
        self._local = threading.local()

    def _connection(self) -> Any:
        connection = getattr(self._local, "connection", None)
        return connection if connection is not None else self._open()

    def _open(self) -> Any:
        connection = sqlite_driver.connect(
            self._path, isolation_level=None, check_same_thread=False
        )
        for pragma in (*SQLITE_PRAGMAS, "PRAGMA query_only = ON"):
            connection.execute(pragma).fetchall()
        with self._opening:
            self._opened.append(connection)
        self._local.connection = connection
        return connection


class PostgresqlLookup:
    """A small pool of its own in autocommit, with the statement prepared: a busy writer never holds up a read."""

    def __init__(self, url: URL) -> None:
        dialect: Dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
        self._sql = _compiled(dialect)
        dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._pool = ConnectionPool(
            dsn,
            min_size=1,
            max_size=CONNECTIONS,
            kwargs={
                "autocommit": True,
                "prepare_threshold": 1,
                "connect_timeout": 2,
                "options": "-c statement_timeout=2s -c timezone=UTC",
            },
            open=True,
        )

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None. Unavailable where the server does not answer within two seconds."""
        try:
            row = self._read(key_id)
        except psycopg.OperationalError:
            row = self._read_again(key_id)
        return None if row is None else KeyRecord._make(row)

    def _read(self, key_id: KeyId) -> Any:
        with self._pool.connection(WAIT_SECONDS) as connection:
            return connection.execute(self._sql, {"key_id": key_id}).fetchone()

    def _read_again(self, key_id: KeyId) -> Any:
        """Once more on a checked connection: the pooled one may have died unnoticed, as after a restart."""
        try:
            self._pool.check()
            return self._read(key_id)
        except psycopg.Error:
            raise Unavailable("The database does not answer.") from None

    def close(self) -> None:
        """Closes the pool."""
        self._pool.close()


def lookup_of(database: Database) -> Lookup:
    """The lookup for this database."""
    if database.is_sqlite:
        return SqliteLookup(str(database.url.database))
    return PostgresqlLookup(database.url)
