"""Applying row security to a PostgreSQL in use, in small steps that lock each table only briefly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import sleep
from typing import Final, TypeVar

from sqlalchemy import text

from keystead.storage.database import Busy, Database, StatementFault, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.row_security import diff as row_security
from keystead.storage.row_security.diff import Difference
from keystead.storage.row_security.grants import TENANT_ROWS

LOCK: Final = (
    0x6B65797374656164  # "keystead": the number of an advisory lock that only this module takes
)
PATIENCE: Final = "500ms"
"""How long a step waits for a table: later readers queue behind it, so it must give up soon."""
ATTEMPTS: Final = 60
PAUSE_SECONDS: Final = 0.5
_CONCURRENT: Final = ("23505", "42710", "XX000")
"""The errors if another process creates or changes the same role at the same time: roles are the whole server's."""

Result = TypeVar("Result")


@dataclass(slots=True)
class RowSecurityResult:
    """What was done for the login `server`, and the statements that the owner lacks the privileges for."""

    server: str
    made_login: bool = False
    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    owners_way: bool = False


def apply_row_security(
    database: Database, server: str, *, fresh: bool, enforce: bool = False
) -> RowSecurityResult:
    """Create the roles, row security, policies and grants of the map, connected as the owner of the tables.

    An installation that began without them (not `fresh`) keeps its rows visible to the owner, for servers of the
    previous version, until `enforce`. If the owner may not create roles, nothing is done, and the result has the
    statements.
    """
    row_security.check_name(server)
    result = RowSecurityResult(server)
    with database.read_across(Purpose.OWNER) as tx:
        before = row_security.owners_way_is_open(tx)
        result.owners_way = not enforce and (
            before or not (fresh or row_security.has_row_security(tx))
        )
    if _make_roles(database, result):
        fixed: set[str] = set()
        while table := retry_while_busy(partial(_fix_one_table, database, result)):
            if table in fixed:
                raise RuntimeError(f"{table} is not as declared after it was fixed")
            fixed.add(table)
    return result


def let_owner_see(database: Database) -> bool:
    """Make all rows visible to the owner again, as a migration may need. Returns whether they were hidden."""
    shown = [retry_while_busy(partial(_show, database, name)) for name in sorted(TENANT_ROWS)]
    return any(shown)


def retry_while_busy(step: Callable[[], Result]) -> Result:
    """Return the result of the step, which is retried while a lock is not free. Busy after 60 attempts."""
    for attempt in range(ATTEMPTS):
        try:
            return step()
        except Busy:
            if attempt + 1 == ATTEMPTS:
                raise
            sleep(PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


def lock_schema(tx: Tx) -> None:
    """Wait for other changes of this database's schema, of any length; afterwards for each table only briefly."""
    tx.execute(text("SET LOCAL lock_timeout = 0"))
    tx.execute(text("SET LOCAL statement_timeout = 0"))
    tx.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    tx.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}'"))


def _make_roles(database: Database, result: RowSecurityResult) -> bool:
    """Create the login and its roles. Returns whether they exist now."""
    for attempt in range(ATTEMPTS):
        try:
            with database.write_across(Purpose.OWNER) as tx:
                lock_schema(tx)
                missing = row_security.differences_of_roles(tx, result.server)
                _run(tx, missing)
        except StatementFault as fault:
            if fault.is_forbidden:
                result.left = [f"{statement};" for each in missing for statement in each.fixes]
                return False
            if fault.code not in _CONCURRENT or attempt + 1 == ATTEMPTS:
                raise
            sleep(PAUSE_SECONDS / 10)
        else:
            result.done += [each.problem for each in missing]
            result.made_login = any("LOGIN" in fix for each in missing for fix in each.fixes)
            return True
    raise AssertionError("the last attempt returns or raises")


def _fix_one_table(database: Database, result: RowSecurityResult) -> str | None:
    """Apply one table's row security, policies and grants. Returns the table; None if all tables are right."""
    with database.write_across(Purpose.OWNER) as tx:
        lock_schema(tx)
        differences = row_security.differences_of_tables(tx, result.server, result.owners_way)
        if not differences:
            return None
        first = [each for each in differences if each.table == differences[0].table]
        _run(tx, first)
    result.done += [each.problem for each in first]
    return first[0].table


def _show(database: Database, table: str) -> bool:
    with database.write_across(Purpose.OWNER) as tx:
        lock_schema(tx)
        hidden = [each for each in row_security.hidden_from_owner(tx) if each.table == table]
        _run(tx, hidden)
    return bool(hidden)


def _run(tx: Tx, differences: list[Difference]) -> None:
    for difference in differences:
        for statement in difference.fixes:
            tx.exec_driver_sql(statement)
