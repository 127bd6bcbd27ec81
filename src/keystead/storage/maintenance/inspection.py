"""Facts about a database: version, durability settings, clock, and the login role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import text

from keystead.domain.instants import from_microseconds
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.row_security.diff import login_fault

SQLITE_PRAGMAS: Final = ("journal_mode", "synchronous", "foreign_keys")
POSTGRESQL_SETTINGS: Final = (
    "synchronous_commit",
    "fsync",
    "full_page_writes",
    "synchronous_standby_names",
)


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """Facts about a database.

    `keeps`: the settings that durability depends on. `now`: the database's clock. `role_fault`: why a server must
    not use this login.
    """

    engine: str
    version: tuple[int, ...]
    keeps: Mapping[str, str]
    role_fault: str | None
    now: datetime


def inspect_database(database: Database) -> DatabaseFacts:
    """Return the facts, read in one transaction. Raises Unavailable."""
    with database.read_across(Purpose.SERVER) as tx:
        return _sqlite(tx) if database.is_sqlite else _postgresql(tx)


def _sqlite(tx: Tx) -> DatabaseFacts:
    version = str(tx.exec_driver_sql("SELECT sqlite_version()").scalar_one())
    keeps = {
        name: str(tx.exec_driver_sql(f"PRAGMA {name}").scalar_one()) for name in SQLITE_PRAGMAS
    }
    numbers = tuple(int(part) for part in version.split("."))
    return DatabaseFacts("SQLite", numbers, keeps, None, datetime.now(UTC))


def _postgresql(tx: Tx) -> DatabaseFacts:
    number = int(tx.exec_driver_sql("SHOW server_version_num").scalar_one())
    keeps = {
        name: str(tx.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in POSTGRESQL_SETTINGS
    }
    clock = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    return DatabaseFacts(
        "PostgreSQL",
        (number // 10_000, number % 10_000),
        keeps,
        login_fault(tx),
        from_microseconds(int(tx.execute(clock).scalar_one())),
    )
