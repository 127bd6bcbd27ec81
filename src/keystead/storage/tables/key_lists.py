"""Lists of keys for people: filtered, ordered and counted. Every statement names the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Text,
    and_,
    bindparam,
    func,
    not_,
    or_,
    select,
    type_coerce,
)

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.key_hygiene import RECENT_USE
from keystead.domain.key_lists import (
    COUNTED_KEYS,
    EXAMINED_KEYS,
    AccessKind,
    KeyFilter,
    KeyOrder,
    LastUse,
)
from keystead.domain.policies import Policy
from keystead.domain.principals import Actor
from keystead.domain.scopes import EVERYTHING, ScopeCatalog
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import LIMIT, actor_of, age
from keystead.storage.schema.tables import api_keys, key_use
from keystead.storage.tables.key_conditions import (
    COUNTS,
    HAS_FINDING,
    HAS_STATUS,
    MATCHES,
    values_at,
    values_of,
    values_of_policy,
)

_KEYS: Final = api_keys.c
_OF_WORKSPACE: Final = _KEYS.workspace_id == bindparam("workspace")
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
_IS_READ_ONLY: Final = type_coerce(_KEYS.scopes, Text).in_(
    [str(ScopeCatalog(has_documents=has).read_only) for has in (True, False)]
)
_HAS_ACCESS: Final = {
    AccessKind.FULL: _IS_FULL,
    AccessKind.READ_ONLY: _IS_READ_ONLY,
    AccessKind.CUSTOM: and_(not_(_IS_FULL), not_(_IS_READ_ONLY)),
}
_UNREVOKED: Final = _KEYS.revoked_at.is_(None)
"""Active or expired: the only statuses that are listed together."""
_HAS_USE: Final = {
    LastUse.NEVER: key_use.c.last_used_at.is_(None),
    LastUse.DAY: key_use.c.last_used_at > bindparam("recent"),
    LastUse.UNUSED: func.coalesce(key_use.c.last_used_at, _KEYS.created_at)
    <= bindparam("unused_since"),
}


def _number(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    """Select how many keys there are, of at most one more than are counted."""
    keys = select(_KEYS.id).where(_OF_WORKSPACE, *conditions).limit(COUNTED_KEYS + 1)
    return select(func.count()).select_from(keys.subquery()).scalar_subquery()


_IS_ROTATED: Final = and_(_KEYS.revoked_at.is_(None), _KEYS.rotated_to.is_not(None))
_COUNTS: Final = Query(
    select(
        _number(_IS_ROTATED, _KEYS.expires_at > bindparam("now")),
        _number(_IS_ROTATED, _KEYS.expires_at.is_(None)),
        _number(_IS_ROTATED, _KEYS.expires_at <= bindparam("now")),
        _number(
            _KEYS.revoked_at.is_(None),
            _KEYS.rotated_to.is_(None),
            _KEYS.expires_at <= bindparam("now"),
        ),
        _number(_KEYS.revoked_at.is_not(None)),
    )
)
"""Each from an index of its own, so that keys of one kind cost nothing when those of another are counted."""
_NEWEST: Final = (
    select(_KEYS.created_by_kind, _KEYS.created_by_id, _KEYS.created_by_name)
    .where(_OF_WORKSPACE)
    .order_by(age(_KEYS.id).desc())
    .limit(EXAMINED_KEYS)
    .subquery()
)
_CREATORS: Final = Query(select(_NEWEST).distinct())


def ordered_ids(
    tx: Tx,
    workspace_id: WorkspaceId,
    wanted: KeyFilter,
    policy: Policy,
    now: datetime,
    limit: int,
    after: tuple[int, KeyId] | None,
) -> list[tuple[int, KeyId]]:
    """Return at most `limit` keys after a position: the value that orders them, and their ids.

    Only the newest EXAMINED_KEYS of the statuses are examined.
    """
    last, id = after or (None, None)
    values: Mapping[str, Any] = {
        "workspace": workspace_id,
        "creator": wanted.creator,
        "recent": now - RECENT_USE,
        "last": last,
        "id": id,
        "limit": limit,
        **values_at(now),
        **values_of_policy(policy),
        **values_of(wanted.query),
    }
    ids = _ordered(_shape_of(wanted), after is not None).all(tx, values)
    return [(value, key_id) for value, key_id in ids]


def count_ended(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> tuple[int, int, int]:
    """Return how many keys are in an overlap, expired and revoked: at most one more than COUNTED_KEYS of each."""
    row = _COUNTS.first(tx, {"workspace": workspace_id, "now": now})
    assert row is not None  # noqa: S101 - a row of counts, whatever there is
    overlapping, endless, expired_rotated, expired, revoked = row
    return min(overlapping + endless, COUNTED_KEYS + 1), expired_rotated + expired, revoked


def creators(tx: Tx, workspace_id: WorkspaceId) -> list[Actor]:
    """Return who created the newest keys of the workspace, by name."""
    rows = _CREATORS.all(tx, {"workspace": workspace_id})
    by_id = {row[1]: actor_of(*row) for row in rows}
    return sorted(by_id.values(), key=lambda actor: actor.name.casefold())


def _shape_of(wanted: KeyFilter) -> KeyFilter:
    """Return the filter without the texts that people typed: those are values of the statement."""
    return replace(wanted, query="?" if wanted.query else "", creator="?" if wanted.creator else "")


@cache
def _ordered(shape: KeyFilter, is_continued: bool) -> Query:
    """Return the query of a list: one constant for each shape of a filter."""
    value, descending = _ORDERS[shape.order]
    statuses = _UNREVOKED if len(shape.statuses) > 1 else HAS_STATUS[shape.statuses[0]]
    examined = (
        select(_KEYS.id)
        .where(_OF_WORKSPACE, statuses)
        .order_by(age(_KEYS.id).desc())
        .limit(EXAMINED_KEYS)
    )
    keys = (
        select(value, _KEYS.id)
        .select_from(api_keys.outerjoin(key_use, key_use.c.key_id == _KEYS.id))
        .where(_OF_WORKSPACE, _KEYS.id.in_(examined), *_conditions(shape))
    )
    if is_continued:
        last, id = bindparam("last", type_=BigInteger), bindparam("id", type_=Text)
        beyond = value < last if descending else value > last
        after = _KEYS.id < id if descending else _KEYS.id > id
        keys = keys.where(or_(beyond, and_(value == last, after)))
    order = (value.desc(), _KEYS.id.desc()) if descending else (value, _KEYS.id)
    return Query(keys.order_by(*order).limit(LIMIT))


def _conditions(shape: KeyFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if shape.query:
        conditions.append(MATCHES)
    if shape.finding is not None:
        conditions += [COUNTS, HAS_FINDING[shape.finding]]
    if shape.creator:
        conditions.append(_KEYS.created_by_id == bindparam("creator"))
    if shape.access is not None:
        conditions.append(_HAS_ACCESS[shape.access])
    if shape.last_use is not None:
        conditions.append(_HAS_USE[shape.last_use])
    return conditions
