"""Pages of a workspace's keys, filtered and sorted. Each part of a list is read along an index.

A position is where a page ended: a key's id, with the value that sorts before it if that isn't the time of creation.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)

from keystead.domain.errors import InvalidCursor
from keystead.domain.ids import KeyId, WorkspaceId, is_id
from keystead.domain.instants import to_microseconds
from keystead.domain.key_lists import ALL_KEYS, KeySelection, KeySort
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.policies import NO_POLICY
from keystead.domain.renewals import NO_END
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import LIMIT, Instant, age
from keystead.storage.schema.tables import api_keys, key_use
from keystead.storage.tables.key_conditions import (
    COUNTS,
    HAS_FINDING,
    HAS_STATUS,
    IS_OUTSIDE,
    MATCHES,
    values_at,
    values_of,
    values_of_policy,
)
from keystead.storage.tables.keys import ALL, key_of

_KEYS: Final = api_keys.c
_ID: Final = bindparam("id", type_=Text)
_LAST: Final = bindparam("last", type_=BigInteger)
_FORBID_SORTING: Final = Query(
    select(
        *(
            func.set_config(name, "off", True)
            for name in ("enable_sort", "enable_seqscan", "enable_bitmapscan")
        )
    )
)


class _Part(Enum):
    """A part of a list that an index gives in order: keys by age, by expiry, by last use, or by age if never used."""

    BY_AGE = "age"
    BY_END = "end"
    BY_USE = "use"
    NEVER_USED = "never used"


_PARTS: Final = {
    KeySort.CREATED_AT: [_Part.BY_AGE],
    KeySort.EXPIRES_AT: [_Part.BY_END],
    KeySort.LAST_USED_AT: [_Part.NEVER_USED, _Part.BY_USE],
}
"""The parts of a list, in ascending order."""
_END: Final = type_coerce(
    case((_KEYS.expires_at.is_(None), literal_column(str(NO_END))), else_=_KEYS.expires_at),
    Instant,
)
"""The expression of the index api_keys_by_end: with a parameter in it, neither engine would recognize it."""
_VALUES: Final[dict[_Part, ColumnElement[Any]]] = {
    _Part.BY_END: _END,
    _Part.BY_USE: key_use.c.last_used_at,
}
_NOW: Final = bindparam("now", type_=Instant())
_EXPIRES_BY: Final = bindparam("expires_by", type_=Instant())
_SOME_TIME: Final = timedelta(days=1)
_DIGITS: Final = len(str(NO_END))
_IS_UNUSED: Final = func.coalesce(key_use.c.last_used_at, _KEYS.created_at) <= bindparam(
    "idle_since"
)


def page_of_keys(
    tx: Tx,
    workspace_id: WorkspaceId,
    wanted: KeySelection,
    now: datetime,
    limit: int,
    after: str | None = None,
) -> list[ApiKey]:
    """Return at most `limit` of the wanted keys after a position. Raises InvalidCursor for a malformed position."""
    last, id = _parse(after, wanted.sort)
    values: dict[str, Any] = {
        "workspace": workspace_id,
        "id": id,
        "last": last,
        "creator": wanted.created_by,
        "idle_since": now - (wanted.unused_for or timedelta()),
        "expires_by": now + (wanted.expiring_within or timedelta()),
        **values_of_policy(wanted.outside or NO_POLICY),
        **values_at(now),
        **values_of(wanted.query),
    }
    if wanted != ALL_KEYS:
        _forbid_sorting(tx)
    parts = _PARTS[wanted.sort] if wanted.ascending else _PARTS[wanted.sort][::-1]
    if id is not None:
        parts = parts[parts.index(_part_of(last, wanted.sort)) :]
    keys: list[ApiKey] = []
    shape = _shape_of(wanted)
    for part in parts:
        query = _query(part, shape, id is not None and part is parts[0])
        rows = query.all(tx, values | {"limit": limit - len(keys)})
        keys += map(key_of, rows)
        if len(keys) == limit:
            break
    return keys


def position_of(key: ApiKey, sort: KeySort) -> str:
    """Return the position after a key."""
    match sort:
        case KeySort.CREATED_AT:
            return key.id
        case KeySort.EXPIRES_AT:
            end = key.expires_at
            return f"{NO_END if end is None else to_microseconds(end)}:{key.id}"
        case KeySort.LAST_USED_AT:
            use = key.last_use
            return f"{0 if use is None else to_microseconds(use.at)}:{key.id}"


def _parse(after: str | None, sort: KeySort) -> tuple[int | None, KeyId | None]:
    """Return the value that sorts, None for the time of creation, and the id."""
    if after is None:
        return None, None
    value, colon, id = after.rpartition(":")
    if not is_id("key", id) or bool(colon) is (sort is KeySort.CREATED_AT):
        raise InvalidCursor
    if colon and (not value.isdecimal() or len(value) > _DIGITS or int(value) > NO_END):
        raise InvalidCursor
    return int(value) if colon else None, KeyId(id)


def _part_of(last: int | None, sort: KeySort) -> _Part:
    """Return the part in which a page ended with this value: 0 is a key that was never used."""
    return _PARTS[sort][-1 if last else 0]


def _forbid_sorting(tx: Tx) -> None:
    # Walk the index in order until the page is full. PostgreSQL cannot estimate how many keys match, and
    # may choose to read and sort all keys of the workspace instead.
    if tx.dialect.name == "postgresql":
        _FORBID_SORTING.first(tx)


def _shape_of(wanted: KeySelection) -> KeySelection:
    """Return the selection without the texts and durations of the caller: those are values of the statement."""
    return replace(
        wanted,
        query=wanted.query and "?",
        created_by=wanted.created_by and "?",
        unused_for=wanted.unused_for and _SOME_TIME,
        expiring_within=wanted.expiring_within and _SOME_TIME,
        outside=wanted.outside and NO_POLICY,
    )


@lru_cache(256)
def _query(part: _Part, shape: KeySelection, is_continued: bool) -> Query:
    """Return the query of a part of a list. Each is built once for its shape."""
    keys = ALL.where(*_conditions(shape), *_bounds(part, shape))
    id: ColumnElement[str] = key_use.c.key_id if part is _Part.BY_USE else _KEYS.id
    if part not in _VALUES:
        return Query(_in_order(keys, age(_KEYS.id), None, shape.ascending, is_continued))
    return Query(_in_order(keys, id, _VALUES[part], shape.ascending, is_continued))


def _bounds(part: _Part, shape: KeySelection) -> list[ColumnElement[bool]]:
    """Return the conditions by which a part begins and ends within its index."""
    match part:
        case _Part.BY_AGE:
            return []
        case _Part.NEVER_USED:
            return [key_use.c.last_used_at.is_(None)]
        case _Part.BY_USE:
            return [key_use.c.workspace_id == bindparam("workspace")]
        case _Part.BY_END:
            ends = [] if shape.expiring_within is None else [_END <= _EXPIRES_BY]
            # Otherwise the first page of the active keys would read all expired ones before them.
            if ends or shape.status is KeyStatus.ACTIVE:
                ends.append(_END > _NOW)
            elif shape.status is KeyStatus.EXPIRED:
                ends.append(_END <= _NOW)
            return ends


def _in_order(
    keys: Select[Any],
    id: ColumnElement[str],
    value: ColumnElement[Any] | None,
    ascending: bool,
    is_continued: bool,
) -> Select[Any]:
    """Order by the value and the id, or by the id alone, and continue after the last ones."""
    order: list[ColumnElement[Any]] = [id] if value is None else [value, id]
    if is_continued:
        beyond = id > _ID if ascending else id < _ID
        if value is not None:
            # The bound on the value alone is what an index can begin at.
            keys = keys.where(value >= _LAST if ascending else value <= _LAST)
            beyond = or_(value > _LAST if ascending else value < _LAST, beyond)
        keys = keys.where(beyond)
    return keys.order_by(*(each.asc() if ascending else each.desc() for each in order)).limit(LIMIT)


def _conditions(shape: KeySelection) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if shape.status is not None:
        conditions.append(HAS_STATUS[shape.status])
    if shape.finding is not None:
        conditions += [COUNTS, HAS_FINDING[shape.finding]]
    if shape.query:
        conditions.append(MATCHES)
    if shape.created_by:
        conditions.append(_KEYS.created_by_id == bindparam("creator"))
    if shape.unused_for is not None:
        conditions.append(_IS_UNUSED)
    if shape.expiring_within is not None:
        # A sum, so that SQLite walks the keys by age: by expiry, it would read and sort all that match.
        end = type_coerce(_KEYS.expires_at, BigInteger) + literal_column("0")
        conditions += [HAS_STATUS[KeyStatus.ACTIVE], end <= _EXPIRES_BY]
    if shape.outside is not None:
        conditions.append(IS_OUTSIDE)
    return conditions
