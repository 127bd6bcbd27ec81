"""The scans for lifecycle events of keys: what they read, how far they are, and the last event of each key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, literal_column, or_, select, update

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.key_lifecycle import LifecycleKind
from keystead.storage.database import Tx
from keystead.storage.schema.columns import upsert
from keystead.storage.schema.tables import (
    api_keys,
    key_callers,
    key_lifecycle_marks,
    key_use,
    watermarks,
)

_ENDED: Final = key_callers.c.reason.in_([literal_column("'expired'"), literal_column("'revoked'")])
"""Literals, as in the partial index `key_callers_refused`, which contains these reasons only."""


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
    row = tx.execute(select(watermarks).where(watermarks.c.name == name)).first()
    return None if row is None else (row.mark, row.moved_at)


def move_watermark(tx: Tx, name: str, before: str | None, mark: str, now: datetime) -> bool:
    """Move it from `before` (None: it doesn't exist). Returns False if another server has moved it."""
    if before is None:
        row = {"name": name, "mark": mark, "moved_at": now}
        created = upsert(tx, watermarks).on_conflict_do_nothing().returning(watermarks.c.name)
        return tx.execute(created, row).first() is not None
    moved = update(watermarks).where(watermarks.c.name == name, watermarks.c.mark == before)
    return tx.execute(moved.values(mark=mark, moved_at=now)).rowcount == 1


def keys_ending(
    tx: Tx, after: tuple[datetime, str], until: datetime, limit: int, *, kind: LifecycleKind
) -> list[Candidate]:
    """Return at most `limit` keys that expire after the position `after` (time and key id), up to `until`.

    In keyset order by time and id, since many keys may expire at the same time.
    """
    query = (
        select(
            api_keys.c.workspace_id,
            api_keys.c.id,
            api_keys.c.expires_at,
            key_lifecycle_marks.c.mark,
        )
        .outerjoin(key_lifecycle_marks, _note_on(api_keys.c.workspace_id, api_keys.c.id, kind))
        .where(
            api_keys.c.revoked_at.is_(None),
            api_keys.c.expires_at >= after[0],
            api_keys.c.expires_at <= until,
            or_(api_keys.c.expires_at > after[0], api_keys.c.id > after[1]),
        )
        .order_by(api_keys.c.expires_at, api_keys.c.id)
        .limit(limit)
    )
    return [
        Candidate(row.workspace_id, row.id, row.expires_at, noted=row.mark)
        for row in tx.execute(query)
    ]


def keys_after(tx: Tx, after: str, limit: int) -> list[Candidate]:
    """Return at most `limit` keys with an id above `after`, inactive ones too, with last use and last mark."""
    query = (
        select(
            api_keys.c.workspace_id,
            api_keys.c.id,
            api_keys.c.created_at,
            key_use.c.last_used_at,
            key_lifecycle_marks.c.mark,
        )
        .outerjoin(key_use, key_use.c.key_id == api_keys.c.id)
        .outerjoin(
            key_lifecycle_marks,
            _note_on(api_keys.c.workspace_id, api_keys.c.id, LifecycleKind.UNUSED),
        )
        .where(api_keys.c.id > after)
        .order_by(api_keys.c.id)
        .limit(limit)
    )
    return [
        Candidate(row.workspace_id, row.id, row.created_at, row.last_used_at, row.mark)
        for row in tx.execute(query)
    ]


def keys_refused(tx: Tx, after: datetime, limit: int) -> list[Candidate]:
    """Return at most `limit` refused calls with expired or revoked keys after that time, oldest first."""
    query = (
        select(
            key_callers.c.workspace_id,
            key_callers.c.key_id,
            key_callers.c.last_at,
            key_lifecycle_marks.c.mark,
        )
        .outerjoin(
            key_lifecycle_marks,
            _note_on(key_callers.c.workspace_id, key_callers.c.key_id, LifecycleKind.REFUSED),
        )
        .where(_ENDED, key_callers.c.last_at > after)
        .order_by(key_callers.c.last_at)
        .limit(limit)
    )
    return [
        Candidate(row.workspace_id, row.key_id, row.last_at, noted=row.mark)
        for row in tx.execute(query)
    ]


def _note_on(
    workspace_id: ColumnElement[Any], key_id: ColumnElement[Any], kind: LifecycleKind
) -> ColumnElement[bool]:
    return and_(
        key_lifecycle_marks.c.workspace_id == workspace_id,
        key_lifecycle_marks.c.key_id == key_id,
        key_lifecycle_marks.c.kind == kind,
    )


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
    fresh = upsert(tx, key_lifecycle_marks).values(row)
    noted = fresh.on_conflict_do_update(
        index_elements=[key_lifecycle_marks.c[name] for name in ("workspace_id", "key_id", "kind")],
        set_={"mark": fresh.excluded.mark, "at": fresh.excluded.at},
        where=key_lifecycle_marks.c.mark != fresh.excluded.mark,
    ).returning(key_lifecycle_marks.c.mark)
    return tx.execute(noted).first() is not None
