"""Migrating a database to the schema of this version: one process at a time, one transaction per revision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import column, inspect, select, table

from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.engine.waits import be_patient
from keystead.storage.row_security.apply import lock_schema, retry_while_busy

REVISIONS: Final = Path(__file__).parents[1] / "migrations"
_VERSIONS: Final = table("alembic_version", column("version_num"))
_CURRENT: Final = select(_VERSIONS.c.version_num)


class SchemaStatus(StrEnum):
    """How a database's schema compares to this version's."""

    EMPTY = "empty"
    BEHIND = "behind"
    CURRENT = "current"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The revision of the database (None: no schema yet), the one that is needed, and how they compare."""

    found: str | None
    needed: str
    status: SchemaStatus

    @property
    def is_current(self) -> bool:
        """Whether it is this version's."""
        return self.status is SchemaStatus.CURRENT


def state(database: Database) -> SchemaState:
    """Return the state of the database's schema."""
    with database.read_across(Purpose.SERVER) as tx:
        found = _current_revision(tx)
    needed = newest_revision()
    return SchemaState(found, needed, _status(found, needed))


def is_blank(database: Database) -> bool:
    """Return whether the database has no table at all, not even one of another program."""
    with database.read_across(Purpose.SERVER) as tx:
        return not inspect(tx).get_table_names()


def newest_revision() -> str:
    """Return this version's revision."""
    return _revisions()[-1]


def upgrade(database: Database, revision: str | None = None) -> None:
    """Migrate to the newest or the given revision. A concurrent process waits, and then finds it done.

    A new database is created in one transaction. A database in use is migrated with one transaction per
    revision, so that each releases its locks at its end. A revision that would wait long for a table rolls back
    and is tried again, since all later queries of the table wait behind it.
    """
    goal = revision or newest_revision()
    for step in [goal] if state(database).found is None else _revisions():
        if step <= goal:
            retry_while_busy(partial(_upgrade_to, database, step))


def _upgrade_to(database: Database, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(REVISIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with database.write_across(Purpose.OWNER) as tx:
        if not database.is_sqlite:
            be_patient(tx)
            lock_schema(tx)
        # Check again under the lock: another process may have migrated meanwhile.
        if (_current_revision(tx) or "") < revision:
            config.attributes["connection"] = tx
            command.upgrade(config, revision)


def _revisions() -> list[str]:
    """Return the numbers of all revisions in order; each file's name begins with its number."""
    return sorted(file.name[1:5] for file in REVISIONS.glob("versions/r[0-9]*.py"))


def _current_revision(tx: Tx) -> str | None:
    if not inspect(tx).has_table(_VERSIONS.name):
        return None
    revision: str | None = tx.execute(_CURRENT).scalar()
    return revision


def _status(found: str | None, needed: str) -> SchemaStatus:
    if found is None:
        return SchemaStatus.EMPTY
    if found == needed:
        return SchemaStatus.CURRENT
    return SchemaStatus.BEHIND if found < needed else SchemaStatus.AHEAD
