"""Renewal: whether a key may make its own successor, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keystead.domain.instants import from_microseconds

NO_END: Final = 2**63 - 1
"""The time, in microseconds since 1970, that stands for an end that never comes."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """The permission of a key to renew itself until a time; None is without end."""

    until: datetime | None = None

    def covers(self, other: Renewal) -> bool:
        """Return whether this permission lasts at least as long as `other`."""
        return self.until is None or (other.until is not None and other.until <= self.until)


def renewal_until(microseconds: int | None) -> Renewal | None:
    """Return the renewal that ends at that time (since 1970): NO_END is without end, None gives None."""
    if microseconds is None:
        return None
    return Renewal(None if microseconds == NO_END else from_microseconds(microseconds))
