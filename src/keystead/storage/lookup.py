"""The hot statement: one key by its id, compiled from the schema, run on the raw driver."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, Final, Protocol

import psycopg
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Dialect

from keystead.domain.errors import Unavailable
from keystead.domain.ids import KeyId
from keystead.domain.verification import KeyRecord
from keystead.storage.addresses import conninfo_of, session_of
from keystead.storage.authority import lookup_statement
from keystead.storage.database import Database
from keystead.storage.engines import (
    SQLITE_PRAGMAS,
    ImpatientConnection,
    open_existing,
    sqlite_driver,
)

LINES: Final = 8
WAIT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.0
CONNECT: Final[dict[str, Any]] = {
    "autocommit": True,
    "connect_timeout": 2,
}
SETTINGS: Final = {"statement_timeout": f"{ANSWER_SECONDS:.0f}s", "TimeZone": "UTC"}


class Lookup(Protocol):
    """Reads the row of one key, as committed at the time of the call."""

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None. Unavailable where the database does not answer."""
        ...

    async def find_on_loop(self, key_id: KeyId) -> KeyRecord | None:
        """As find, for a task of an event loop, which goes on with others meanwhile."""
        ...

    def close(self) -> None:
        """Gives the connections back."""
        ...


def _compiled(dialect: Dialect) -> str:
    return str(lookup_statement().compile(dialect=dialect))


class SqliteLookup:
    """Read-only connections, each with one thread at a time, on the calling thread: a hop to another costs more."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._sql = _compiled(sqlite.dialect(paramstyle="qmark"))
        self._idle: list[Any] = []

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None. Unavailable where the file cannot be read."""
        connection = self._take()
        try:
            row = connection.execute(self._sql, (key_id,)).fetchone()
        except sqlite_driver.Error:
            connection.close()
            raise Unavailable("The database does not answer.") from None
        self._idle.append(connection)
        return None if row is None else KeyRecord._make(row)

    async def find_on_loop(self, key_id: KeyId) -> KeyRecord | None:
        """As find, and without a wait: the read takes less time than it would to wait for it."""
        return self.find(key_id)

    def close(self) -> None:
        """Closes every connection that is not at work."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._open()

    def _open(self) -> Any:
        try:
            connection = open_existing(self._path, isolation_level=None, check_same_thread=False)
            for pragma in (*SQLITE_PRAGMAS, "PRAGMA query_only = ON"):
                connection.execute(pragma).fetchall()
        except sqlite_driver.Error:
            raise Unavailable("The database does not answer.") from None
        return connection


class PostgresqlLookup:
    """A few lines of its own, in autocommit, with the statement prepared: a busy writer never holds up a read.

    Whoever finds a line dead connects it anew. So a read is refused at once while the server is away, and answered from
    the moment it is back; a server that is there and silent costs no more than the seconds below.
    """

    def __init__(self, url: URL) -> None:
        dialect: Dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
        dsn, session = conninfo_of(url), {**CONNECT, **session_of(url, SETTINGS, 1)}
        self._idle: LifoQueue[_Line] = LifoQueue()
        for _ in range(LINES):
            self._idle.put(_Line(dsn, session, _compiled(dialect)))

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None. Unavailable where the server does not answer in time."""
        try:
            line = self._idle.get(timeout=WAIT_SECONDS)
        except Empty:
            raise Unavailable("The database is busy.") from None
        try:
            row = line.read(key_id)
        except psycopg.OperationalError:
            raise Unavailable("The database does not answer.") from None
        finally:
            self._idle.put(line)
        return None if row is None else KeyRecord._make(row)

    async def find_on_loop(self, key_id: KeyId) -> KeyRecord | None:
        """As find, on a thread of its own."""
        return await asyncio.to_thread(self.find, key_id)

    def close(self) -> None:
        """Closes every line that is not at work; there are none to be had afterwards."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()


class _Line:
    """One connection: made when it is first needed, and again when it has died."""

    def __init__(self, dsn: str, session: dict[str, Any], sql: str) -> None:
        self._dsn = dsn
        self._session = session
        self._sql = sql
        self._connection: ImpatientConnection | None = None

    def read(self, key_id: KeyId) -> Any:
        """The row, or None. OperationalError where the server is away or slow; only a quick failure is tried again."""
        began = time.monotonic()
        try:
            return self._ask(key_id)
        except psycopg.OperationalError:
            if time.monotonic() - began > ANSWER_SECONDS / 2:
                raise
            return self._ask(key_id)

    def close(self) -> None:
        """Hangs up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, key_id: KeyId) -> Any:
        if self._connection is None:
            self._connection = ImpatientConnection.connect(self._dsn, **self._session)
            self._connection.patience = ANSWER_SECONDS
        try:
            return self._connection.execute(self._sql, {"key_id": key_id}).fetchone()
        except BaseException:
            self.close()
            raise


def lookup_of(database: Database) -> Lookup:
    """The lookup for this database."""
    if database.is_sqlite:
        return SqliteLookup(str(database.url.database))
    return PostgresqlLookup(database.url)
