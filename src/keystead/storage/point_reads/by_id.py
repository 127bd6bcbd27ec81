"""Single rows by their primary key, on the raw driver: what is read beside the hot statement, at the same price.

For tasks of an event loop alone. Each answer is as committed at the time of the call: nothing is remembered here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import ColumnElement, Select, any_, bindparam
from sqlalchemy.dialects import postgresql, sqlite

from keystead.domain.errors import Unavailable
from keystead.storage.engine.connections import open_existing, set_up, sqlite_driver
from keystead.storage.point_reads.batched import Question, Row

Read = Callable[[str], Awaitable[Row | None]]
"""The row of that id, or None. Unavailable where the database does not answer in time."""
Ask = Callable[[Question, str], Awaitable[Row | None]]
"""A read of PostgreSQL that the tasks of a loop share."""

_ID: Final = "id"


@dataclass(frozen=True, slots=True, eq=False)
class ById:
    """A statement for rows that are found by `id`, which is its first column. Values come as the driver has them."""

    wanted: Select[Any]
    id: ColumnElement[str]

    @property
    def one(self) -> Select[Any]:
        """The statement for a single id."""
        return self.wanted.where(self.id == bindparam(_ID))

    @property
    def many(self) -> Select[Any]:
        """The same for several at a time, PostgreSQL's array `keys`."""
        keys = bindparam("keys", type_=postgresql.ARRAY(self.id.type))
        return self.wanted.where(self.id == any_(keys))


class Readings(Protocol):
    """Makes reads of one database."""

    def of(self, statement: ById) -> Read:
        """The read that this statement is."""
        ...

    def close(self) -> None:
        """Gives the connections back."""
        ...


class SqliteReadings:
    """Read-only connections, each with one task at a time; read at once, which takes less time than to wait for it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._idle: list[Any] = []

    def of(self, statement: ById) -> Read:
        """The read that this statement is."""
        sql = str(statement.one.compile(dialect=sqlite.dialect(paramstyle="qmark")))
        return partial(self._read, sql)

    def close(self) -> None:
        """Closes every connection that is not at work."""
        while self._idle:
            self._idle.pop().close()

    async def _read(self, sql: str, id: str) -> Row | None:
        connection = self._take()
        try:
            row: Row | None = connection.execute(sql, (id,)).fetchone()
        except sqlite_driver.Error:
            connection.close()
            raise Unavailable("The database does not answer.") from None
        self._idle.append(connection)
        return row

    def _take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._open()

    def _open(self) -> Any:
        try:
            connection = open_existing(self._path, isolation_level=None, check_same_thread=False)
            set_up(connection)
            connection.execute("PRAGMA query_only = ON").fetchall()
        except sqlite_driver.Error:
            raise Unavailable("The database does not answer.") from None
        return connection


class PostgresqlReadings:
    """Reads over the lines that a lookup keeps for each loop."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def of(self, statement: ById) -> Read:
        """The read that this statement is."""
        dialect: Any = postgresql.psycopg.dialect
        question = Question(str(statement.many.compile(dialect=dialect())), lambda *_: None)
        return partial(self._ask, question)

    def close(self) -> None:
        """Nothing: the lines are the lookup's."""
