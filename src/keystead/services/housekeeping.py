"""Forgetting what nobody will ask for again: spent links, old sessions and devices, wrong passwords of long ago."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from keystead.domain.sessions import DEVICE_LIFETIME
from keystead.storage import sessions as rows
from keystead.storage.anew import anew
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.known_devices import delete_devices_before
from keystead.storage.purposes import Purpose
from keystead.storage.throttles import delete_failures_before

LINKS_KEPT: Final = timedelta(days=1)
SESSIONS_KEPT: Final = timedelta(days=30)
"""Counted from their beginning: a session stands for a day at most."""
FAILURES_KEPT: Final = timedelta(days=90)
"""Counted from the last wrong password: so long does an account remember that there were many."""
BATCH: Final = 500


class Housekeeping:
    """Sweeps in small batches, so that no change waits long behind it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def sweep(self) -> int:
        """Forgets what is past its keeping time; how many rows that were."""
        now = self._clock.now()
        return sum(
            self._in_batches(delete, now - kept)
            for delete, kept in (
                (rows.delete_links_before, LINKS_KEPT),
                (rows.delete_sessions_before, SESSIONS_KEPT),
                (delete_devices_before, DEVICE_LIFETIME),
                (delete_failures_before, FAILURES_KEPT),
            )
        )

    def _in_batches(self, delete: Callable[[Tx, datetime, int], int], instant: datetime) -> int:
        total = 0
        while True:
            gone = self._batch(delete, instant)
            total += gone
            if gone < BATCH:
                return total

    @anew
    def _batch(self, delete: Callable[[Tx, datetime, int], int], instant: datetime) -> int:
        with self._database.write_across(Purpose.WORKER) as tx:
            return delete(tx, instant, BATCH)
