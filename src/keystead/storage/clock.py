"""The clock that decides: the database's, carried between reads by this machine's monotonic clock."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy import text

from keystead.domain.errors import StorageError
from keystead.domain.instants import from_microseconds
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose

RESAMPLE_SECONDS: Final = 1.0
DATABASE_TIME: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""SQL for microseconds since 1970-01-01T00:00:00Z on PostgreSQL."""
_DATABASE_TIME: Final = text(f"SELECT {DATABASE_TIME}")


class Clock(Protocol):
    """The clock by which keys expire."""

    def microseconds(self) -> int:
        """Return the microseconds since 1970-01-01T00:00:00Z."""
        ...

    def now(self) -> datetime:
        """Return the time as an aware datetime."""
        ...


class SystemClock:
    """The clock of this machine, and so of SQLite."""

    def microseconds(self) -> int:
        """Return the microseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1000

    def now(self) -> datetime:
        """Return the time as an aware datetime."""
        return from_microseconds(self.microseconds())


class DatabaseClock:
    """The clock of PostgreSQL, read at most once a second; in between, and while it is away, carried monotonically."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sampling = threading.Lock()
        self._offset, _ = self._bounds()  # the earliest: a later answer can only move it forward
        self._sampled = time.monotonic()

    def microseconds(self) -> int:
        """Return the microseconds since 1970-01-01T00:00:00Z."""
        if (
            time.monotonic() - self._sampled >= RESAMPLE_SECONDS
            and not _on_loop()
            and self._sampling.acquire(blocking=False)
        ):
            try:
                self._sample()
            except StorageError:
                self._sampled = time.monotonic()
            finally:
                self._sampling.release()
        return time.monotonic_ns() // 1000 + self._offset

    def now(self) -> datetime:
        """Return the time as an aware datetime."""
        return from_microseconds(self.microseconds())

    def observe(self, before: int, time_read: int, after: int) -> None:
        """Take a time that was read along with a row, so that the database need not be asked. Never waits.

        Args:
            before: The monotonic clock before the read, in microseconds.
            time_read: The database's time, in microseconds since 1970.
            after: The monotonic clock after the read.
        """
        if time.monotonic() - self._sampled < RESAMPLE_SECONDS / 2:
            return
        if self._sampling.acquire(blocking=False):
            try:
                self._adjust(time_read - after, time_read - before)
            finally:
                self._sampling.release()

    def _sample(self) -> None:
        self._adjust(*self._bounds())

    def _adjust(self, earliest: int, latest: int) -> None:
        """Move the offset only as far as the database contradicts it, so that an expired key stays expired."""
        self._offset = min(max(self._offset, earliest), latest)
        self._sampled = time.monotonic()

    def _bounds(self) -> tuple[int, int]:
        """Return the earliest and the latest offset that the database's time allows."""
        with self._database.read_reserved(Purpose.SERVER) as tx:
            before = time.monotonic_ns() // 1000
            time_read = int(tx.execute(_DATABASE_TIME).scalar_one())
            after = time.monotonic_ns() // 1000 + 1
        return time_read - after, time_read - before


def _on_loop() -> bool:
    """Return whether this thread runs an event loop, all of which would wait: there the time comes with the rows."""
    from asyncio import get_running_loop  # which a command of the command line never needs

    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


def clock_of(database: Database) -> Clock:
    """Return the clock that decides on this database."""
    return SystemClock() if database.is_sqlite else DatabaseClock(database)
