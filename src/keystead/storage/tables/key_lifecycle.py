"""The scans for lifecycle events of keys: what they read, how far they are, and the last event of each key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    delete,
    literal_column,
    or_,
    select,
    update,
)

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.key_lifecycle import LifecycleKind
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import LIMIT, upsert
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
    )
    .outerjoin(key_lifecycle_marks, _is_mark_of(key_callers.c.workspace_id, key_callers.c.key_id))
    .where(_ENDED, key_callers.c.last_at > bindparam("after"))
    .order_by(key_callers.c.last_at)
    .limit(LIMIT)
)
_WATERMARK: Final = Query(
    select(watermarks.c.mark, watermarks.c.moved_at).where(
        watermarks.c.name == bindparam("of_name")
    )
)
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


def keys_refused(tx: Tx, after: datetime, limit: int) -> list[Candidate]:
    """Return at most `limit` refused calls with expired or revoked keys after that time, oldest first."""
    values = {"after": after, "kind": LifecycleKind.REFUSED, "limit": limit}
    rows = _REFUSED.all(tx, values)
    return [Candidate(workspace_id, id, at, noted=mark) for workspace_id, id, at, mark in rows]


def note_notice(
    tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, kind: LifecycleKind, mark: str, at: datetime
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
