"""How an engine runs the statements of an act: their plans, in the roles in which the act ran them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from sqlalchemy import event

from keystead.storage.database import Database
from keystead.storage.engine.transactions import Opening, TransactionConnection

NO_ROLE: Final = ("SELECT set_config('role', 'none', true)", ())


@contextmanager
def _watched(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Record every statement that searches for rows, with its values, and those that set a role."""
    seen: list[tuple[str, Any]] = []
    begin = TransactionConnection.open

    def note(_: Any, __: Any, sql: str, values: Any, ___: Any, many: bool) -> None:
        if sql.startswith(("SELECT", "UPDATE", "DELETE")):
            seen.append((sql, values[0] if many else values))

    def opened(connection: TransactionConnection, opening: Opening) -> None:
        seen.append((opening.setting, opening.values) if opening.values else NO_ROLE)  # type: ignore[arg-type]
        begin(connection, opening)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TransactionConnection, "open", opened)
            yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def plans_of(database: Database, act: Callable[[], object]) -> list[str]:
    """Return each statement of the act with its plan. PostgreSQL scans a table only if no index serves."""
    with _watched(database) as seen:
        act()
    plans = []
    with database.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        if not database.is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for sql, values in seen:
            if sql.startswith("SELECT set_config("):
                connection.exec_driver_sql(sql, values)
            else:
                explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
                plan = connection.exec_driver_sql(f"{explain} {sql}", values)
                plans.append("\n".join([sql, *(str(row[-1]) for row in plan)]))
        connection.exec_driver_sql("ROLLBACK")
    assert plans
    return plans
