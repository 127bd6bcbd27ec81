"""The early end of a rotated key: once its successor is in use, and the key itself was silent for as long as asked."""

from __future__ import annotations

from typing import Final

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.key_lifecycle import is_quiet
from keystead.domain.principals import system
from keystead.services.authorization import Authorization
from keystead.services.isolation import Isolation, OnFailure
from keystead.services.key_ends import end_key
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import key_lifecycle as rows
from keystead.storage.tables import keys

TASK: Final = "quiet_ends"
BATCH: Final = 500

_Key = tuple[WorkspaceId, KeyId]


class QuietEnds:
    """Revokes silent keys. Run every minute, on any number of servers."""

    def __init__(
        self, database: Database, clock: Clock, on_failure: OnFailure | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)
        self._isolation = Isolation[_Key](TASK, clock, on_failure, name=lambda key: key[1])

    def run(self) -> int:
        """Revoke the keys that are due. Returns how many that were."""
        after, total = "", 0
        while True:
            batch = self._batch(after)
            total += sum(self._isolation.each(batch, self._end))
            if len(batch) < BATCH:
                return total
            after = batch[-1][1]

    @retry_on_conflict
    def _batch(self, after: str) -> list[_Key]:
        with self._database.read_across(Purpose.WORKER) as tx:
            return rows.silent_keys(tx, after, self._clock.now(), BATCH)

    @retry_on_conflict
    def _end(self, key: _Key) -> bool:
        """Judge the key again under its workspace's lock. Returns whether it was revoked."""
        workspace_id, key_id = key
        with self._authorization.changing(system(workspace_id), revokes=True) as (tx, act):
            old = keys.find_key(tx, workspace_id, key_id)
            successor = old and old.rotated_to and keys.find_key(tx, workspace_id, old.rotated_to)
            if not (old and successor and is_quiet(old, successor, act.at)):
                return False
            end_key(tx, old, act, reason="quiet")
            return True
