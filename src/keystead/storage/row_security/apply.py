"""Applying row-level security to a PostgreSQL in small steps that never block other sessions for long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import sleep
from typing import Final, TypeVar

from sqlalchemy import text

from keystead.storage.database import Database, Tx
from keystead.storage.engine.errors import Busy, StatementFault
from keystead.storage.engine.roles import Purpose
from keystead.storage.row_security import diff
from keystead.storage.row_security.diff import Difference
from keystead.storage.row_security.grants import TENANT_ROWS

LOCK: Final = 0x6B65797374656164
"""The advisory lock of schema changes: the bytes of "keystead"."""
LOCK_TIMEOUT: Final = "500ms"
"""How long a step waits for a table's lock: meanwhile every later query of the table waits behind it."""
ATTEMPTS: Final = 60
PAUSE_SECONDS: Final = 0.5
_CONCURRENT_CHANGE: Final = ("23505", "42710", "XX000")
"""The error codes when another session creates or changes the same role, which may be in another database."""

T = TypeVar("T")


@dataclass(slots=True)
class Applied:
    """What was done for the login `server`.

    `left`: the statements that the tables' owner may not run. `owners_way`: the owner still sees all rows, for
    servers of a version before row-level security.
    """

    server: str
    made_login: bool = False
    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    owners_way: bool = False


def apply_row_security(
    database: Database, server: str, *, fresh: bool, enforce: bool = False
) -> Applied:
    """Create roles, row-level security, policies and grants as declared; connected as the tables' owner.

    An installation that was started without them (not `fresh`) keeps the owner's access to all rows until
    `enforce`. If the owner may not create roles, nothing is done, and the statements are returned.
    """
    diff.check_role_name(server)
    applied = Applied(server)
    with database.read_across(Purpose.OWNER) as tx:
        before = diff.owner_has_access(tx)
        applied.owners_way = not enforce and (before or not (fresh or diff.has_row_security(tx)))
    if _create_roles(database, applied):
        fixed: set[str] = set()
        while table := retry_while_busy(partial(_fix_one_table, database, applied)):
            if table in fixed:
                raise RuntimeError(f"{table} is not as declared after it was fixed")
            fixed.add(table)
    return applied


def grant_owner_access(database: Database) -> bool:
    """Let the owner see all rows again, as migrations need it. Returns whether it could not before."""
    changed = [
        retry_while_busy(partial(_grant_owner_access, database, name))
        for name in sorted(TENANT_ROWS)
    ]
    return any(changed)


def retry_while_busy(step: Callable[[], T]) -> T:
    """Run the step, again while its locks are not available. Raises Busy after 60 attempts."""
    for attempt in range(ATTEMPTS):
        try:
            return step()
        except Busy:
            if attempt + 1 == ATTEMPTS:
                raise
            sleep(PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


def lock_schema(tx: Tx) -> None:
    """Wait for other changes of this database's schema; from then on wait only briefly for each table."""
    tx.execute(text("SET LOCAL lock_timeout = 0"))
    tx.execute(text("SET LOCAL statement_timeout = 0"))
    tx.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    # A waiting ALTER TABLE blocks all later queries of the table. So give up soon, and try again later.
    tx.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))


def _create_roles(database: Database, applied: Applied) -> bool:
    """Return whether the login and the roles exist now."""
    for attempt in range(ATTEMPTS):
        try:
            with database.write_across(Purpose.OWNER) as tx:
                lock_schema(tx)
                missing = diff.differences_of_roles(tx, applied.server)
                _run(tx, missing)
        except StatementFault as fault:
            if fault.is_forbidden:
                applied.left = [f"{fix};" for difference in missing for fix in difference.fix]
                return False
            # Roles belong to the whole cluster: a migration of another database may create the same.
            if fault.code not in _CONCURRENT_CHANGE or attempt + 1 == ATTEMPTS:
                raise
            sleep(PAUSE_SECONDS / 10)
        else:
            applied.done += [difference.says for difference in missing]
            applied.made_login = any("LOGIN" in fix for each in missing for fix in each.fix)
            return True
    raise AssertionError("the last attempt returns or raises")


def _fix_one_table(database: Database, applied: Applied) -> str | None:
    """Fix all differences of one table in one transaction. Returns its name, None if nothing is left to fix."""
    with database.write_across(Purpose.OWNER) as tx:
        lock_schema(tx)
        differences = diff.differences_of_tables(tx, applied.server, applied.owners_way)
        if not differences:
            return None
        first = [each for each in differences if each.table == differences[0].table]
        _run(tx, first)
    applied.done += [difference.says for difference in first]
    return first[0].table


def _grant_owner_access(database: Database, table: str) -> bool:
    with database.write_across(Purpose.OWNER) as tx:
        lock_schema(tx)
        hidden = [each for each in diff.hidden_from_owner(tx) if each.table == table]
        _run(tx, hidden)
    return bool(hidden)


def _run(tx: Tx, differences: list[Difference]) -> None:
    for difference in differences:
        for statement in difference.fix:
            tx.exec_driver_sql(statement)
