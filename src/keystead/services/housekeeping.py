"""Forgetting what nobody will ask for again: spent sign-in links and sessions that ended long ago."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from keystead.storage import sessions as rows
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx

LINKS_KEPT: Final = timedelta(days=1)
SESSIONS_KEPT: Final = timedelta(days=30)
"""Counted from their beginning: a session stands for a day at most."""
BATCH: Final = 500


class Housekeeping:
    """Sweeps in small batches, so that no change waits long behind it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def sweep(self) -> int:
        """Forgets what is past its keeping time; how many rows that were."""
        now = self._clock.now()
        links = self._in_batches(rows.delete_links_before, now - LINKS_KEPT)
        return links + self._in_batches(rows.delete_sessions_before, now - SESSIONS_KEPT)

    def _in_batches(self, delete: Callable[[Tx, datetime, int], int], instant: datetime) -> int:
        total = 0
        while True:
            with self._database.write_across() as tx:
                gone = delete(tx, instant, BATCH)
            total += gone
            if gone < BATCH:
                return total
