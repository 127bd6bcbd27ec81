"""A clock that tests set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keystead.domain.instants import to_microseconds

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)

OUT_OF_RANGE = (
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Mon, 01 Jan 2027 99999999999999999999:00:00 GMT",
    "Mon, 01 Jan 2027 00:00:00 +99999999999999999999999",
)
"""HTTP dates with numbers that no time has: Python raises OverflowError for them, which is no ValueError."""


class ManualClock:
    """Stands still until it is told otherwise; a `Clock` like the system's and the database's."""

    def __init__(self, start: datetime = NOON) -> None:
        self._now = start

    def microseconds(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        return to_microseconds(self._now)

    def now(self) -> datetime:
        """The same as an aware instant."""
        return self._now

    def set(self, instant: datetime) -> None:
        """It is `instant` now, be it earlier or later."""
        self._now = instant

    def advance(self, passed: timedelta | None = None, **amount: float) -> datetime:
        """Lets time pass: a timedelta, or its arguments (`seconds=1`). The new now."""
        self._now += passed if passed is not None else timedelta(**amount)
        return self._now
