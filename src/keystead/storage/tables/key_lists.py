"""Lists of keys for people: filtered, ordered and counted. Every statement names the workspace."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    and_,
    case,
    func,
    literal,
    not_,
    or_,
    select,
    type_coerce,
)

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.key_hygiene import RECENT_USE, UNUSED_AFTER, HygieneFinding
from keystead.domain.key_lists import (
    COUNTED_KEYS,
    EXAMINED_KEYS,
    AccessKind,
    KeyCounts,
    KeyFilter,
    KeyOrder,
    LastUse,
)
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.scopes import EVERYTHING, READ_ONLY, Scopes
from keystead.storage.database import Tx
from keystead.storage.schema.columns import by_age
from keystead.storage.schema.tables import api_keys, key_use
from keystead.storage.tables.keys import _counts, _has_finding, _has_status, _matches

_KEYS: Final = api_keys.c
_WITH_USE: Final = api_keys.outerjoin(key_use, key_use.c.key_id == _KEYS.id)
_NEVER: Final = 2**62
"""Later than every expiry, in microseconds."""
_USED_AT: Final = func.coalesce(type_coerce(key_use.c.last_used_at, BigInteger), 0)
_ENDS_AT: Final = func.coalesce(type_coerce(_KEYS.expires_at, BigInteger), _NEVER)
_CREATED_AT: Final = type_coerce(_KEYS.created_at, BigInteger)
_ORDERS: Final = {
    None: (_CREATED_AT, True),
    KeyOrder.OLDEST: (_CREATED_AT, False),
    KeyOrder.LEAST_USED: (_USED_AT, False),
    KeyOrder.LAST_USED: (_USED_AT, True),
    KeyOrder.EXPIRES_FIRST: (_ENDS_AT, False),
    KeyOrder.EXPIRES_LAST: (_ENDS_AT, True),
}
"""The value that orders, and whether the highest comes first."""
_IS_FULL: Final = type_coerce(_KEYS.scopes, Text).contains(EVERYTHING, autoescape=True)
_IS_READ_ONLY: Final = _KEYS.scopes == Scopes(READ_ONLY)
_HAS_ACCESS: Final = {
    AccessKind.FULL: _IS_FULL,
    AccessKind.READ_ONLY: _IS_READ_ONLY,
    AccessKind.CUSTOM: and_(not_(_IS_FULL), not_(_IS_READ_ONLY)),
}


def ordered_ids(
    tx: Tx,
    workspace_id: WorkspaceId,
    wanted: KeyFilter,
    now: datetime,
    limit: int,
    after: tuple[int, KeyId] | None,
) -> list[tuple[int, KeyId]]:
    """Return at most `limit` keys after a position: the value that orders them, and their ids.

    Only the newest EXAMINED_KEYS of the statuses are examined.
    """
    value, descending = _ORDERS[wanted.order]
    statuses = or_(*(_has_status(status, now) for status in wanted.statuses))
    examined = (
        select(_KEYS.id)
        .where(_KEYS.workspace_id == workspace_id, statuses)
        .order_by(by_age(tx, _KEYS.id).desc())
        .limit(EXAMINED_KEYS)
    )
    keys = (
        select(value, _KEYS.id)
        .select_from(_WITH_USE)
        .where(
            _KEYS.workspace_id == workspace_id, _KEYS.id.in_(examined), *_conditions(wanted, now)
        )
    )
    if after is not None:
        last, id = literal(after[0], BigInteger), literal(after[1], Text)
        beyond = value < last if descending else value > last
        keys = keys.where(
            or_(beyond, and_(value == last, _KEYS.id < id if descending else _KEYS.id > id))
        )
    order = (value.desc(), _KEYS.id.desc()) if descending else (value, _KEYS.id)
    return [(row[0], row[1]) for row in tx.execute(keys.order_by(*order).limit(limit)).all()]


def count_keys(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> KeyCounts:
    """Return how many keys each tab and each review has. Examines at most as many as are counted."""
    unrevoked = (
        select(_KEYS.id)
        .where(_KEYS.workspace_id == workspace_id, _KEYS.revoked_at.is_(None))
        .limit(COUNTED_KEYS + 1)
    )
    revoked = (
        select(_KEYS.id)
        .where(_KEYS.workspace_id == workspace_id, _KEYS.revoked_at.is_not(None))
        .limit(COUNTED_KEYS + 1)
    )
    is_expired = _KEYS.expires_at <= now
    counted = [
        func.count(case((and_(_counts(now), _has_finding(finding, now)), 1)))
        for finding in HygieneFinding
    ]
    query = (
        select(
            func.count(),
            func.count(case((is_expired, 1))),
            select(func.count()).select_from(revoked.subquery()).scalar_subquery(),
            *counted,
        )
        .select_from(_WITH_USE)
        .where(_KEYS.workspace_id == workspace_id, _KEYS.id.in_(unrevoked))
    )
    unrevoked_count, expired, revoked_count, *findings = tx.execute(query).one()
    found = {f: n for f, n in zip(HygieneFinding, findings, strict=True) if n}
    return KeyCounts(unrevoked_count - expired, expired, revoked_count, found)


def creators(tx: Tx, workspace_id: WorkspaceId) -> list[Actor]:
    """Return who created the newest keys of the workspace, by name."""
    newest = (
        select(_KEYS.created_by_kind, _KEYS.created_by_id, _KEYS.created_by_name)
        .where(_KEYS.workspace_id == workspace_id)
        .order_by(by_age(tx, _KEYS.id).desc())
        .limit(EXAMINED_KEYS)
        .subquery()
    )
    by_id = {
        row[1]: Actor(PrincipalKind(row[0]), row[1], row[2])
        for row in tx.execute(select(newest).distinct())
    }
    return sorted(by_id.values(), key=lambda actor: actor.name.casefold())


def _conditions(wanted: KeyFilter, now: datetime) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.query:
        conditions.append(_matches(wanted.query))
    if wanted.finding is not None:
        conditions += [_counts(now), _has_finding(wanted.finding, now)]
    if wanted.creator:
        conditions.append(_KEYS.created_by_id == wanted.creator)
    if wanted.access is not None:
        conditions.append(_HAS_ACCESS[wanted.access])
    match wanted.last_use:
        case LastUse.NEVER:
            conditions.append(key_use.c.last_used_at.is_(None))
        case LastUse.DAY:
            conditions.append(key_use.c.last_used_at > now - RECENT_USE)
        case LastUse.UNUSED:
            since = func.coalesce(key_use.c.last_used_at, _KEYS.created_at)
            conditions.append(since <= now - UNUSED_AFTER)
        case None:
            pass
    return conditions
