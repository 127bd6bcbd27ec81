"""A PostgreSQL for a move: one transaction of the tables' owner, with every table locked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import psycopg
from psycopg import sql
from sqlalchemy import Column, Table
from sqlalchemy.engine import URL
from typing_extensions import override

from keystead.domain.search import SEGMENT
from keystead.storage.database import DURABLE
from keystead.storage.engine.errors import driver_code, storage_error, translated_errors
from keystead.storage.engine.urls import conninfo_of
from keystead.storage.engine.waits import LOCK_SECONDS
from keystead.storage.moving.exclusive import CopyFailed, ExclusiveDatabase, InUse, listed, quoted
from keystead.storage.moving.rows import (
    COPIED,
    WORDS,
    Batch,
    Row,
    batch_size,
    position_of,
    with_words,
)
from keystead.storage.row_security.grants import VERSION_TABLE
from keystead.storage.schema.search import document_words, term_prefix
from keystead.storage.schema.tables import documents, metadata, moves

_UNLIMITED: Final = (
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN"
    " ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"
)
"""A move takes as long as it takes. PostgreSQL has the last of them from version 17 on."""
_SETTINGS: Final = (
    "SET LOCAL client_encoding = 'UTF8'",
    f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'",
    _UNLIMITED,
    f"SELECT {DURABLE}",
)
_FORCED: Final = (
    "SELECT relname FROM pg_class"
    " WHERE relforcerowsecurity AND relnamespace = current_schema()::regnamespace"
)
_ROLES: Final = (
    "SELECT DISTINCT pg_get_userbyid(role) AS name, p.polname = 'server' AS is_login"
    " FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid, unnest(p.polroles) role"
    " WHERE c.relnamespace = current_schema()::regnamespace AND role <> 0 AND role <> c.relowner"
)
"""The roles that row-level security names: the servers' login, whose policies have the name `server`, and its own."""
_OTHERS: Final = (
    "SELECT usename, count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    f" AND (usename = current_user OR usename IN (SELECT name FROM ({_ROLES}) roles WHERE is_login))"
    " GROUP BY usename ORDER BY usename"
)
"""The sessions of servers, and of commands like this one. Every role may see these columns of all sessions."""
CLOSING_SECONDS: Final = 3.0
"""For the sessions of a process that has just ended, this one's own included."""
_PAUSE_SECONDS: Final = 0.1
_WORDS_AT: Final = position_of(WORDS)
_COLLECTION_AT: Final = position_of(documents.c.collection_id)
_NUMBER_AT: Final = position_of(documents.c.number)


class ExclusivePostgresql(ExclusiveDatabase):
    """A PostgreSQL, as the owner of its tables."""

    _value: ClassVar[str] = "%s"

    def __init__(self, url: URL) -> None:
        """Connect to nothing yet."""
        self._url = url
        self._connection: Any = None
        self._forced: list[str] = []

    @override
    def _open(self) -> None:
        with translated_errors():
            self._connection = psycopg.connect(conninfo_of(self._url), prepare_threshold=None)
        for setting in _SETTINGS:
            self._execute(setting)
        # Before the locks, because a server would hold them up; and again when no server can get any further. One that
        # starts later waits for the locks when it looks for the mark.
        self._require_alone()
        tables = [*(table.name for table in metadata.sorted_tables), document_words.name]
        self._execute(f"LOCK TABLE {', '.join(map(quoted, tables))} IN ACCESS EXCLUSIVE MODE")
        self._require_alone()
        # Within this transaction only: row-level security hides all rows from their owner.
        self._forced = [row[0] for row in self._execute(_FORCED)]
        self._alter(self._forced, "NO FORCE ROW LEVEL SECURITY")

    def _require_alone(self) -> None:
        deadline = time.monotonic() + CLOSING_SECONDS
        while others := self._others():
            if time.monotonic() > deadline:
                sessions = ", ".join(f"{count} as {name}" for name, count in others)
                raise InUse(
                    f"The database {self._url.database} has other sessions: {sessions}."
                    " Stop servers, workers and applications that use it."
                )
            time.sleep(_PAUSE_SECONDS)

    def _others(self) -> list[tuple[str, int]]:
        # A transaction sees the sessions as it saw them first, unless it says so.
        self._execute("SELECT pg_stat_clear_snapshot()")
        others: list[tuple[str, int]] = self._execute(_OTHERS).fetchall()
        return others

    def _alter(self, tables: Iterable[str], how: str) -> None:
        for table in tables:
            self._execute(f"ALTER TABLE {quoted(table)} {how}")

    @override
    def _execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        with translated_errors():
            return self._connection.execute(statement.encode(), values or None)

    @override
    def give_up(self) -> None:
        """Take their grants from the servers' roles: a server whose sessions were lost meanwhile gets no further.

        `keystead migrate` grants them again. What a starting server reads to say where the database went stays.
        """
        roles = self._execute(_ROLES).fetchall()
        schema = sql.Identifier(self._first("SELECT current_schema()")[0])
        readable = sql.SQL(", ").join(map(sql.Identifier, (VERSION_TABLE, moves.name)))
        for name, is_login in roles:
            role = sql.Identifier(name)
            revoke = sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}")
            self._execute(revoke.format(schema, role).as_string(self._connection))
            if is_login:
                grant = sql.SQL("GRANT SELECT ON {} TO {}").format(readable, role)
                self._execute(grant.as_string(self._connection))

    @override
    def read(self, table: Table) -> Iterator[Batch]:
        words = f"array_to_string(tsvector_to_array({quoted(WORDS.name)}), ' ')"
        columns = listed(table.columns)
        if table is documents:
            columns = columns.replace(quoted(WORDS.name), words)
        order = listed(table.primary_key.columns)
        query = f"SELECT {columns} FROM {quoted(table.name)} ORDER BY {order}"
        with _reporting(table), self._connection.cursor("move", binary=True) as cursor:
            cursor.execute(query.encode())
            while rows := cursor.fetchmany(batch_size(table)):
                yield [_bare(row) for row in rows] if table is documents else rows

    @override
    def begin_filling(self) -> None:
        encoding = self._first("SHOW server_encoding")[0]
        if encoding != "UTF8":
            raise CopyFailed(
                f"The database {self._url.database} has the encoding {encoding}, not UTF8."
            )
        tables = [table.name for table in COPIED]
        self._execute(f"TRUNCATE {', '.join(map(quoted, (*tables, document_words.name)))}")
        self._alter(tables, "DISABLE TRIGGER USER")

    @override
    def fill(self, table: Table, batches: Iterable[Batch]) -> None:
        copy = f"COPY {quoted(table.name)} ({listed(table.columns)}) FROM STDIN"
        with (
            _reporting(table),
            self._connection.cursor() as cursor,
            cursor.copy(copy.encode()) as rows,
        ):
            for batch in batches:
                for row in batch:
                    try:
                        rows.write_row(_stored(row) if table is documents else row)
                    except psycopg.DataError:
                        raise _unstorable(table, row) from None

    @override
    def end_filling(self) -> None:
        derived, key = quoted(document_words.name), quoted(documents.c.serial.name)
        columns = f"{key}, {quoted(WORDS.name)}"
        self._execute(
            f"INSERT INTO {derived} ({columns}) SELECT {columns} FROM {quoted(documents.name)}"
        )
        tables = [table.name for table in COPIED]
        self._alter(tables, "ENABLE TRIGGER USER")
        # The planner knows nothing of these rows until its statistics do.
        self._execute(f"ANALYZE {', '.join(map(quoted, (*tables, document_words.name)))}")

    @override
    def last_number(self, column: Column[Any]) -> int:
        sequence = self._sequence(column)
        number, is_called = self._first(f"SELECT last_value, is_called FROM {sequence}")
        return int(number) if is_called else 0

    @override
    def set_last_number(self, column: Column[Any], number: int) -> None:
        values = (self._sequence(column), max(number, 1), number > 0)
        self._execute("SELECT setval(%s::regclass, %s, %s)", values)

    def _sequence(self, column: Column[Any]) -> str:
        names = (quoted(column.table.name), column.name)
        return str(self._first("SELECT pg_get_serial_sequence(%s, %s)", names)[0])

    @override
    def commit(self) -> None:
        self._alter(self._forced, "FORCE ROW LEVEL SECURITY")
        with translated_errors():
            self._connection.commit()

    @override
    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _bare(row: Row) -> Row:
    prefix = _prefix(row)
    terms = (term.removeprefix(prefix) for term in row[_WORDS_AT].split())
    return with_words(row, " ".join(sorted(terms)))


def _stored(row: Row) -> Row:
    prefix = _prefix(row)
    return with_words(row, " ".join(f"'{prefix}{term}'" for term in row[_WORDS_AT].split()))


def _prefix(row: Row) -> str:
    return term_prefix(row[_COLLECTION_AT], row[_NUMBER_AT] // SEGMENT)


def _unstorable(table: Table, row: Row) -> CopyFailed:
    """Return the error for a row with NUL in a text, the one value of SQLite's that PostgreSQL has no way to write."""
    columns = [
        column.name
        for column, value in zip(table.columns, row, strict=True)
        if isinstance(value, str) and "\0" in value
    ]
    return CopyFailed(
        f"A row of the table {table.name} has the character NUL in {', '.join(columns)}, which"
        " PostgreSQL can't store."
    )


@contextmanager
def _reporting(table: Table) -> Iterator[None]:
    """Report a row that can't be read or stored, without PostgreSQL's message: that quotes the whole row."""
    try:
        yield
    except psycopg.Error as error:
        raise storage_error(error) or CopyFailed(
            f"A row of the table {table.name} can't be copied"
            f" ({type(error).__name__} {driver_code(error)})."
        ) from None
