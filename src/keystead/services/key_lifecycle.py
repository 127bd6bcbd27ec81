"""Watching keys: what happened to one without anybody doing anything, written down once, however many servers look.

Ends are found by an index, refusals by another, and disuse by a walk over all keys that takes a day. Each search
remembers how far it has come; that it looks at a little twice, or that two servers look, tells nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    unused_dedup_key,
    unused_event,
)
from keystead.domain.keys import ApiKey
from keystead.domain.principals import system
from keystead.domain.usage import MAX_CALLERS
from keystead.services.authorization import Authorization
from keystead.services.isolation import Isolation, OnFailure, run_all
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import anew
from keystead.storage.tables import events, keys, usage
from keystead.storage.tables import key_lifecycle as rows

LOOKED_AT_ONCE: Final = 500
MOST_AT_ONCE: Final = 5_000
"""How many keys one run of a search tells of at most: the next run goes on."""
OVERLAP: Final = timedelta(minutes=10)
"""How far each search looks back: what was committed late is found all the same."""
WALK_EVERY: Final = timedelta(days=1)

TASK: Final = "watch keys"

Judge = Callable[[Tx, ApiKey, datetime], LifecycleEvent | None]
_Suspect = tuple[WorkspaceId, KeyId, Judge]


class KeyWatch:
    """The searches of one server. `look` is run every minute."""

    def __init__(
        self, database: Database, clock: Clock, on_failure: OnFailure | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)
        self._isolation = Isolation[_Suspect](TASK, clock, on_failure, name=_key_of)

    def look(self) -> int:
        """Writes down what there is to tell of keys by now; how many events that were."""
        return run_all(
            # The searches have moved on from the keys that failed.
            lambda: self._tell_each(self._isolation.due()),
            *(partial(self._look_for_ends, days) for days in (0, *EXPIRING_DAYS)),
            self._look_for_refusals,
            self._walk_for_disuse,
        )

    @anew
    def _look_for_ends(self, days: int) -> int:
        """Keys that have ended, or will in so many days."""
        name, ahead, now = f"ends in {days}", timedelta(days=days), self._clock.now()
        mark, kind = self._mark(name), LifecycleKind.EXPIRING if days else LifecycleKind.EXPIRED
        at, last = _read_mark(mark, now - OVERLAP + ahead)
        told = 0
        while told < MOST_AT_ONCE:
            with self._database.read_across(Purpose.WORKER) as tx:
                found = rows.keys_ending(tx, (at, last), now + ahead, LOOKED_AT_ONCE, kind=kind)
            fresh = [key for key in found if key.told != expiry_dedup_key(key.at, days)]
            told += self._tell_each((key.workspace_id, key.key_id, _judge_end) for key in fresh)
            if len(found) < LOOKED_AT_ONCE:
                at, last = now + ahead - OVERLAP, ""
                break
            at, last = found[-1].at, found[-1].key_id
        self._move(name, mark, f"{to_microseconds(at):020}/{last}")
        return told

    @anew
    def _look_for_refusals(self) -> int:
        """Ended keys that were called lately."""
        name, now = "refusals", self._clock.now()
        mark = self._mark(name)
        at, _ = _read_mark(mark, now - OVERLAP)
        told = 0
        while told < MOST_AT_ONCE:
            with self._database.read_across(Purpose.WORKER) as tx:
                found = rows.keys_refused(tx, at, LOOKED_AT_ONCE)
            today = refusal_dedup_key(now)
            fresh = {(each.workspace_id, each.key_id) for each in found if each.told != today}
            told += self._tell_each((*key, _judge_refusal) for key in sorted(fresh))
            if len(found) < LOOKED_AT_ONCE:
                at = now - OVERLAP
                break
            at = found[-1].at
        self._move(name, mark, f"{to_microseconds(at):020}")
        return told

    @anew
    def _walk_for_disuse(self) -> int:
        """The next stretch of a walk over all keys, which begins anew once a day."""
        name, now, told = "disuse", self._clock.now(), 0
        with self._database.read_across(Purpose.WORKER) as tx:
            before = rows.find_watermark(tx, name)
        if before is not None and before[0] == "" and now - before[1] < WALK_EVERY:
            return 0
        after = before[0] if before else ""
        for _ in range(MOST_AT_ONCE // LOOKED_AT_ONCE):
            with self._database.read_across(Purpose.WORKER) as tx:
                found = rows.keys_after(tx, after, LOOKED_AT_ONCE)
            told += self._tell_each(
                (each.workspace_id, each.key_id, _judge_disuse)
                for each in found
                if unused_dedup_key(each.at, each.used_at, now) not in (None, each.told)
            )
            after = found[-1].key_id if len(found) == LOOKED_AT_ONCE else ""
            if not after:
                break
        self._move(name, before[0] if before else None, after)
        return told

    def _tell_each(self, suspects: Iterable[_Suspect]) -> int:
        return sum(self._isolation.each(suspects, self._tell))

    @anew
    def _tell(self, suspect: _Suspect) -> bool:
        """Looks at the key under its workspace's lock, and tells what there is to tell; whether there was anything."""
        workspace_id, key_id, judge = suspect
        with self._authorization.changing(system(workspace_id)) as (tx, _, act):
            now = act.at
            key = keys.find_key(tx, workspace_id, key_id)
            notice = None if key is None else judge(tx, key, now)
            if notice is None or not rows.note_notice(
                tx, workspace_id, key_id, notice.kind, notice.dedup_key, now
            ):
                return False
            target = Target("key", key_id)
            events.append_event(tx, workspace_id, notice.type, act, target, notice.data)
            return True

    @anew
    def _mark(self, name: str) -> str | None:
        with self._database.read_across(Purpose.WORKER) as tx:
            found = rows.find_watermark(tx, name)
        return None if found is None else found[0]

    @anew
    def _move(self, name: str, before: str | None, mark: str) -> None:
        with self._database.write_across(Purpose.WORKER) as tx:
            rows.move_watermark(tx, name, before, mark, self._clock.now())


def _read_mark(mark: str | None, latest: datetime) -> tuple[datetime, str]:
    """Where a search goes on: at `latest` where it begins, or where the clock was once ahead."""
    at, _, last = (mark or "").partition("/")
    found = from_microseconds(int(at)) if at else latest
    return (found, last) if found <= latest else (latest, "")


def _key_of(suspect: _Suspect) -> str:
    return suspect[1]


def _judge_end(_: Tx, key: ApiKey, now: datetime) -> LifecycleEvent | None:
    return expiry_event(key, now)


def _judge_disuse(_: Tx, key: ApiKey, now: datetime) -> LifecycleEvent | None:
    return unused_event(key, now)


def _judge_refusal(tx: Tx, key: ApiKey, now: datetime) -> LifecycleEvent | None:
    callers = usage.callers_of(tx, key.workspace_id, key.id, MAX_CALLERS)
    return refusal_event(key, callers, now)
