"""First uses of renewed keys: each is committed before it is answered, and ends the key before it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from keystead.domain.errors import NotFound
from keystead.domain.events import EventType
from keystead.domain.ids import KeyId
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.principals import Principal, system
from keystead.domain.rotations import end_after
from keystead.services.authorization import Authorization, AuthorizedAct
from keystead.services.concurrency import FairThreadPool
from keystead.services.key_issuer import record_key
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import key_counts, plans
from keystead.storage.tables import keys as rows

THREADS: Final = 4
"""Concurrent first uses of one process. Each may wait for the lock of its key's workspace."""
WAIT_SECONDS: Final = 5.0


class FirstUses:
    """Commits first uses. A verification that reads a key's first use doesn't accept it before this has returned."""

    def __init__(self, database: Database, clock: Clock, overlap: timedelta) -> None:
        """`overlap`: how long the old key works after the first use of its successor."""
        self._authorization = Authorization(database, clock)
        self._overlap = overlap
        self._threads = FairThreadPool(THREADS, "first-use", WAIT_SECONDS)

    async def commit_on_loop(self, principal: Principal) -> None:
        """Commit the first use of the principal's key, for a task of an event loop.

        On a thread, since it waits for a lock and for the disk. Raises StorageError like `commit`.
        """
        key_id = KeyId(principal.id)
        await self._threads.run(principal.workspace_id, lambda: self.commit(principal, key_id))

    def commit(self, principal: Principal, key_id: KeyId) -> bool:
        """Commit the first use of a key. Returns False if another request has, or the key has ended.

        Raises:
            StorageError: It could not be written, so the use must not be accepted.
        """
        try:
            return self._commit(principal, key_id)
        except NotFound:
            return False  # the workspace was deleted since the key was read

    @retry_on_conflict
    def _commit(self, principal: Principal, key_id: KeyId) -> bool:
        workspace_id = principal.workspace_id
        with self._authorization.changing(system(workspace_id)) as (tx, act):
            access = rows.find_access(tx, workspace_id, key_id)
            key = rows.find_key(tx, workspace_id, key_id)
            if access is None or access.has_ended(act.at) or key is None or key.replaces is None:
                return False
            rows.update_key(tx, replace(key, replaces=None))
            old = rows.find_key(tx, workspace_id, key.replaces)
            if old is not None and old.status(act.at) is KeyStatus.ACTIVE:
                self._end(tx, old, key_id, replace(act, actor=principal.actor))
            return True

    def _end(self, tx: Tx, old: ApiKey, successor_id: KeyId, act: AuthorizedAct) -> None:
        end = end_after(old, self._overlap_of(tx, old, act), act.at)
        ending = replace(old, expires_at=end, version=old.version + 1)
        rows.update_key(tx, ending)
        # The revocation log gets it too: a restored backup must not bring the old key back.
        record_key(
            tx,
            EventType.KEY_UPDATED,
            ending,
            act,
            changed=("expires_at",),
            metadata=ending.metadata,
            successor_used=successor_id,
        )

    def _overlap_of(self, tx: Tx, old: ApiKey, act: AuthorizedAct) -> timedelta:
        """Return the overlap; none if another key next to its successor would exceed the limit.

        Each key that counts has one old key at most, unless successors were revoked meanwhile.
        """
        plan, used = plans.plan_with_keys(tx, old.workspace_id, act.at)
        limit = plan.limits.api_keys
        overlapping = key_counts.count_overlapping_keys(tx, old.workspace_id, act.at)
        is_full = limit is not None and overlapping > max(limit, used)
        return timedelta() if is_full else self._overlap
