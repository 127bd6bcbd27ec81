"""Backups of the embedded database: one file, taken while the server runs, which knows that it is a backup."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from keystead.domain.errors import DiskFull, StorageError, Unavailable
from keystead.storage.database import Database
from keystead.storage.engine.connections import sqlite_driver

BACKUP: Final = 0x4B65
"""SQLite's `user_version` of a backup; a database in service has 0."""


class NotADatabase(Unavailable):
    """A file that is no SQLite database, or a damaged one."""


def back_up(source: Path, target: Path) -> None:
    """Copies a database in service to `target`, as of one moment, and marks the copy. Readers and writers go on.

    NotADatabase where the copy is damaged; Unavailable or DiskFull where it could not be made.
    """
    with _translated(), _opened(source) as live, _opened(target) as copy:
        live.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
    mark(target)
    require_sound(target)


def mark(path: Path) -> None:
    """Has the file say of itself that it is a backup."""
    with _translated(), _opened(path) as copy:
        copy.execute(f"PRAGMA user_version = {BACKUP}")


def require_sound(path: Path) -> None:
    """NotADatabase unless SQLite finds every page, row and index of the file in order."""
    with _translated(), _opened(path) as copy:
        found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise NotADatabase(f"{path.name} is damaged.")


def be_alone(path: Path) -> None:
    """Brings all of the database into its one file. Unavailable while a server has it open."""
    with _translated(), _opened(path) as database:
        database.execute("PRAGMA busy_timeout = 0")
        database.execute("PRAGMA journal_mode = DELETE").fetchall()


def is_backup(database: Database) -> bool:
    """Whether this is a backup that nobody has taken into service."""
    with database.engine.connect() as connection:
        return bool(connection.exec_driver_sql("PRAGMA user_version").scalar_one() == BACKUP)


def take_into_service(database: Database) -> None:
    """The mark of a backup, gone."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 0")


def _opened(path: Path) -> Any:
    return closing(sqlite_driver.connect(path, isolation_level=None))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite_driver.Error as error:
        raise _storage_error(str(getattr(error, "sqlite_errorname", ""))) from None


def _storage_error(code: str) -> StorageError:
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return NotADatabase("It is no sound SQLite database.")
    if code == "SQLITE_FULL":
        return DiskFull("There is no room for it.")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Unavailable("The database is in use.")
    return Unavailable("The database cannot be opened.")
