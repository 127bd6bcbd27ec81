"""The scans for lifecycle events of keys: what they read, how far they are, and the last event of each key."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
    update,
)

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import to_microseconds
from keystead.domain.key_lifecycle import LifecycleKind
from keystead.domain.rotations import QUIET_MARGIN
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import LIMIT, Instant, upsert
from keystead.storage.schema.tables import (
    api_keys,
    key_callers,
    key_lifecycle_marks,
    key_use,
    watermarks,
)

_ENDED: Final = key_callers.c.reason.in_([literal_column("'expired'"), literal_column("'revoked'")])
"""Literals, as in the partial index `key_callers_refused`, which contains these reasons only."""


def _is_mark_of(
    workspace_id: ColumnElement[Any], key_id: ColumnElement[Any]
) -> ColumnElement[bool]:
    return and_(
        key_lifecycle_marks.c.workspace_id == workspace_id,
        key_lifecycle_marks.c.key_id == key_id,
        key_lifecycle_marks.c.kind == bindparam("kind"),
    )


_ENDING: Final = Query(
    select(
        api_keys.c.workspace_id, api_keys.c.id, api_keys.c.expires_at, key_lifecycle_marks.c.mark
    )
    .outerjoin(key_lifecycle_marks, _is_mark_of(api_keys.c.workspace_id, api_keys.c.id))
    .where(
        api_keys.c.revoked_at.is_(None),
        api_keys.c.expires_at >= bindparam("after"),
        api_keys.c.expires_at <= bindparam("until"),
        or_(api_keys.c.expires_at > bindparam("after"), api_keys.c.id > bindparam("after_id")),
    )
    .order_by(api_keys.c.expires_at, api_keys.c.id)
    .limit(LIMIT)
)
_AFTER: Final = Query(
    select(
        api_keys.c.workspace_id,
        api_keys.c.id,
        api_keys.c.created_at,
        key_use.c.last_used_at,
        key_lifecycle_marks.c.mark,
    )
    .outerjoin(key_use, key_use.c.key_id == api_keys.c.id)
    .outerjoin(key_lifecycle_marks, _is_mark_of(api_keys.c.workspace_id, api_keys.c.id))
    .where(api_keys.c.id > bindparam("after"))
    .order_by(api_keys.c.id)
    .limit(LIMIT)
)
_MARK: Final = Query(
    select(key_lifecycle_marks.c.mark).where(
        _is_mark_of(bindparam("workspace"), bindparam("key")),
    )
)
_FORGET_ENDS: Final = delete(key_lifecycle_marks).where(
    key_lifecycle_marks.c.kind == literal_column(f"'{LifecycleKind.UNUSED}'"),
    key_lifecycle_marks.c.mark.like("%/%/%"),
)
_REFUSED: Final = Query(
    select(
        key_callers.c.workspace_id,
        key_callers.c.key_id,
        key_callers.c.last_at,
        key_lifecycle_marks.c.mark,
        key_callers.c.address,
        api_keys.c.rotated_to.is_not(None),
    )
    .join(api_keys, api_keys.c.id == key_callers.c.key_id)
    .outerjoin(key_lifecycle_marks, _is_mark_of(key_callers.c.workspace_id, key_callers.c.key_id))
    .where(_ENDED, key_callers.c.last_at > bindparam("after"))
    .order_by(key_callers.c.last_at)
    .limit(LIMIT)
)
_MARKS: Final = Query(
    select(
        key_lifecycle_marks.c.key_id, key_lifecycle_marks.c.kind, key_lifecycle_marks.c.mark
    ).where(
        key_lifecycle_marks.c.workspace_id.in_(bindparam("workspaces", expanding=True)),
        key_lifecycle_marks.c.key_id.in_(bindparam("keys", expanding=True)),
    )
)
_SUCCESSOR: Final = api_keys.alias("successor")
_SUCCESSOR_USE: Final = key_use.alias("successor_use")
_SILENT_SINCE: Final = (
    bindparam("now", type_=BigInteger)
    - (api_keys.c.quiet_seconds + QUIET_MARGIN // timedelta(seconds=1)) * 1_000_000
)
_SILENT: Final = Query(
    select(api_keys.c.workspace_id, api_keys.c.id)
    .join(_SUCCESSOR, _SUCCESSOR.c.id == api_keys.c.rotated_to)
    .join(_SUCCESSOR_USE, _SUCCESSOR_USE.c.key_id == _SUCCESSOR.c.id)
    .outerjoin(key_use, key_use.c.key_id == api_keys.c.id)
    .where(
        api_keys.c.quiet_seconds.is_not(None),
        api_keys.c.revoked_at.is_(None),
        api_keys.c.id > bindparam("after"),
        type_coerce(api_keys.c.expires_at, BigInteger) > bindparam("now", type_=BigInteger),
        type_coerce(_SUCCESSOR.c.created_at, BigInteger) <= _SILENT_SINCE,
        func.coalesce(type_coerce(key_use.c.last_used_at, BigInteger), 0) <= _SILENT_SINCE,
    )
    .order_by(api_keys.c.id)
    .limit(LIMIT)
)
_WATERMARK: Final = Query(
    select(watermarks.c.mark, watermarks.c.moved_at).where(
        watermarks.c.name == bindparam("of_name")
    )
)
_OLDER_SERVER: Final = Query(
    select(func.max(watermarks.c.moved_at, type_=Instant)).where(
        watermarks.c.name.in_([literal_column("'ends in 0'"), literal_column("'refusals'")])
    )
)
"""The scans of servers whose revision is 0002 or before. Each of them moves them once a minute."""
_CREATE_WATERMARK: Final = upsert(
    watermarks, lambda fresh: fresh.on_conflict_do_nothing().returning(watermarks.c.name)
)
_MOVE_WATERMARK: Final = update(watermarks).where(
    watermarks.c.name == bindparam("of_name"), watermarks.c.mark == bindparam("before")
)
_NOTE: Final = upsert(
    key_lifecycle_marks,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=[key_lifecycle_marks.c[name] for name in ("workspace_id", "key_id", "kind")],
        set_={"mark": fresh.excluded.mark, "at": fresh.excluded.at},
        where=key_lifecycle_marks.c.mark != fresh.excluded.mark,
    ).returning(key_lifecycle_marks.c.mark),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key that may need a lifecycle event: the time it was found by, its last use, and the last mark noted."""

    workspace_id: WorkspaceId
    key_id: KeyId
    at: datetime
    used_at: datetime | None = None
    noted: str | None = None


def find_watermark(tx: Tx, name: str) -> tuple[str, datetime] | None:
    """Return the position of that scan, and when it last moved."""
    row = _WATERMARK.first(tx, {"of_name": name})
    return None if row is None else (row[0], row[1])


def older_server_seen_at(tx: Tx) -> datetime | None:
    """Return when a server that doesn't know this revision's schema last worked; None: never."""
    seen_at: datetime | None = _OLDER_SERVER.scalar(tx)
    return seen_at


def move_watermark(tx: Tx, name: str, before: str | None, mark: str, now: datetime) -> bool:
    """Move it from `before` (None: it doesn't exist). Returns False if another server has moved it."""
    if before is None:
        row = {"name": name, "mark": mark, "moved_at": now}
        return tx.execute(_CREATE_WATERMARK[tx.dialect.name], row).first() is not None
    moved = {"of_name": name, "before": before, "mark": mark, "moved_at": now}
    return tx.execute(_MOVE_WATERMARK, moved).rowcount == 1


def keys_ending(
    tx: Tx, after: tuple[datetime, str], until: datetime, limit: int, *, kind: LifecycleKind
) -> list[Candidate]:
    """Return at most `limit` keys that expire after the position `after` (time and key id), up to `until`.

    In keyset order by time and id, since many keys may expire at the same time.
    """
    values = {"after": after[0], "after_id": after[1], "until": until, "kind": kind, "limit": limit}
    rows = _ENDING.all(tx, values)
    return [Candidate(workspace_id, id, at, noted=mark) for workspace_id, id, at, mark in rows]


def keys_after(tx: Tx, after: str, limit: int) -> list[Candidate]:
    """Return at most `limit` keys with an id above `after`, inactive ones too, with last use and last mark."""
    values = {"after": after, "kind": LifecycleKind.UNUSED, "limit": limit}
    return [Candidate(*row) for row in _AFTER.all(tx, values)]


def find_mark(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, kind: LifecycleKind) -> str | None:
    """Return the mark of the last lifecycle event of that kind."""
    mark: str | None = _MARK.scalar(tx, {"workspace": workspace_id, "key": key_id, "kind": kind})
    return mark


def forget_announced_ends(tx: Tx) -> None:
    """Forget each notice of unused keys that named their end, so that it is given again."""
    tx.execute(_FORGET_ENDS)


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A refused call with an ended key: its time, the last refusal noted of the key, and where it came from."""

    workspace_id: WorkspaceId
    key_id: KeyId
    at: datetime
    noted: str | None
    address: str
    is_rotated: bool


def keys_refused(tx: Tx, after: datetime, limit: int) -> list[RefusedCall]:
    """Return at most `limit` refused calls with expired or revoked keys after that time, oldest first."""
    values = {"after": after, "kind": LifecycleKind.REFUSED, "limit": limit}
    return [RefusedCall(*row) for row in _REFUSED.all(tx, values)]


def last_marks(tx: Tx, keys: Collection[tuple[WorkspaceId, KeyId]]) -> dict[tuple[KeyId, str], str]:
    """Return the last marks of these keys by their kinds."""
    workspaces, ids = {workspace_id for workspace_id, _ in keys}, [key_id for _, key_id in keys]
    rows = _MARKS.all(tx, {"workspaces": list(workspaces), "keys": ids}) if keys else []
    return {(key_id, kind): mark for key_id, kind, mark in rows}


def silent_keys(tx: Tx, after: str, now: datetime, limit: int) -> list[tuple[WorkspaceId, KeyId]]:
    """Return at most `limit` rotated keys with an id above `after` that end now, for they are silent."""
    values = {"after": after, "now": to_microseconds(now), "limit": limit}
    return [(workspace_id, key_id) for workspace_id, key_id in _SILENT.all(tx, values)]


def note_notice(
    tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, kind: str, mark: str, at: datetime
) -> bool:
    """Record a lifecycle event of a key. Returns False if its mark was noted before."""
    row = {
        "workspace_id": workspace_id,
        "key_id": key_id,
        "kind": kind,
        "mark": mark,
        "at": at,
    }
    return tx.execute(_NOTE[tx.dialect.name], row).first() is not None
