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
"""HTTP dates with numbers out of range: for them Python raises OverflowError, which is not a ValueError."""


class ManualClock:
    """A `Clock` like the system's and the database's, which moves only when it is set."""

    def __init__(self, start: datetime = NOON) -> None:
        self._now = start

    def microseconds(self) -> int:
        """Return microseconds since 1970-01-01T00:00:00Z."""
        return to_microseconds(self._now)

    def now(self) -> datetime:
        """Return the time as an aware datetime."""
        return self._now

    def set(self, instant: datetime) -> None:
        """Set the time, earlier or later than now."""
        self._now = instant

    def advance(self, passed: timedelta | None = None, **amount: float) -> datetime:
        """Advance by a timedelta, or by its arguments (`seconds=1`). Returns the new time."""
        self._now += passed if passed is not None else timedelta(**amount)
        return self._now


class SlowClock:
    """The system's clock, some seconds behind."""

    def __init__(self, seconds: float) -> None:
        self._behind = timedelta(seconds=seconds)

    def microseconds(self) -> int:
        """Return microseconds since 1970-01-01T00:00:00Z."""
        return to_microseconds(self.now())

    def now(self) -> datetime:
        """Return the time as an aware datetime."""
        return datetime.now(UTC) - self._behind
