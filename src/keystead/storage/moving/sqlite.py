"""An SQLite database for a move: the file is locked against every other process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from sqlalchemy import Column, Table
from typing_extensions import override

from keystead.domain.errors import Unavailable
from keystead.storage.engine.connections import open_existing, sqlite_driver
from keystead.storage.engine.errors import driver_code, storage_error, translated_errors
from keystead.storage.maintenance.backup import NotADatabase, checkpoint
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
from keystead.storage.schema.tables import documents

_PRAGMAS: Final = ("synchronous = FULL", "foreign_keys = OFF", "cache_size = -65536")
"""64 MiB of cache. The rows come from a database whose foreign keys hold, and are compared with it."""
_TRIGGERS: Final = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
_WORDS_AT: Final = position_of(WORDS)


class ExclusiveSqlite(ExclusiveDatabase):
    """An SQLite database. While it is open nothing else can read it either."""

    _value: ClassVar[str] = "?"

    def __init__(self, path: Path) -> None:
        """Open nothing yet. `path` is an existing file."""
        self._path = path
        self._connection: Any = None
        self._triggers: list[tuple[str, str]] = []

    @override
    def _open(self) -> None:
        in_use = f"Another process has {self._path} open. Stop servers, workers and applications that use it."
        try:
            # Fails while anything has the file open, even idle: in WAL mode each connection holds a lock.
            checkpoint(self._path)
        except NotADatabase:
            raise
        except Unavailable:
            raise InUse(in_use) from None
        with translated_errors():
            self._connection = open_existing(self._path, timeout=0, isolation_level=None)
            for pragma in _PRAGMAS:
                self._connection.execute(f"PRAGMA {pragma}").fetchall()
            self._begin(in_use)

    def _begin(self, in_use: str) -> None:
        try:
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite_driver.OperationalError:
            raise InUse(in_use) from None
        # Only outside WAL mode does it exclude readers too. A process may have come in between.
        if self._first("PRAGMA journal_mode")[0] != "delete":
            raise InUse(in_use)

    @override
    def _execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        with translated_errors():
            return self._connection.execute(statement, values)

    @override
    def give_up(self) -> None:
        """Do nothing: while this was open, no other process could have the file open."""

    @override
    def read(self, table: Table) -> Iterator[Batch]:
        order = listed(table.primary_key.columns)
        with _reporting(table):
            cursor = self._connection.execute(
                f"SELECT {listed(table.columns)} FROM {quoted(table.name)} ORDER BY {order}"
            )
            while rows := cursor.fetchmany(batch_size(table)):
                yield [_bare(row) for row in rows] if table is documents else rows

    @override
    def begin_filling(self) -> None:
        self._triggers = self._execute(_TRIGGERS).fetchall()
        for name, _ in self._triggers:
            self._execute(f"DROP TRIGGER {quoted(name)}")
        for table in reversed(COPIED):
            self._execute(f"DELETE FROM {quoted(table.name)}")

    @override
    def fill(self, table: Table, batches: Iterable[Batch]) -> None:
        values = ", ".join("?" for _ in table.columns)
        insert = f"INSERT INTO {quoted(table.name)} ({listed(table.columns)}) VALUES ({values})"
        for batch in batches:
            rows = [_stored(row) for row in batch] if table is documents else batch
            with _reporting(table):
                self._connection.executemany(insert, rows)

    @override
    def end_filling(self) -> None:
        self._execute("INSERT INTO document_search (document_search) VALUES ('rebuild')")
        for _, statement in self._triggers:
            self._execute(statement)

    @override
    def last_number(self, column: Column[Any]) -> int:
        name, table = quoted(column.name), quoted(column.table.name)
        return int(self._first(f"SELECT coalesce(max({name}), 0) FROM {table}")[0])

    @override
    def set_last_number(self, column: Column[Any], number: int) -> None:
        """Do nothing: SQLite goes on after the largest number."""

    @override
    def commit(self) -> None:
        self._execute("COMMIT")

    @override
    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _bare(row: Row) -> Row:
    return with_words(row, " ".join(sorted(set(row[_WORDS_AT].split()))))


def _stored(row: Row) -> Row:
    return with_words(row, " ".join(["", *row[_WORDS_AT].split()]))


@contextmanager
def _reporting(table: Table) -> Iterator[None]:
    """Report a row that can't be read or stored, without the driver's message: that may quote the value."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, its message may quote the value
        # Without a code it is not SQLite's but the driver's: text that is not UTF-8, for example.
        fault = storage_error(error) if driver_code(error) else None
        raise fault or CopyFailed(
            f"A row of the table {table.name} can't be copied ({type(error).__name__})."
        ) from None
