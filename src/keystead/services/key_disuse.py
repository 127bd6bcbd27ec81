"""Keys that are not used: notices of it, and the end of keys whose policy ends unused ones.

A walk over all keys finds them once a day. Each is judged again under its workspace's lock, where its row in
`key_lifecycle_marks` says what was reported last; so a second server, or a second look, reports nothing twice.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from keystead.domain.disuse import (
    REASON,
    Disuse,
    due_notice,
    is_end_due,
    unused_event,
    unused_since,
)
from keystead.domain.events import Target
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.key_lifecycle import LifecycleKind
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.policies import NO_POLICY
from keystead.domain.principals import system
from keystead.services.authorization import Authorization, AuthorizedAct
from keystead.services.isolation import Isolation, OnFailure
from keystead.services.key_ends import end_key
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events, keys, policies
from keystead.storage.tables import key_lifecycle as rows

TASK: Final = "key_lifecycle"
BATCH: Final = 500
KEYS_A_RUN: Final = 5_000
"""Keys that one run looks at; the next run goes on."""
WALK_EVERY: Final = timedelta(days=1)
_WATERMARK: Final = "unused keys"

_Suspect = tuple[WorkspaceId, KeyId, bool]
"""A key, and whether it is to be revoked rather than reported."""


class KeyDisuse:
    """The walk of one server over all keys."""

    def __init__(
        self, database: Database, clock: Clock, on_failure: OnFailure | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)
        self._isolation = Isolation[_Suspect](TASK, clock, on_failure, name=lambda key: key[1])

    @retry_on_conflict
    def run(self) -> int:
        """Continue the walk, which starts again once a day. Returns how many keys were reported or revoked."""
        with self._database.read_across(Purpose.WORKER) as tx:
            before = rows.find_watermark(tx, _WATERMARK)
        # The walk has moved past the keys that failed, so these are tried first.
        total = sum(self._isolation.each(self._isolation.due(), self._act))
        if before is not None and before[0] == "" and self._clock.now() - before[1] < WALK_EVERY:
            return total
        after = before[0] if before else ""
        for _ in range(KEYS_A_RUN // BATCH):
            suspects, after = self._suspects(after)
            total += sum(self._isolation.each(suspects, self._act))
            if not after:
                break
        self._move(before[0] if before else None, after)
        return total

    @retry_on_conflict
    def _suspects(self, after: str) -> tuple[list[_Suspect], str]:
        """Return the keys of the next batch that seem due, and where the walk continues."""
        now = self._clock.now()
        with self._database.read_across(Purpose.WORKER) as tx:
            batch = rows.keys_after(tx, after, BATCH)
            found = policies.find_policies(tx, {key.workspace_id for key in batch})
        suspects = []
        for key in batch:
            days = found.get(key.workspace_id, NO_POLICY).end_unused_days
            since, noted = key.used_at or key.at, Disuse.parse(key.noted)
            ends = is_end_due(since, noted, days, now)
            if ends or due_notice(since, noted, days, now) is not None:
                suspects.append((key.workspace_id, key.key_id, ends))
        return suspects, batch[-1].key_id if len(batch) == BATCH else ""

    @retry_on_conflict
    def _act(self, suspect: _Suspect) -> bool:
        """Judge the key again, and report or revoke it."""
        workspace_id, key_id, ends = suspect
        with self._authorization.changing(
            system(workspace_id), keeps_access=not ends, revokes=ends
        ) as (tx, act):
            key = keys.find_key(tx, workspace_id, key_id)
            if key is None or key.status(act.at) is not KeyStatus.ACTIVE:
                return False
            noted = Disuse.parse(rows.find_mark(tx, workspace_id, key_id, LifecycleKind.UNUSED))
            days = policies.find_layers(tx, workspace_id).effective.end_unused_days
            if ends:
                return _end(tx, key, noted, days, act)
            return _report(tx, key, noted, days, act)

    @retry_on_conflict
    def _move(self, before: str | None, after: str) -> None:
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            rows.move_watermark(tx, _WATERMARK, before, after, self._clock.now())


def _report(
    tx: Tx, key: ApiKey, noted: Disuse | None, days: int | None, act: AuthorizedAct
) -> bool:
    """Record the notice that is due, if any."""
    notice = due_notice(unused_since(key), noted, days, act.at)
    event = None if notice is None else unused_event(key, notice, act.at)
    if event is None or not rows.note_notice(
        tx, key.workspace_id, key.id, event.kind, event.dedup_key, act.at
    ):
        return False
    target = Target("key", key.id)
    events.append_event(tx, key.workspace_id, event.type, act, target, event.data)
    return True


def _end(tx: Tx, key: ApiKey, noted: Disuse | None, days: int | None, act: AuthorizedAct) -> bool:
    """Revoke the key if its announced end has passed without a use."""
    if not is_end_due(unused_since(key), noted, days, act.at):
        return False
    end_key(tx, key, act, reason=REASON)
    return True
