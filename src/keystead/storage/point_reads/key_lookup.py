"""The hot statement: one key by its id, compiled from the schema, run on the raw driver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, Final, Protocol

import psycopg
from sqlalchemy import FromClause, Select, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine import URL

from keystead.domain.errors import Unavailable
from keystead.domain.ids import KeyId
from keystead.domain.verification import KeyRecord
from keystead.storage.clock import DATABASE_TIME, Clock, DatabaseClock
from keystead.storage.database import Database
from keystead.storage.engine.connections import (
    ImpatientConnection,
    impatient,
    open_existing,
    pulse_of,
    set_up,
    sqlite_driver,
)
from keystead.storage.engine.liveness import Pulse
from keystead.storage.engine.urls import conninfo_of, session_of
from keystead.storage.freshness.write_watch import lookup_statement, shared_lookup_statement
from keystead.storage.point_reads.batched import Question, Row, SharedReads
from keystead.storage.point_reads.by_id import PostgresqlReadings, Readings, SqliteReadings

LINES: Final = 8
WAIT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.0
CONNECT: Final[dict[str, Any]] = {
    "autocommit": True,
    "connect_timeout": 2,
}
READING: Final = ("PRAGMA query_only = ON", "PRAGMA cell_size_check = OFF")
"""Whoever writes checks every cell of a page, so that damage does not spread; who only reads is spared that."""
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


_record: Final = partial(tuple.__new__, KeyRecord)
"""As KeyRecord._make, which counts the columns of every row; a test does that once."""

Heard = Callable[[int, int, int], None]
"""Is told a time of the database, between two of the monotonic clock: asked, told, answered, all in microseconds."""


class _HintedCompiler(SQLiteCompiler):
    """Writes a table's hint behind its name, as SQLite has it; SQLAlchemy leaves it out."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        """The hint as it stands."""
        return text


def _for_sqlite() -> str:
    """The hot statement for the raw driver, without the id, which whoever asks has: each column takes its time."""
    statement = lookup_statement()
    record = statement.with_only_columns(*list(statement.selected_columns)[1:])
    dialect = sqlite.dialect(paramstyle="qmark")
    dialect.statement_compiler = _HintedCompiler
    return str(record.compile(dialect=dialect))


def _told(statement: Select[Any]) -> str:
    """The statement for psycopg, with the server's time behind its columns."""
    dialect: Any = postgresql.psycopg.dialect
    return str(statement.add_columns(literal_column(DATABASE_TIME)).compile(dialect=dialect()))


class SqliteLookup:
    """Read-only connections, each with one thread at a time, on the calling thread: a hop to another costs more."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._sql = _for_sqlite()
        self._idle: list[Any] = []  # cursors, each of a connection of its own

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None. Unavailable where the file cannot be read."""
        try:
            cursor = self._idle.pop()
        except IndexError:
            cursor = self._open().cursor()
        try:
            row = cursor.execute(self._sql, (key_id,)).fetchone()
        except sqlite_driver.Error:
            cursor.connection.close()
            raise Unavailable("The database does not answer.") from None
        self._idle.append(cursor)
        return None if row is None else _record(row)

    async def find_on_loop(self, key_id: KeyId) -> KeyRecord | None:
        """As find, and without a wait: the read takes less time than it would to wait for it."""
        return self.find(key_id)

    def close(self) -> None:
        """Closes every connection that is not at work."""
        while self._idle:
            self._idle.pop().connection.close()

    def _open(self) -> Any:
        try:
            connection = open_existing(self._path, isolation_level=None, check_same_thread=False)
            set_up(connection)
            for pragma in READING:
                connection.execute(pragma).fetchall()
        except sqlite_driver.Error:
            raise Unavailable("The database does not answer.") from None
        return connection


class PostgresqlLookup:
    """A few lines of its own, in autocommit, with the statement prepared: a busy writer never holds up a read.

    Whoever finds a line dead connects it anew. So a read is refused at once while the server is away, and answered from
    the moment it is back; one that is there and silent costs no more than the seconds below, and that once (`pulse`).
    """

    def __init__(
        self,
        url: URL,
        heard: Heard = lambda *_: None,
        pulse: Pulse | None = None,
    ) -> None:
        """`heard` receives the server's time whenever a row is read: see DatabaseClock.hear.

        `pulse`: the server's.
        """
        self._pulse = pulse or pulse_of(url)
        self._dsn = conninfo_of(url)
        self._session = {**CONNECT, **session_of(url, SETTINGS, 1)}
        self._heard = heard
        self._question = Question(_told(shared_lookup_statement()), self._hear)
        self._shared: dict[asyncio.AbstractEventLoop, SharedReads] = {}
        self._closed = False
        self._idle: LifoQueue[_Line] = LifoQueue()
        kind = impatient(self._pulse)
        for _ in range(LINES):
            self._idle.put(_Line(kind, self._dsn, self._session, _told(lookup_statement())))

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None. Unavailable where the server does not answer in time."""
        try:
            line = self._idle.get(timeout=WAIT_SECONDS)
        except Empty:
            raise Unavailable("The database is busy.") from None
        try:
            self._pulse.require()
            asked = time.monotonic_ns() // 1000
            row = line.read(key_id)
        except psycopg.OperationalError:
            raise Unavailable("The database does not answer.") from None
        finally:
            self._idle.put(line)
        if row is None:
            return None
        self._heard(asked, row[-1], time.monotonic_ns() // 1000 + 1)
        return self._record(row)

    async def find_on_loop(self, key_id: KeyId) -> KeyRecord | None:
        """As find, by a read that is shared with the other tasks of this loop."""
        row = await self._shared_reads().find(self._question, key_id)
        return None if row is None else self._record(row)

    async def ask(self, question: Question, id: str) -> Row | None:
        """The row of another question, over the same lines. Unavailable where the server does not answer in time."""
        return await self._shared_reads().find(question, id)

    def close(self) -> None:
        """Closes every line that is not at work; there are none to be had afterwards."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()
        self._closed = True
        self._pulse.close()
        for loop in list(self._shared):
            self._leave(loop)

    def _record(self, row: Sequence[Any]) -> KeyRecord | None:
        return KeyRecord._make(row[1:-1])

    def _hear(self, rows: Sequence[Sequence[Any]], asked: int, answered: int) -> None:
        if rows:
            self._heard(asked, rows[0][-1], answered)

    def _shared_reads(self) -> SharedReads:
        """Those of the loop that runs; each loop has its own, and takes them along when it ends."""
        if self._closed:
            raise Unavailable("The database's connections are closed.")
        loop = asyncio.get_running_loop()
        shared = self._shared.get(loop)
        if shared is None:
            for other in [other for other in self._shared if other.is_closed()]:
                self._leave(other)
            shared = self._shared[loop] = SharedReads(self._dsn, self._session, self._pulse)
        return shared

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        shared = self._shared.pop(loop)
        if loop.is_running():
            loop.call_soon_threadsafe(shared.close)
        else:
            shared.close()


class _Line:
    """One connection: made when it is first needed, and again when it has died."""

    def __init__(
        self, kind: type[ImpatientConnection], dsn: str, session: dict[str, Any], sql: str
    ) -> None:
        self._kind = kind
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
            self._connection = self._kind.connect(self._dsn, **self._session)
            self._connection.patience = ANSWER_SECONDS
        try:
            row: Any = self._connection.execute(self._sql, {"key_id": key_id}).fetchone()
        except BaseException:
            self.close()
            raise
        return row


def lookup_of(database: Database, clock: Clock | None = None) -> Lookup:
    """The lookup for this database; it sets the clock, where that goes by the same database."""
    if database.is_sqlite:
        return SqliteLookup(str(database.url.database))
    if isinstance(clock, DatabaseClock):
        return PostgresqlLookup(database.url, clock.hear, pulse=database.pulse)
    return PostgresqlLookup(database.url, pulse=database.pulse)


def readings_of(lookup: Lookup, database: Database) -> Readings:
    """Return the point reads beside this database's lookup; on PostgreSQL they share its connections."""
    if isinstance(lookup, PostgresqlLookup):
        return PostgresqlReadings(lookup.ask)
    return SqliteReadings(str(database.url.database))
