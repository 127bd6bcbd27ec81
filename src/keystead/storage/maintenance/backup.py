"""Backups of the embedded database: one file, made while the server runs, and marked as a backup."""

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
    """A file that is damaged or not an SQLite database."""


def back_up(source: Path, target: Path) -> None:
    """Copy a database in use to `target`, as a consistent snapshot, and mark the copy.

    Raises:
        NotADatabase: the copy is damaged.
        Unavailable, DiskFull: it could not be made.
    """
    with opened(source) as live, opened(target) as copy:
        live.backup(copy)
        # The copy is in WAL mode like its source, which would leave a part of it in a second file.
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
    mark(target)
    require_sound(target)


def mark(path: Path) -> None:
    """Mark the file as a backup."""
    with opened(path) as copy:
        copy.execute(f"PRAGMA user_version = {BACKUP}")


def require_sound(path: Path) -> None:
    """Raise NotADatabase unless SQLite finds no fault in any page, row or index of the file."""
    with opened(path) as copy:
        result = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if result != "ok":
        raise NotADatabase(f"{path.name} is damaged.")


def checkpoint(path: Path) -> None:
    """Move everything into the database's main file. Raises Unavailable while a server has it open."""
    with opened(path) as database:
        database.execute("PRAGMA busy_timeout = 0")
        database.execute("PRAGMA journal_mode = DELETE").fetchall()


def is_backup(database: Database) -> bool:
    """Return whether this is a backup that was not restored by `keystead restore`."""
    with database.engine.connect() as connection:
        return bool(connection.exec_driver_sql("PRAGMA user_version").scalar_one() == BACKUP)


def take_into_service(database: Database) -> None:
    """Remove the mark of a backup."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 0")


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open the file with SQLite's driver. Raises NotADatabase, Unavailable or DiskFull for its errors."""
    try:
        with closing(sqlite_driver.connect(path, isolation_level=None)) as database:
            yield database
    except sqlite_driver.Error as error:
        raise _storage_error(str(getattr(error, "sqlite_errorname", ""))) from None


def _storage_error(code: str) -> StorageError:
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return NotADatabase("The file is damaged or not an SQLite database.")
    if code == "SQLITE_FULL":
        return DiskFull("There is not enough disk space.")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Unavailable("The database is in use.")
    return Unavailable("The database cannot be opened.")
