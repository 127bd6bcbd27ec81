"""Renewal: whether a key may make its own successor, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Renewal:
    """The permission of a key to renew itself until a time; None is without end."""

    until: datetime | None = None

    def covers(self, other: Renewal) -> bool:
        """Return whether this permission lasts at least as long as `other`."""
        return self.until is None or (other.until is not None and other.until <= self.until)
