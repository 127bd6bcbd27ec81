"""Single rows by primary key, compiled from the schema and read on the raw driver: what the hot path reads.

Each answer is as committed at the time of the call: nothing is cached here.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from sqlalchemy import FromClause, Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from keystead.domain.errors import Unavailable
from keystead.storage.clock import Clock, DatabaseClock
from keystead.storage.database import Database
from keystead.storage.engine.connections import open_existing, set_up, sqlite_driver
from keystead.storage.schema.verification_reads import ById, Record

READ_PRAGMAS: Final = ("PRAGMA query_only = ON", "PRAGMA cell_size_check = OFF")
"""Writers check every cell of a page, so that damage does not spread; a connection that only reads need not."""

Found_co = TypeVar("Found_co", covariant=True)


class Lookup(Protocol[Found_co]):
    """A point read: finds a record by its id, as committed at the time of the call."""

    def find(self, id: str, /) -> Found_co | None:
        """Return the record with that id. Unavailable if the database does not answer."""
        ...

    async def find_on_loop(self, id: str, /) -> Found_co | None:
        """Find it for a task of an event loop, which meanwhile runs other tasks."""
        ...


class PointReads(Protocol):
    """The point reads of one database."""

    def lookup(self, query: ById[Record]) -> Lookup[Record]:
        """Return the read that this query describes."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def point_reads_of(database: Database, clock: Clock | None = None) -> PointReads:
    """Return the point reads of this database; on PostgreSQL they set a clock that goes by the database."""
    if database.is_sqlite:
        return SqlitePointReads(str(database.url.database))
    from keystead.storage.point_reads.postgresql import PostgresqlPointReads

    if isinstance(clock, DatabaseClock):
        return PostgresqlPointReads(database.url, clock.observe, database.liveness)
    return PostgresqlPointReads(database.url, liveness=database.liveness)


class SqlitePointReads:
    """Read-only connections, each used by one thread at a time, on the calling thread: a thread hop costs more."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self.idle: list[Any] = []  # cursors, each of a connection of its own

    def lookup(self, query: ById[Record]) -> SqliteLookup[Record]:
        """Return the read that this query describes."""
        return SqliteLookup(self, query)

    def close(self) -> None:
        """Close every connection that is not in use."""
        while self.idle:
            self.idle.pop().connection.close()

    def open(self) -> Any:
        """Open another connection. Unavailable if there is no file to open."""
        try:
            connection = open_existing(self._path, isolation_level=None, check_same_thread=False)
            set_up(connection)
            for pragma in READ_PRAGMAS:
                connection.execute(pragma).fetchall()
        except sqlite_driver.Error:
            raise Unavailable("The database does not answer.") from None
        return connection


class SqliteLookup(Generic[Record]):
    """One point read on SQLite."""

    def __init__(self, reads: SqlitePointReads, query: ById[Record]) -> None:
        self.sql = _compiled(query.one)
        self._idle = reads.idle
        self._open = reads.open
        # As the record's `_make`, which counts the columns of every row; a test does that once.
        self._record = partial(tuple.__new__, query.record)

    def find(self, id: str, /) -> Record | None:
        """Return the record with that id. Unavailable if the file cannot be read."""
        try:
            cursor = self._idle.pop()
        except IndexError:
            cursor = self._open().cursor()
        try:
            row = cursor.execute(self.sql, (id,)).fetchone()
        except sqlite_driver.Error:
            cursor.connection.close()
            raise Unavailable("The database does not answer.") from None
        self._idle.append(cursor)
        return None if row is None else self._record(row)

    async def find_on_loop(self, id: str, /) -> Record | None:
        """Find it inline: an SQLite read is faster than a thread hop."""
        return self.find(id)


class _HintedCompiler(SQLiteCompiler):
    """Writes a table's hint behind its name, as SQLite has it; SQLAlchemy leaves it out."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        """Return the hint as it is."""
        return text


def _compiled(statement: Select[Any]) -> str:
    dialect = sqlite.dialect(paramstyle="qmark")
    dialect.statement_compiler = _HintedCompiler
    return str(statement.compile(dialect=dialect))
