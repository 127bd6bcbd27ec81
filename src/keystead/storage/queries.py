"""Queries: SELECTs that are written by SQLAlchemy, compiled once, and run on the driver.

To execute a statement through SQLAlchemy takes five times what the driver takes to find a row by its key. The figures
are in docs/decisions/0028-queries-run-on-the-driver.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, Insert, Select, TextualSelect, Update
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from keystead.storage.engine.shared_reads import SharedRead

Row = tuple[Any, ...]
Values = Mapping[str, Any]
_NO_VALUES: Final[Values] = {}


class Query:
    """A SELECT with bound values, for either engine. Its rows are tuples, in the order of its columns."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | TextualSelect) -> None:
        self.statement = statement
        self._compiled: dict[str, _CompiledQuery] = {}

    def all(self, tx: Connection, values: Values = _NO_VALUES) -> list[Row]:
        """Return all rows."""
        compiled = self._compiled_for(tx.dialect)
        return compiled.decode_all(compiled.execute(tx, values).fetchall())

    def first(self, tx: Connection, values: Values = _NO_VALUES) -> Row | None:
        """Return the first row, or None."""
        compiled = self._compiled_for(tx.dialect)
        row = compiled.execute(tx, values).fetchone()
        return None if row is None else compiled.decode(row)

    def scalar(self, tx: Connection, values: Values = _NO_VALUES) -> Any:
        """Return the first value of the first row, or None."""
        row = self.first(tx, values)
        return None if row is None else row[0]

    def scalars(self, tx: Connection, values: Values = _NO_VALUES) -> list[Any]:
        """Return the first value of each row."""
        return [row[0] for row in self.all(tx, values)]

    def _compiled_for(self, dialect: Dialect) -> _CompiledQuery:
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _CompiledQuery(self.statement, dialect)
        return compiled


class Change:
    """An INSERT or UPDATE of single rows, as frequent as a change of a key: its values name the columns to write."""

    def __init__(self, statement: Insert | Update) -> None:
        self.statement = statement
        self._compiled: dict[tuple[str, ...], _CompiledQuery] = {}

    def run(self, tx: Connection, values: Values) -> Row | None:
        """Execute the statement. Returns the first row of its RETURNING, or None."""
        names = (tx.dialect.name, *values)
        compiled = self._compiled.get(names)
        if compiled is None:
            compiled = _CompiledQuery(self.statement, tx.dialect, list(values))
            self._compiled[names] = compiled
        cursor = compiled.execute(tx, values)
        row = None if cursor.description is None else cursor.fetchone()
        return None if row is None else compiled.decode(row)


def execute(tx: Connection, text: str, parameters: Any) -> Any:
    """Execute a statement on the driver. Returns the driver's cursor."""
    # Listeners on the statements of an engine hear these too: see `freshness.write_watch`.
    for listener in tx.engine.dispatch.before_cursor_execute:
        text, parameters = listener(tx, None, text, parameters, None, False)
    driver: Any = tx if isinstance(tx, SharedRead) else tx.connection.driver_connection
    cursor = driver.cursor()
    for listener in tx.dialect.dispatch.do_execute:
        if listener(cursor, text, parameters, None):
            return cursor
    cursor.execute(text, parameters)
    return cursor


class _CompiledQuery:
    """A statement for one dialect: its text, and how its values and columns are converted."""

    def __init__(
        self,
        statement: Select[*tuple[Any, ...]] | TextualSelect | Insert | Update,
        dialect: Dialect,
        written: list[str] | None = None,
    ) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=written)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101 - these have no other
        self._text = compiled.string
        self._expanded = compiled if compiled.post_compile_params else None
        self._order = _getter(compiled.positiontup)
        self._constants: dict[str, Any] = {
            name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required
        }
        self._binds = [
            (name, convert)
            for name, bind in compiled.binds.items()
            # Lists hold ids and digests, which the drivers take as they are.
            if bind.required and not bind.expanding and (convert := _encoder(bind.type, dialect))
        ]
        self._columns = [
            (place, convert)
            for place, column in enumerate(statement.exported_columns)
            if (convert := _decoder(column.type, dialect))
        ]

    def execute(self, tx: Connection, values: Values) -> Any:
        """Return the driver's cursor after the statement."""
        bound = {**self._constants, **values}
        for name, convert in self._binds:
            bound[name] = convert(bound[name])
        text, parameters = self._text, self._order(bound)
        if self._expanded is not None:
            text, parameters = self._expand(bound)
        return execute(tx, text, parameters)

    def decode(self, row: Row) -> Row:
        """Return the row with the values of the columns' types."""
        decoded = list(row)
        for place, convert in self._columns:
            decoded[place] = convert(decoded[place])
        return tuple(decoded)

    def decode_all(self, rows: list[Row]) -> list[Row]:
        """Return the rows decoded: column by column, which leaves the loops to C."""
        if not self._columns or not rows:
            return list(rows)
        columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
        for place, convert in self._columns:
            columns[place] = map(convert, columns[place])
        return list(zip(*columns, strict=True))

    def _expand(self, bound: dict[str, Any]) -> tuple[str, Any]:
        """Return the text and the parameters with a place for each value of a list."""
        assert self._expanded is not None  # noqa: S101 - checked by the caller
        state = self._expanded.construct_expanded_state(bound, escape_names=False)
        return state.statement, _getter(state.positiontup)(dict(state.parameters))


def _getter(order: Sequence[str] | None) -> Callable[[dict[str, Any]], Any]:
    """Return how parameters are taken from values: by name, or a tuple in that order."""
    if order is None:
        return dict
    if len(order) == 1:
        return lambda values: (values[order[0]],)
    return itemgetter(*order) if order else lambda _: ()


def _encoder(type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    return type.dialect_impl(dialect).bind_processor(dialect)


def _decoder(type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    return type.dialect_impl(dialect).result_processor(dialect, None)
