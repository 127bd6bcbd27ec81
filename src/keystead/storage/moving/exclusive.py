"""A database that no other process can use meanwhile, in one transaction: what both engines have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from sqlalchemy import Column, Table

from keystead.domain.errors import Unavailable
from keystead.storage.moving.marks import DELETE_MARK, SELECT_MARK, MoveMark
from keystead.storage.moving.rows import COPIED, Batch
from keystead.storage.schema.tables import plans

_HAS_BY_ITSELF: Final = (plans,)
"""What a new schema has rows of."""


class InUse(Unavailable):
    """Another process uses the database."""


class CopyFailed(Exception):
    """A row that can't be read or stored, or a copy that isn't like its source. Has no value of a row."""


class ExclusiveDatabase(ABC):
    """One transaction over a whole database, which excludes all other processes. Without `commit` it has no effect.

    Entering it raises InUse if a server runs.
    """

    _value: ClassVar[str]
    """How a statement marks a bound value."""

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def count(self, table: Table) -> int:
        """Return how many rows a table has."""
        return int(self._first(f"SELECT count(*) FROM {quoted(table.name)}")[0])

    def is_unused(self) -> bool:
        """Return whether no table has a row, except those of a new schema."""
        return not any(
            self._first(f"SELECT EXISTS (SELECT 1 FROM {quoted(table.name)})")[0]
            for table in COPIED
            if table not in _HAS_BY_ITSELF
        )

    def first_workspace(self) -> str | None:
        """Return the id of the oldest workspace."""
        query = "SELECT id FROM workspaces ORDER BY created_at, id LIMIT 1"
        row = self._execute(query).fetchone()
        return None if row is None else str(row[0])

    def has_workspace(self, id: str | None) -> bool:
        """Return whether there is a workspace of that id."""
        query = f"SELECT count(*) FROM workspaces WHERE id = {self._value}"
        return bool(self._first(query, (id,))[0])

    def mark(self) -> MoveMark | None:
        """Return the mark of a move."""
        row = self._execute(SELECT_MARK).fetchone()
        return None if row is None else MoveMark.of_row(row)

    def set_mark(self, mark: MoveMark) -> None:
        """Set the mark of a move, from which on no server uses this database."""
        self.remove_mark()
        values = ", ".join([self._value] * len(mark.row))
        self._execute(f"INSERT INTO moves (id, state, place, at) VALUES ({values})", mark.row)

    def remove_mark(self) -> None:
        """Remove the mark of a move."""
        self._execute(DELETE_MARK)

    @abstractmethod
    def give_up(self) -> None:
        """Shut out a server that was not found running, as far as the engine can."""

    @abstractmethod
    def read(self, table: Table) -> Iterator[Batch]:
        """Yield all rows of a table, in the order of its primary key. Raises CopyFailed."""

    @abstractmethod
    def begin_filling(self) -> None:
        """Delete all rows, and let no trigger react to those that follow."""

    @abstractmethod
    def fill(self, table: Table, batches: Iterable[Batch]) -> None:
        """Insert rows. Raises CopyFailed for one that this engine can't store."""

    @abstractmethod
    def end_filling(self) -> None:
        """Derive what this engine keeps of the rows by itself, and let triggers react again."""

    @abstractmethod
    def last_number(self, column: Column[Any]) -> int:
        """Return the number that the database gave out last for this column; 0 before the first."""

    @abstractmethod
    def set_last_number(self, column: Column[Any], number: int) -> None:
        """Have the database go on after this number."""

    @abstractmethod
    def commit(self) -> None:
        """Make all changes durable, and let other processes use the database again."""

    @abstractmethod
    def close(self) -> None:
        """Undo what was not committed."""

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Return the driver's cursor."""

    def _first(self, statement: str, values: Sequence[Any] = ()) -> Sequence[Any]:
        """Return the one row of a result."""
        row: Sequence[Any] = self._execute(statement, values).fetchone()
        return row


def quoted(name: str) -> str:
    """Return a name for both engines."""
    return '"' + name.replace('"', '""') + '"'


def listed(columns: Iterable[Column[Any]]) -> str:
    """Return the names of columns, separated by commas."""
    return ", ".join(quoted(column.name) for column in columns)
