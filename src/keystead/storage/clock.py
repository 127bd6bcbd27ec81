"""Whose time decides: the database's, carried between reads by this machine's monotonic clock."""

from __future__ import annotations

import asyncio
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
"""Microseconds since 1970-01-01T00:00:00Z, as PostgreSQL tells them."""
_DATABASE_TIME: Final = text(f"SELECT {DATABASE_TIME}")


class Clock(Protocol):
    """Tells the one time by which keys expire."""

    def microseconds(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        ...

    def now(self) -> datetime:
        """The same as an aware instant."""
        ...


class SystemClock:
    """This machine's clock, which is also SQLite's."""

    def microseconds(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1000

    def now(self) -> datetime:
        """The same as an aware instant."""
        return from_microseconds(self.microseconds())


class DatabaseClock:
    """PostgreSQL's clock, read at most once a second; in between, and while it is away, carried monotonically."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sampling = threading.Lock()
        self._offset, _ = self._bounds()  # the earliest: a later answer can only move it forward
        self._sampled = time.monotonic()

    def microseconds(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
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
        """The same as an aware instant."""
        return from_microseconds(self.microseconds())

    def hear(self, asked: int, told: int, answered: int) -> None:
        """Takes a time that the database told in passing, so that it need not be asked: never waits.

        `told` in microseconds since 1970; `asked` before it was told and `answered` after it, by the monotonic clock.
        """
        if time.monotonic() - self._sampled < RESAMPLE_SECONDS / 2:
            return
        if self._sampling.acquire(blocking=False):
            try:
                self._settle(told - answered, told - asked)
            finally:
                self._sampling.release()

    def _sample(self) -> None:
        self._settle(*self._bounds())

    def _settle(self, earliest: int, latest: int) -> None:
        """Changes the offset only as far as the database contradicts it: what was refused stays refused."""
        self._offset = min(max(self._offset, earliest), latest)
        self._sampled = time.monotonic()

    def _bounds(self) -> tuple[int, int]:
        """Between which offsets the right one lies: the time was told after the question and before the answer."""
        with self._database.read_aside(Purpose.SERVER) as tx:
            asked = time.monotonic_ns() // 1000
            told = int(tx.execute(_DATABASE_TIME).scalar_one())
            answered = time.monotonic_ns() // 1000 + 1
        return told - answered, told - asked


def _on_loop() -> bool:
    """Whether this thread runs an event loop, all of which would wait: there the time is heard, or carried on."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def clock_of(database: Database) -> Clock:
    """The clock that decides on this database."""
    return SystemClock() if database.is_sqlite else DatabaseClock(database)
