"""Key events caused by time: expiring, expired, unused, used after its end. Each is written once by any server.

An index finds keys that expire, another one refusals; key_disuse.py finds disuse. Each search stores how far it has
come. Looking twice, or two servers looking at the same key, writes no event twice: the key's
row in `key_lifecycle_marks` says which event was written last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from keystead.domain.events import Target
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import from_microseconds, to_microseconds
from keystead.domain.key_lifecycle import (
    EXPIRING_DAYS,
    LifecycleEvent,
    LifecycleKind,
    expiry_dedup_key,
    expiry_event,
    refusal_dedup_key,
    refusal_event,
    reuse_event,
    reuse_kind,
)
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.principals import system
from keystead.domain.usage import MAX_CALLERS
from keystead.services.authorization import Authorization
from keystead.services.isolation import Isolation, OnFailure, run_all
from keystead.services.key_disuse import KeyDisuse
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events, keys, usage
from keystead.storage.tables import key_lifecycle as rows

TASK: Final = "key_lifecycle"
BATCH: Final = 500
EVENTS_A_RUN: Final = 5_000
"""Events that one run of a search writes at most; the next run goes on."""
OVERLAP: Final = timedelta(minutes=10)
"""How far each search looks back, to find what was committed late."""

Judge = Callable[[Tx, ApiKey, datetime], LifecycleEvent | None]
_Suspect = tuple[WorkspaceId, KeyId, Judge]


class KeyLifecycle:
    """The searches of one server, run every minute."""

    def __init__(
        self, database: Database, clock: Clock, on_failure: OnFailure | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)
        self._disuse = KeyDisuse(database, clock, on_failure)
        self._isolation = Isolation[_Suspect](TASK, clock, on_failure, name=lambda key: key[1])

    def run(self) -> int:
        """Write the events that are due. Returns how many that were."""
        return run_all(
            # The searches have moved past the keys that failed, so these are tried first.
            lambda: self._record_each(self._isolation.due()),
            *(partial(self._search_expiring, days) for days in (0, *EXPIRING_DAYS)),
            self._search_refused,
            self._disuse.run,
        )

    @retry_on_conflict
    def _search_expiring(self, days: int) -> int:
        """Find keys that have expired, or will within so many days."""
        name, ahead, now = f"expiring in {days}", timedelta(days=days), self._clock.now()
        watermark = self._watermark(name)
        kind = LifecycleKind.EXPIRING if days else LifecycleKind.EXPIRED
        at, last = _parse_watermark(watermark, now - OVERLAP + ahead)
        total = 0
        while total < EVENTS_A_RUN:
            with self._database.read_across(Purpose.WORKER) as tx:
                batch = rows.keys_ending(tx, (at, last), now + ahead, BATCH, kind=kind)
            due = [key for key in batch if key.noted != expiry_dedup_key(key.at, days)]
            total += self._record_each((key.workspace_id, key.key_id, _judge_end) for key in due)
            if len(batch) < BATCH:
                at, last = now + ahead - OVERLAP, ""
                break
            at, last = batch[-1].at, batch[-1].key_id
        self._move(name, watermark, f"{to_microseconds(at):020}/{last}")
        return total

    @retry_on_conflict
    def _search_refused(self) -> int:
        """Find ended keys that were used lately."""
        name, now = "refused callers", self._clock.now()
        watermark = self._watermark(name)
        at, _ = _parse_watermark(watermark, now - OVERLAP)
        total = 0
        while total < EVENTS_A_RUN:
            with self._database.read_across(Purpose.WORKER) as tx:
                batch = rows.keys_refused(tx, at, BATCH)
                reused = {(call.workspace_id, call.key_id) for call in batch if call.is_rotated}
                marks = rows.last_marks(tx, reused)
            total += self._record_each(_due_refusals(batch, marks, now))
            if len(batch) < BATCH:
                at = now - OVERLAP
                break
            at = batch[-1].at
        self._move(name, watermark, f"{to_microseconds(at):020}")
        return total

    def _record_each(self, suspects: Iterable[_Suspect]) -> int:
        return sum(self._isolation.each(suspects, self._record))

    @retry_on_conflict
    def _record(self, suspect: _Suspect) -> bool:
        """Judge the key again under its workspace's lock, and write the event that is due, if any."""
        workspace_id, key_id, judge = suspect
        with self._authorization.changing(system(workspace_id), keeps_access=True) as (tx, act):
            key = keys.find_key(tx, workspace_id, key_id)
            event = None if key is None else judge(tx, key, act.at)
            # Another server may have written it since the search: `note_notice` returns False then.
            if event is None or not rows.note_notice(
                tx, workspace_id, key_id, event.kind, event.dedup_key, act.at
            ):
                return False
            target = Target("key", key_id)
            events.append_event(tx, workspace_id, event.type, act, target, event.data)
            return True

    @retry_on_conflict
    def _watermark(self, name: str) -> str | None:
        with self._database.read_across(Purpose.WORKER) as tx:
            row = rows.find_watermark(tx, name)
        return None if row is None else row[0]

    @retry_on_conflict
    def _move(self, name: str, before: str | None, after: str) -> None:
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            rows.move_watermark(tx, name, before, after, self._clock.now())


def _parse_watermark(watermark: str | None, latest: datetime) -> tuple[datetime, str]:
    """Return where a search continues: at `latest` if it begins, or if the clock was ahead when it was written."""
    at, _, last = (watermark or "").partition("/")
    start = from_microseconds(int(at)) if at else latest
    return (start, last) if start <= latest else (latest, "")


def _judge_end(_: Tx, key: ApiKey, now: datetime) -> LifecycleEvent | None:
    return expiry_event(key, now)


def _judge_refusal(tx: Tx, key: ApiKey, now: datetime) -> LifecycleEvent | None:
    callers = usage.callers_of(tx, key.workspace_id, key.id, MAX_CALLERS)
    return refusal_event(key, callers, now)


@dataclass(frozen=True, slots=True)
class _ReuseFrom:
    """Judges that a rotated key was called from this address at that time."""

    address: str
    at: datetime

    def __call__(self, _: Tx, key: ApiKey, now: datetime) -> LifecycleEvent | None:
        is_over = key.rotated_to is not None and key.status(now) is not KeyStatus.ACTIVE
        return reuse_event(key, self.address, self.at) if is_over else None


def _due_refusals(
    calls: Iterable[rows.RefusedCall], marks: Mapping[tuple[KeyId, str], str], now: datetime
) -> list[_Suspect]:
    """Return the keys with an event to write: a refusal a day, and of a rotated key one a day and network."""
    due: dict[tuple[WorkspaceId, KeyId, str], Judge] = {}
    for call in calls:
        if call.is_rotated:
            kind = reuse_kind(call.address)
            judge: Judge = _ReuseFrom(call.address, call.at)
            is_noted = marks.get((call.key_id, kind), "") >= refusal_dedup_key(call.at)
        else:
            kind, judge = LifecycleKind.REFUSED, _judge_refusal
            is_noted = call.noted == refusal_dedup_key(now)
        if not is_noted:
            due.setdefault((call.workspace_id, call.key_id, kind), judge)
    return [(*key[:2], due[key]) for key in sorted(due)]
