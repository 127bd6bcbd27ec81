"""Forgetting what nobody will ask for again: spent links, old sessions and devices, wrong passwords of long ago."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from keystead.domain.sessions import DEVICE_LIFETIME
from keystead.services.isolation import Isolation, OnFailure, run_all
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import spent
from keystead.storage.tables.spent import Spent

TASK: Final = "sweep"
LINKS_KEPT: Final = timedelta(days=1)
SESSIONS_KEPT: Final = timedelta(days=30)
"""Counted from their beginning: a session stands for a day at most."""
FAILURES_KEPT: Final = timedelta(days=90)
"""Counted from the last wrong password: so long does an account remember that there were many."""
BATCH: Final = 500

_Row = tuple[Spent, bytes | str]


class Housekeeping:
    """Sweeps in small batches, so that no change waits long behind it."""

    def __init__(
        self, database: Database, clock: Clock, on_failure: OnFailure | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        # A row is named by its table: its key may be the digest of a secret.
        self._isolation = Isolation[_Row](TASK, clock, on_failure, name=lambda row: row[0])

    def sweep(self) -> int:
        """Forgets what is past its keeping time; how many rows that were."""
        now = self._clock.now()
        return run_all(
            *(
                partial(self._sweep, kind, now - kept)
                for kind, kept in (
                    (Spent.LINKS, LINKS_KEPT),
                    (Spent.CONFIRMATIONS, LINKS_KEPT),
                    (Spent.SESSIONS, SESSIONS_KEPT),
                    (Spent.DEVICES, DEVICE_LIFETIME),
                    (Spent.FAILURES, FAILURES_KEPT),
                )
            )
        )

    def _sweep(self, kind: Spent, instant: datetime) -> int:
        total = 0

        def delete(rows: Sequence[_Row]) -> None:
            nonlocal total
            total += self._delete(kind, [key for _, key in rows], instant)

        while True:
            found, before = self._find(kind, instant), total
            self._isolation.together([(kind, key) for key in found], delete)
            if len(found) < BATCH or total == before:
                return total

    @retry_on_conflict
    def _find(self, kind: Spent, instant: datetime) -> list[bytes | str]:
        """Return the next rows to delete; those that are held back would come again and again."""
        held = [key for held_kind, key in self._isolation.held() if held_kind is kind]
        with self._database.read_across(Purpose.WORKER) as tx:
            return spent.keys_before(tx, kind, instant, held, BATCH)

    @retry_on_conflict
    def _delete(self, kind: Spent, keys: Sequence[bytes | str], instant: datetime) -> int:
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            return spent.delete_rows(tx, kind, keys, instant)
