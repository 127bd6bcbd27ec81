"""Bringing a PostgreSQL under row security: in small steps, none of which holds anybody up for long."""

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

LOCK: Final = 0x6B65797374656164  # "keystead"; nobody else on this database takes an advisory lock of that number
PATIENCE: Final = "500ms"
"""So long a step waits for a table: whoever comes after it waits behind it."""
ATTEMPTS: Final = 60
PAUSE_SECONDS: Final = 0.5
_AT_ONCE: Final = ("23505", "42710", "XX000")
"""What one is told when another made or changed the same role at the same moment: roles are the whole server's."""

Done = TypeVar("Done")


@dataclass(slots=True)
class Walled:
    """What was done for the login `server`, and the statements that its owner may not run."""

    server: str
    made_login: bool = False
    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    owners_way: bool = False


def wall(database: Database, server: str, *, fresh: bool, enforce: bool = False) -> Walled:
    """Makes roles, row security, policies and grants as the map has them; connected as the owner of the tables.

    An installation that was begun without them (not `fresh`) keeps the owner's way open, for servers of the version
    before, until `enforce`. Where the owner may not make roles, nothing is done and the statements are told.
    """
    row_security.check_name(server)
    walled = Walled(server)
    with database.read_across(Purpose.OWNER) as tx:
        before = row_security.owners_way_is_open(tx)
        walled.owners_way = not enforce and (before or not (fresh or row_security.has_walls(tx)))
    if _make_roles(database, walled):
        mended: set[str] = set()
        while table := in_a_quiet_moment(partial(_mend_one_table, database, walled)):
            if table in mended:
                raise RuntimeError(f"{table} is not as declared after it was mended")
            mended.add(table)
    return walled


def let_owner_see(database: Database) -> bool:
    """Shows the owner all rows again, as a migration may need it; whether it did not see them before."""
    shown = [in_a_quiet_moment(partial(_show, database, name)) for name in sorted(TENANT_ROWS)]
    return any(shown)


def in_a_quiet_moment(step: Callable[[], Done]) -> Done:
    """What the step gives, which is tried again while it would have to wait for others. Busy after 60 times."""
    for attempt in range(ATTEMPTS):
        try:
            return step()
        except Busy:
            if attempt + 1 == ATTEMPTS:
                raise
            sleep(PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


def be_alone(tx: Tx) -> None:
    """Waits for whoever changes this database's schema; then for no table longer than a moment."""
    tx.execute(text("SET LOCAL lock_timeout = 0"))
    tx.execute(text("SET LOCAL statement_timeout = 0"))
    tx.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    tx.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}'"))


def _make_roles(database: Database, walled: Walled) -> bool:
    """Whether login and roles are there now."""
    for attempt in range(ATTEMPTS):
        try:
            with database.write_across(Purpose.OWNER) as tx:
                be_alone(tx)
                missing = row_security.differences_of_roles(tx, walled.server)
                _run(tx, missing)
        except StatementFault as fault:
            if fault.is_forbidden:
                walled.left = [f"{one};" for each in missing for one in each.mend]
                return False
            if fault.code not in _AT_ONCE or attempt + 1 == ATTEMPTS:
                raise
            sleep(PAUSE_SECONDS / 10)
        else:
            walled.done += [each.says for each in missing]
            walled.made_login = any("LOGIN" in one for each in missing for one in each.mend)
            return True
    raise AssertionError("the last attempt returns or raises")


def _mend_one_table(database: Database, walled: Walled) -> str | None:
    """The table whose row security, policies and grants came at once; None where none was left to mend."""
    with database.write_across(Purpose.OWNER) as tx:
        be_alone(tx)
        found = row_security.differences_of_tables(tx, walled.server, walled.owners_way)
        if not found:
            return None
        first = [each for each in found if each.table == found[0].table]
        _run(tx, first)
    walled.done += [each.says for each in first]
    return first[0].table


def _show(database: Database, table: str) -> bool:
    with database.write_across(Purpose.OWNER) as tx:
        be_alone(tx)
        found = [each for each in row_security.hidden_from_owner(tx) if each.table == table]
        _run(tx, found)
    return bool(found)


def _run(tx: Tx, differences: list[Difference]) -> None:
    for difference in differences:
        for statement in difference.mend:
            tx.exec_driver_sql(statement)
