"""Errors: the translation of a driver's errors into storage errors, and into this program's own faults."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError

from keystead.domain.errors import DiskFull, StorageError, Unavailable
from keystead.storage.engine.connections import sqlite_driver

_FULL = ("SQLITE_FULL", "53100")
_READ_ONLY = ("25006", "SQLITE_READONLY")
_STANDBY = "hot standby mode"
"""Part of libpq's message if it found nothing but standbys."""
_POOLER = "unsupported startup parameter"
"""Part of PgBouncer's message about session settings."""
_IDLED: Final = ("25P03", "25P04")
"""This process was not running for so long that the database ended its open transaction."""
_NO_EFFECT = ("SQLITE_BUSY", "SQLITE_FULL", "SQLITE_CONSTRAINT", "23", "40001", "40P01", *_IDLED)
_NO_LOCK: Final = "55P03"
_ROLLED_BACK: Final = ("40001", "40P01", "SQLITE_BUSY_SNAPSHOT")
"""A conflict with a concurrent transaction: a serialization failure, a deadlock, an outdated snapshot."""
FORBIDDEN: Final = "42501"


class NoRoles(Exception):
    """The login may not take the role of the transaction, or there is none."""


class NeverBegan(Exception):
    """The connection was found dead at the first statement of a transaction, which had no effect."""


class StatementFault(Exception):
    """A statement that the database refused: this program's fault. Has its code, constraint and text, never a value."""

    @property
    def code(self) -> str:
        """SQLite's error name, or PostgreSQL's SQLSTATE."""
        return str(self.args[1])

    @property
    def is_forbidden(self) -> bool:
        """Whether the role lacks a grant."""
        return self.code == FORBIDDEN


class Busy(Unavailable):
    """A lock that was not free in time."""


class RolledBack(Unavailable):
    """A transaction without effect that may run again: see `retry_on_conflict`.

    The database undid it because of a concurrent one, or its connection was dead at its first statement.
    """


def had_no_effect(error: BaseException | None) -> bool:
    """Return whether a failed commit is known to have had no effect."""
    return driver_code(error).startswith(_NO_EFFECT)


def driver_code(error: BaseException | None) -> str:
    """Return SQLite's error name, or PostgreSQL's SQLSTATE; empty if the driver gives none."""
    return str(getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", ""))


def driver_errors(name: str = "Error") -> tuple[type[Exception], ...]:
    """Return that class of each driver's errors. A driver that is not imported raises none."""
    drivers = (sqlite_driver, sys.modules.get("psycopg"))
    return tuple(getattr(driver, name) for driver in drivers if driver is not None)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate faults of the store into storage errors, and this program's own into StatementFault."""
    try:
        yield
    except DBAPIError as error:
        raise translated(error.orig, error.statement) from None
    except driver_errors() as error:  # of a BEGIN or COMMIT, which SQLAlchemy does not see
        raise translated(error, None) from None


def translated(error: BaseException | None, statement: str | None) -> Exception:
    """Return the storage error for a driver's, or StatementFault if the statement is at fault and not the store."""
    return storage_error(error) or _fault_of(error, statement)


def storage_error(error: BaseException | None) -> StorageError | None:
    """Return the storage error for a driver's; None if the statement is at fault and not the store."""
    code = driver_code(error)
    if code in _FULL:
        return DiskFull("The database has no room left.")
    if code == _NO_LOCK:
        return Busy("The database is busy.")
    if isinstance(error, NeverBegan):
        return RolledBack("The database does not answer.")
    if code in _IDLED:
        return RolledBack("The server was too busy to finish the change.")
    if code in _ROLLED_BACK:
        return RolledBack("A concurrent change conflicted with yours.")
    is_away = isinstance(error, driver_errors("OperationalError")) and code != "SQLITE_ERROR"
    return Unavailable(_reason(error)) if is_away or code in _READ_ONLY else None


def _reason(error: BaseException | None) -> str:
    """Return why the database is away, and what to do if that is known."""
    text = str(error)
    if isinstance(error, NoRoles):
        return "The database's login has no roles of Keystead: is it the server's? Run: keystead migrate"
    if _STANDBY in text:
        return "The database is a standby: give the address of its primary, or all."
    if _POOLER in text:
        return "The database is behind PgBouncer: add ?pgbouncer=true to its URL."
    return "The database does not answer."


def _fault_of(error: BaseException | None, statement: str | None) -> StatementFault:
    """Return the fault, without PostgreSQL's own message: that repeats the whole refused row, digest and all."""
    constraint = getattr(getattr(error, "diag", None), "constraint_name", None)
    return StatementFault(type(error).__name__, driver_code(error), constraint, statement)
