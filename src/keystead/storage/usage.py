"""The use of keys in rows: last use and uses per day, forward-only, in tables that hold no key state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import EPOCH
from keystead.domain.usage import UseTally
from keystead.storage.database import Tx
from keystead.storage.schema import key_use, key_use_days


def record_use(tx: Tx, tallies: Mapping[KeyId, UseTally]) -> None:
    """Adds what was noted in memory, in the order of the ids, so that two servers never wait in a circle."""
    ordered = [tallies[key_id] for key_id in sorted(tallies)]
    tx.execute(_forward_only(tx), [_last_use_row(tally) for tally in ordered])
    tx.execute(_added_up(tx), [row for tally in ordered for row in _day_rows(tally)])


def uses_per_day(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, since: date) -> dict[date, int]:
    """How often the key was used on each day (UTC) from `since` on; days without use are absent."""
    query = select(key_use_days.c.day, key_use_days.c.uses).where(
        key_use_days.c.workspace_id == workspace_id,
        key_use_days.c.key_id == key_id,
        key_use_days.c.day >= _day_number(since),
    )
    first = EPOCH.date().toordinal()
    return {date.fromordinal(first + row.day): row.uses for row in tx.execute(query)}


def _insert(tx: Tx, table: Any) -> Any:
    dialect = sqlite if tx.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def _forward_only(tx: Tx) -> Any:
    fresh = _insert(tx, key_use)
    new = fresh.excluded
    return fresh.on_conflict_do_update(
        index_elements=[key_use.c.key_id],
        set_={name: new[name] for name in ("last_used_at", "last_used_ip", "last_used_agent")},
        where=new.last_used_at > key_use.c.last_used_at,
    )


def _added_up(tx: Tx) -> Any:
    fresh = _insert(tx, key_use_days)
    return fresh.on_conflict_do_update(
        index_elements=[key_use_days.c.key_id, key_use_days.c.day],
        set_={"uses": key_use_days.c.uses + fresh.excluded.uses},
    )


def _last_use_row(tally: UseTally) -> dict[str, Any]:
    return {
        "key_id": tally.key_id,
        "workspace_id": tally.workspace_id,
        "last_used_at": tally.last.at,
        "last_used_ip": tally.last.address,
        "last_used_agent": tally.last.agent,
    }


def _day_rows(tally: UseTally) -> list[dict[str, Any]]:
    return [
        {"key_id": tally.key_id, "workspace_id": tally.workspace_id, "day": day, "uses": uses}
        for day, uses in sorted(tally.days.items())
    ]


def _day_number(day: date) -> int:
    return day.toordinal() - EPOCH.date().toordinal()
