"""Bringing a database to the schema of this version: one process at a time, each step all or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import column, inspect, select, table

from keystead.storage.database import Database, Tx
from keystead.storage.engine.connections import be_patient
from keystead.storage.engine.roles import Purpose
from keystead.storage.row_security.apply import be_alone, in_a_quiet_moment

REVISIONS: Final = Path(__file__).parents[1] / "migrations"
_VERSIONS: Final = table("alembic_version", column("version_num"))
_FOUND: Final = select(_VERSIONS.c.version_num)


class SchemaStatus(StrEnum):
    """How a database's schema stands to the one that this version needs."""

    EMPTY = "empty"
    BEHIND = "behind"
    CURRENT = "current"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The revision found in the database (None: no schema yet), the one that is needed, and what that means."""

    found: str | None
    needed: str
    status: SchemaStatus


def state(database: Database) -> SchemaState:
    """How the database's schema stands."""
    with database.read_across(Purpose.SERVER) as tx:
        found = _found(tx)
    needed = newest_revision()
    return SchemaState(found, needed, _status(found, needed))


def newest_revision() -> str:
    """The revision that this version needs."""
    return _revisions()[-1]


def upgrade(database: Database, revision: str | None = None) -> None:
    """Brings the schema to the newest revision, or to that one. A second process waits, and finds it done.

    A new database in one transaction, all or nothing. One in use revision by revision: what a revision has locked is
    free again at its end, and it gives way to whoever holds a table that it needs, and begins anew.
    """
    goal = revision or newest_revision()
    for step in [goal] if state(database).found is None else _revisions():
        if step <= goal:
            in_a_quiet_moment(partial(_upgrade_to, database, step))


def _upgrade_to(database: Database, revision: str) -> None:
    """Nothing, where the schema is there already."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(REVISIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with database.write_across(Purpose.OWNER) as tx:
        if not database.is_sqlite:
            be_patient(tx)
            be_alone(tx)
        if (_found(tx) or "") < revision:
            config.attributes["connection"] = tx
            command.upgrade(config, revision)


def _revisions() -> list[str]:
    """Every revision, in order. They are numbered, and a file is named after its number."""
    return sorted(file.name[1:5] for file in REVISIONS.glob("versions/r[0-9]*.py"))


def _found(tx: Tx) -> str | None:
    found: str | None = None
    if inspect(tx).has_table(_VERSIONS.name):
        found = tx.execute(_FOUND).scalar()
    return found


def _status(found: str | None, needed: str) -> SchemaStatus:
    if found is None:
        return SchemaStatus.EMPTY
    if found == needed:
        return SchemaStatus.CURRENT
    return SchemaStatus.BEHIND if found < needed else SchemaStatus.AHEAD
