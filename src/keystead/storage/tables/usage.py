"""The use of keys: last use, uses per day and callers, in tables apart from the keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Row, Select, case, delete, func, select, tuple_

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import EPOCH
from keystead.domain.usage import CallCount, Caller, KeyCaller, UsageBuffer, printable
from keystead.domain.verification import DenialReason
from keystead.storage.database import Tx
from keystead.storage.schema.columns import upsert
from keystead.storage.schema.tables import key_callers, key_use, key_use_days

SERVED: Final = ""
"""The `reason` of a caller whose key was accepted."""


def record_use(tx: Tx, tallies: Mapping[KeyId, UsageBuffer]) -> None:
    """Add the uses that were noted in memory."""
    # In the order of the ids, so that two servers that flush at the same time cannot deadlock.
    ordered = [tallies[key_id] for key_id in sorted(tallies)]
    _write(tx, _forward_only(tx), [_last_use_row(tally) for tally in ordered if tally.last_at])
    _write(tx, _added_up(tx), [row for tally in ordered for row in _day_rows(tally)])
    _write(tx, _met_again(tx), [row for tally in ordered for row in _caller_rows(tally)])


def uses_per_day(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, since: date) -> dict[date, int]:
    """Return how often the key was used on each day (UTC) from `since` on; days without use are absent."""
    query = select(key_use_days.c.day, key_use_days.c.uses).where(
        key_use_days.c.workspace_id == workspace_id,
        key_use_days.c.key_id == key_id,
        key_use_days.c.day >= _day_number(since),
    )
    first = EPOCH.date().toordinal()
    return {date.fromordinal(first + row.day): row.uses for row in tx.execute(query)}


def callers_of(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, limit: int) -> list[KeyCaller]:
    """Return the callers, latest first: at most `limit` accepted and `limit` refused ones."""
    ranked = _ranked_callers().where(
        key_callers.c.workspace_id == workspace_id, key_callers.c.key_id == key_id
    )
    newest = ranked.subquery()
    query = select(newest).where(newest.c.place <= limit)
    rows = tx.execute(query.order_by(newest.c.last_at.desc(), newest.c.address, newest.c.agent))
    return [_caller(row) for row in rows]


def delete_old_callers(tx: Tx, key_ids: Collection[KeyId], kept: int) -> int:
    """Delete all but the `kept` latest accepted, and as many refused, callers of each key. Returns how many."""
    among = key_callers.c.key_id.in_(key_ids)
    ranked = _ranked_callers().where(among).subquery()
    identity = ("key_id", "reason", "address", "agent")
    old = select(*(ranked.c[name] for name in identity)).where(ranked.c.place > kept)
    is_old = tuple_(*(key_callers.c[name] for name in identity)).in_(old)
    return tx.execute(delete(key_callers).where(among, is_old)).rowcount


def _ranked_callers() -> Select[Any]:
    served = case((key_callers.c.reason == SERVED, 1), else_=0)
    newest_first = (key_callers.c.last_at.desc(), key_callers.c.address, key_callers.c.agent)
    place = func.row_number().over(
        partition_by=(key_callers.c.key_id, served), order_by=newest_first
    )
    return select(key_callers, place.label("place"))


def _caller(row: Row[Any]) -> KeyCaller:
    reason = None if row.reason == SERVED else DenialReason(row.reason)
    return KeyCaller(Caller(reason, row.address, row.agent), row.last_at, row.times)


def _write(tx: Tx, statement: Any, rows: list[dict[str, Any]]) -> None:
    """Run the statement for all rows. Times are microseconds since 1970."""
    # On the raw driver: it halves the time of a flush, which competes with verifications.
    if rows:
        compiled = statement.compile(dialect=tx.dialect, column_keys=list(rows[0]))
        order = compiled.positiontup
        values: Any = rows if order is None else list(map(itemgetter(*order), rows))
        tx.exec_driver_sql(str(compiled), values)


def _forward_only(tx: Tx) -> Any:
    fresh = upsert(tx, key_use)
    new = fresh.excluded
    return fresh.on_conflict_do_update(
        index_elements=[key_use.c.key_id],
        set_={name: new[name] for name in ("last_used_at", "last_used_ip", "last_used_agent")},
        where=new.last_used_at > key_use.c.last_used_at,
    )


def _added_up(tx: Tx) -> Any:
    fresh = upsert(tx, key_use_days)
    return fresh.on_conflict_do_update(
        index_elements=[key_use_days.c.key_id, key_use_days.c.day],
        set_={"uses": key_use_days.c.uses + fresh.excluded.uses},
    )


def _met_again(tx: Tx) -> Any:
    fresh = upsert(tx, key_callers)
    new = fresh.excluded
    later = case((new.last_at > key_callers.c.last_at, new.last_at), else_=key_callers.c.last_at)
    identity = [key_callers.c[name] for name in ("key_id", "reason", "address", "agent")]
    return fresh.on_conflict_do_update(
        index_elements=identity,
        set_={"last_at": later, "times": key_callers.c.times + new.times},
    )


def _last_use_row(tally: UsageBuffer) -> dict[str, Any]:
    return {
        "key_id": tally.key_id,
        "workspace_id": tally.workspace_id,
        "last_used_at": tally.last_at,
        "last_used_ip": printable(tally.address),
        "last_used_agent": printable(tally.agent),
    }


def _day_rows(tally: UsageBuffer) -> list[dict[str, Any]]:
    return [
        {"key_id": tally.key_id, "workspace_id": tally.workspace_id, "day": day, "uses": uses}
        for day, uses in sorted(tally.days.items())
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


def _day_number(day: date) -> int:
    return day.toordinal() - EPOCH.date().toordinal()
