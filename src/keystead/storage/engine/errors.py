"""Errors: the translation of a driver's errors into storage errors, and into this program's own faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from keystead.domain.errors import DiskFull, StorageError, Unavailable

_FULL = ("SQLITE_FULL", "53100")
_READ_ONLY = ("25006", "SQLITE_READONLY")
_STANDBY = "hot standby mode"
"""Part of libpq's message if it found nothing but standbys."""
_POOLER = "unsupported startup parameter"
"""Part of PgBouncer's message about session settings."""
_NO_EFFECT = ("SQLITE_BUSY", "SQLITE_FULL", "SQLITE_CONSTRAINT", "23", "40001", "40P01")
_NO_LOCK: Final = "55P03"
_ROLLED_BACK: Final = ("40001", "40P01", "SQLITE_BUSY_SNAPSHOT")
"""A conflict with a concurrent transaction: a serialization failure, a deadlock, an outdated snapshot."""
FORBIDDEN: Final = "42501"


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
    """A transaction that the database undid because of a concurrent one. It may run again: see `retry_on_conflict`."""


def had_no_effect(error: DBAPIError) -> bool:
    """Return whether a failed commit is known to have had no effect."""
    return driver_code(error).startswith(_NO_EFFECT)


def driver_code(error: DBAPIError) -> str:
    """Return SQLite's error name, or PostgreSQL's SQLSTATE; empty if the driver gives none."""
    origin = error.orig
    if isinstance(origin, psycopg.Error):
        return origin.sqlstate or ""
    return str(getattr(origin, "sqlite_errorname", ""))


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate faults of the store into storage errors, and this program's own into StatementFault."""
    try:
        yield
    except PoolTimeout:
        raise Unavailable("The database is busy.") from None
    except DBAPIError as error:
        raise storage_error(error) or fault_of(error) from None


def storage_error(error: DBAPIError) -> StorageError | None:
    """Return the storage error for a driver's; None if the statement is at fault and not the store."""
    code = driver_code(error)
    if code in _FULL:
        return DiskFull("The database has no room left.")
    if _STANDBY in str(error.orig):
        return Unavailable("The database is a standby: give the address of its primary, or all.")
    if _POOLER in str(error.orig):
        return Unavailable("The database is behind PgBouncer: add ?pgbouncer=true to its URL.")
    if code == _NO_LOCK:
        return Busy("The database is busy.")
    if code in _ROLLED_BACK:
        return RolledBack("A concurrent change conflicted with yours.")
    is_away = isinstance(error, OperationalError) and code != "SQLITE_ERROR"
    return Unavailable("The database does not answer.") if is_away or code in _READ_ONLY else None


def fault_of(error: DBAPIError) -> StatementFault:
    """Return the fault, without PostgreSQL's own message: that repeats the whole refused row, digest and all."""
    origin = error.orig
    constraint = origin.diag.constraint_name if isinstance(origin, psycopg.Error) else None
    return StatementFault(type(origin).__name__, driver_code(error), constraint, error.statement)
