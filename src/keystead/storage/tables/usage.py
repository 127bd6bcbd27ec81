"""The use of keys: last use, counts by day and hour, and callers, in tables apart from the keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Integer, Table, bindparam, case, delete, func, select, tuple_

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.usage import CallCount, Caller, KeyCaller, UsageBuffer, UseCount, printable
from keystead.domain.verification import DenialReason
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import LIMIT, upsert
from keystead.storage.schema.tables import (
    api_keys,
    key_callers,
    key_use,
    key_use_days,
    key_use_hours,
)

_LOOKED_UP: Final = 1_000
"""Keys that one statement looks up. SQLite takes 32,766 values."""
SERVED: Final = ""
"""The `reason` of a caller whose key was accepted."""


def _sums(counts: Table, fresh: Any) -> dict[str, Any]:
    return {name: counts.c[name] + fresh.excluded[name] for name in ("uses", "refused")}


_CALLERS: Final = key_callers.c
_IDENTITY: Final = (_CALLERS.key_id, _CALLERS.reason, _CALLERS.address, _CALLERS.agent)
_FORWARD_ONLY: Final = upsert(
    key_use,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=[key_use.c.key_id],
        set_={
            name: fresh.excluded[name]
            for name in ("last_used_at", "last_used_ip", "last_used_agent")
        },
        where=fresh.excluded.last_used_at > key_use.c.last_used_at,
    ),
)
_ADDED_UP: Final = upsert(
    key_use_days,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=[key_use_days.c.key_id, key_use_days.c.day],
        set_=_sums(key_use_days, fresh),
    ),
)
_ADDED_UP_BY_HOUR: Final = upsert(
    key_use_hours,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=[key_use_hours.c.key_id, key_use_hours.c.hour],
        set_=_sums(key_use_hours, fresh),
    ),
)
_MET_AGAIN: Final = upsert(
    key_callers,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=list(_IDENTITY),
        set_={
            "last_at": case(
                (fresh.excluded.last_at > _CALLERS.last_at, fresh.excluded.last_at),
                else_=_CALLERS.last_at,
            ),
            "times": _CALLERS.times + fresh.excluded.times,
        },
    ),
)
_EXISTING: Final = Query(
    select(api_keys.c.id).where(api_keys.c.id.in_(bindparam("keys", expanding=True)))
)
_RANKED: Final = select(
    *_IDENTITY,
    _CALLERS.last_at,
    _CALLERS.times,
    func.row_number()
    .over(
        partition_by=(_CALLERS.key_id, case((_CALLERS.reason == SERVED, 1), else_=0)),
        order_by=(_CALLERS.last_at.desc(), _CALLERS.address, _CALLERS.agent),
    )
    .label("place"),
)
_OF_KEY: Final = _RANKED.where(
    _CALLERS.workspace_id == bindparam("workspace"), _CALLERS.key_id == bindparam("key")
).subquery()
_NEWEST: Final = Query(
    select(_OF_KEY.c.reason, _OF_KEY.c.address, _OF_KEY.c.agent, _OF_KEY.c.last_at, _OF_KEY.c.times)
    .where(_OF_KEY.c.place <= LIMIT)
    .order_by(_OF_KEY.c.last_at.desc(), _OF_KEY.c.address, _OF_KEY.c.agent)
)
_IS_AMONG: Final = _CALLERS.key_id.in_(bindparam("keys", expanding=True))
_OF_KEYS: Final = _RANKED.where(_IS_AMONG).subquery()
_DELETE_OLD: Final = delete(key_callers).where(
    _IS_AMONG,
    tuple_(*_IDENTITY).in_(
        select(*(_OF_KEYS.c[column.name] for column in _IDENTITY)).where(
            _OF_KEYS.c.place > bindparam("kept", type_=Integer)
        )
    ),
)


def record_use(tx: Tx, tallies: Mapping[KeyId, UsageBuffer]) -> None:
    """Add the uses that were noted in memory."""
    # In the order of the ids, so that two servers that flush at the same time cannot deadlock.
    ordered = [tallies[key_id] for key_id in sorted(tallies)]
    _write(tx, _FORWARD_ONLY, [_last_use_row(tally) for tally in ordered if tally.last_at])
    _write(tx, _ADDED_UP, [row for tally in ordered for row in _rows(tally, "day", tally.days)])
    _write(
        tx,
        _ADDED_UP_BY_HOUR,
        [row for tally in ordered for row in _rows(tally, "hour", tally.hours)],
    )
    _write(tx, _MET_AGAIN, [row for tally in ordered for row in _caller_rows(tally)])


def existing_keys(tx: Tx, key_ids: Sequence[KeyId]) -> set[KeyId]:
    """Return those of the keys that exist."""
    parts = range(0, len(key_ids), _LOOKED_UP)
    return {
        id
        for start in parts
        for id in _EXISTING.scalars(tx, {"keys": list(key_ids[start : start + _LOOKED_UP])})
    }


def callers_of(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, limit: int) -> list[KeyCaller]:
    """Return the callers, latest first: at most `limit` accepted and `limit` refused ones."""
    values = {"workspace": workspace_id, "key": key_id, "limit": limit}
    return [_caller(row) for row in _NEWEST.all(tx, values)]


def delete_old_callers(tx: Tx, key_ids: Collection[KeyId], kept: int) -> int:
    """Delete all but the `kept` latest accepted, and as many refused, callers of each key. Returns how many."""
    return tx.execute(_DELETE_OLD, {"keys": list(key_ids), "kept": kept}).rowcount


def _caller(row: Sequence[Any]) -> KeyCaller:
    reason, address, agent, last_at, times = row
    denial = None if reason == SERVED else DenialReason(reason)
    return KeyCaller(Caller(denial, address, agent), last_at, times)


def _write(tx: Tx, statements: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
    """Run the dialect's statement for all rows. Times are microseconds since 1970."""
    # On the raw driver: it halves the time of a flush, which competes with verifications.
    if rows:
        statement = statements[tx.dialect.name]
        compiled = statement.compile(dialect=tx.dialect, column_keys=list(rows[0]))
        order = compiled.positiontup
        values: Any = rows if order is None else list(map(itemgetter(*order), rows))
        tx.exec_driver_sql(str(compiled), values)


def _last_use_row(tally: UsageBuffer) -> dict[str, Any]:
    return {
        "key_id": tally.key_id,
        "workspace_id": tally.workspace_id,
        "last_used_at": tally.last_at,
        "last_used_ip": printable(tally.address),
        "last_used_agent": printable(tally.agent),
    }


def _rows(tally: UsageBuffer, unit: str, counts: Mapping[int, UseCount]) -> list[dict[str, Any]]:
    return [
        {
            "key_id": tally.key_id,
            "workspace_id": tally.workspace_id,
            unit: number,
            "uses": count.requests,
            "refused": count.refused,
        }
        for number, count in sorted(counts.items())
    ]


def _caller_rows(tally: UsageBuffer) -> list[dict[str, Any]]:
    return [
        {
            "key_id": tally.key_id,
            "workspace_id": tally.workspace_id,
            "reason": caller.reason or SERVED,
            "address": printable(caller.address),
            "agent": printable(caller.agent),
            "last_at": calls.last_at,
            "times": calls.times,
        }
        for caller, calls in sorted(tally.callers.items(), key=_by_name)
    ]


def _by_name(met: tuple[Caller, CallCount]) -> tuple[str, str, str]:
    caller, _ = met
    return caller.reason or SERVED, caller.address, caller.agent
