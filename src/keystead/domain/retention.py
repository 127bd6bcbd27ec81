"""How long is kept what piles up by itself: events, deliveries, use, callers. Keys stay, ended ones too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

MIN_RETENTION: Final = timedelta(days=31)
"""The pages show the last 30 days."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long each is kept after it happened; None is for ever."""

    events: timedelta | None = timedelta(days=400)
    deliveries: timedelta | None = timedelta(days=90)
    use: timedelta | None = timedelta(days=400)
    callers: timedelta | None = timedelta(days=90)


def retention_cutoff(kept: timedelta | None, now: datetime) -> datetime | None:
    """What happened before that instant is kept no longer at `now`; None where everything is kept."""
    return None if kept is None else now - kept
