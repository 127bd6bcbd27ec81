"""API keys. Every statement names the workspace."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Text,
    and_,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)

from keystead.domain.digest import Digest
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.key_hygiene import OLD_AFTER, UNUSED_AFTER, HygieneFinding
from keystead.domain.keys import EXPIRES_SOON, ApiKey, KeyStatus, KeyUse, fold_for_search
from keystead.domain.principals import PrincipalKind
from keystead.storage.database import Tx
from keystead.storage.schema.columns import actor_of, actor_values, by_age
from keystead.storage.schema.tables import api_keys, key_use, members

EXAMINED_KEYS: Final = 5_000
"""The most keys of a workspace that are examined for the safest ones to revoke."""

_UNREAD = {"digest", "pepper_id", "folded_description"}
_KEY_COLUMNS = [c for c in api_keys.c if c.name not in _UNREAD]
_CREATOR_LEFT = and_(
    api_keys.c.created_by_kind == PrincipalKind.MEMBER, members.c.user_id.is_(None)
).label("creator_left")
_USE_COLUMNS = [key_use.c.last_used_at, key_use.c.last_used_ip, key_use.c.last_used_agent]


def insert_key(tx: Tx, key: ApiKey, digest: Digest) -> None:
    """Insert a key with the digest of its token."""
    tx.execute(
        insert(api_keys),
        {
            "id": key.id,
            "workspace_id": key.workspace_id,
            "description": key.description,
            "folded_description": fold_for_search(key.description),
            "hint": key.hint,
            "pepper_id": digest.pepper_id,
            "digest": digest.value,
            "scopes": key.scopes,
            "created_at": key.created_at,
            **actor_values("created_by", key.created_by),
            "expires_at": key.expires_at,
        },
    )


def find_key(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> ApiKey | None:
    """Return the workspace's key of that id, with its last use."""
    row = tx.execute(_keys_of(workspace_id).where(api_keys.c.id == key_id)).first()
    return None if row is None else _from_row(row)


def find_keys(tx: Tx, workspace_id: WorkspaceId, key_ids: Collection[KeyId]) -> list[ApiKey]:
    """Return those keys of the workspace, in no order; ids of other workspaces are absent."""
    return [
        _from_row(row)
        for row in tx.execute(_keys_of(workspace_id).where(api_keys.c.id.in_(key_ids)))
    ]


def find_predecessor(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> ApiKey | None:
    """Return the key that was rotated to this one."""
    row = tx.execute(_keys_of(workspace_id).where(api_keys.c.rotated_to == key_id)).first()
    return None if row is None else _from_row(row)


def hints_of(tx: Tx, workspace_id: WorkspaceId, key_ids: Collection[KeyId]) -> dict[KeyId, str]:
    """Return the hints of these keys of the workspace."""
    hints = select(api_keys.c.id, api_keys.c.hint).where(
        api_keys.c.workspace_id == workspace_id, api_keys.c.id.in_(key_ids)
    )
    return {row.id: row.hint for row in tx.execute(hints)}


def newest_key_id(tx: Tx, workspace_id: WorkspaceId) -> KeyId | None:
    """Return the workspace's highest key id. A new one must be higher, to keep pages in order."""
    newest = select(api_keys.c.id).where(api_keys.c.workspace_id == workspace_id)
    return tx.execute(newest.order_by(by_age(tx, api_keys.c.id).desc()).limit(1)).scalar()


def page_of_keys(
    tx: Tx,
    workspace_id: WorkspaceId,
    *,
    now: datetime,
    limit: int,
    before: str | None = None,
    status: KeyStatus | None = None,
    query: str = "",
    finding: HygieneFinding | None = None,
) -> list[ApiKey]:
    """Return at most `limit` keys, newest first, with an id below `before`.

    Args:
        query: a part of the description in any case, the exact id, or the token's last four characters.
        finding: return only the counted keys with this hygiene finding.
    """
    keys = _keys_of(workspace_id).order_by(by_age(tx, api_keys.c.id).desc()).limit(limit)
    if status or query or finding:
        _forbid_sorting(tx)
    if before is not None:
        keys = keys.where(by_age(tx, api_keys.c.id) < literal(before, Text))
    if status is not None:
        keys = keys.where(_has_status(status, now))
    if query:
        keys = keys.where(_matches(query))
    if finding is not None:
        keys = keys.where(_counts(now), _has_finding(finding, now))
    return [_from_row(row) for row in tx.execute(keys)]


def count_hygiene_findings(
    tx: Tx, workspace_id: WorkspaceId, now: datetime
) -> dict[HygieneFinding, int]:
    """Return how many of the counted keys each hygiene finding applies to; without those of no key."""
    joined = api_keys.outerjoin(key_use, key_use.c.key_id == api_keys.c.id)
    counted = [
        func.count(case((_has_finding(finding, now), 1))).label(finding.name)
        for finding in HygieneFinding
    ]
    query = select(*counted).select_from(joined)
    row = tx.execute(query.where(api_keys.c.workspace_id == workspace_id, _counts(now))).one()
    return {finding: keys for finding, keys in zip(HygieneFinding, row, strict=True) if keys}


def keys_least_used(tx: Tx, workspace_id: WorkspaceId, now: datetime, limit: int) -> list[ApiKey]:
    """Return the counted keys that are safest to revoke: never used (oldest first), then longest unused.

    Examines at most EXAMINED_KEYS keys without an expiry, and as many that expire.
    """
    keys = (
        _keys_of(workspace_id)
        .where(api_keys.c.id.in_(_examined_keys(workspace_id, now)))
        .order_by(key_use.c.last_used_at.asc().nulls_first(), api_keys.c.id)
        .limit(limit)
    )
    return [_from_row(row) for row in tx.execute(keys)]


def update_key(tx: Tx, key: ApiKey) -> None:
    """Write what can change in a key: description, scopes, expiry, successor, version."""
    tx.execute(
        _one(key.workspace_id, key.id).values(
            description=key.description,
            folded_description=fold_for_search(key.description),
            scopes=key.scopes,
            expires_at=key.expires_at,
            rotated_to=key.rotated_to,
            version=key.version,
        )
    )


def revoke_key(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, now: datetime) -> bool:
    """Revoke the key. Returns False if it was revoked before; the first time stays."""
    revoked = _one(workspace_id, key_id).where(api_keys.c.revoked_at.is_(None))
    return tx.execute(revoked.values(revoked_at=now).returning(api_keys.c.id)).first() is not None


def revoke_keys(
    tx: Tx, workspace_id: WorkspaceId, key_ids: Collection[KeyId], now: datetime
) -> set[KeyId]:
    """Revoke those keys. Returns which were not revoked before; the first time of the others stays."""
    of_ids = update(api_keys).where(
        api_keys.c.workspace_id == workspace_id,
        api_keys.c.id.in_(key_ids),
        api_keys.c.revoked_at.is_(None),
    )
    revoked = tx.execute(of_ids.values(revoked_at=now).returning(api_keys.c.id))
    return set(revoked.scalars())


def pepper_ids_of_live_keys(tx: Tx, now: datetime) -> set[str]:
    """Return the ids of the peppers that live keys of any workspace need."""
    return {pepper for pepper in _peppers_of_unrevoked_keys(tx) if _is_needed(tx, pepper, now)}


def _peppers_of_unrevoked_keys(tx: Tx) -> Iterator[str]:
    # A skip scan: one index lookup per pepper instead of a DISTINCT over all keys.
    unrevoked = select(func.min(api_keys.c.pepper_id)).where(api_keys.c.revoked_at.is_(None))
    pepper = tx.execute(unrevoked).scalar()
    while pepper is not None:
        yield pepper
        pepper = tx.execute(unrevoked.where(api_keys.c.pepper_id > pepper)).scalar()


def _is_needed(tx: Tx, pepper_id: str, now: datetime) -> bool:
    """Return whether an active key has that pepper."""
    unrevoked = select(api_keys.c.pepper_id).where(
        api_keys.c.pepper_id == pepper_id, api_keys.c.revoked_at.is_(None)
    )
    ends = (api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now)
    return any(tx.execute(unrevoked.where(end).limit(1)).first() for end in ends)


def _examined_keys(workspace_id: WorkspaceId, now: datetime) -> Select[Any]:
    """Select the ids of EXAMINED_KEYS counted keys without an expiry, and of as many that expire soonest."""
    counted = select(api_keys.c.id).where(
        api_keys.c.workspace_id == workspace_id,
        api_keys.c.revoked_at.is_(None),
        api_keys.c.rotated_to.is_(None),
    )
    endless = counted.where(api_keys.c.expires_at.is_(None)).limit(EXAMINED_KEYS).subquery()
    ending = counted.where(api_keys.c.expires_at > now).order_by(api_keys.c.expires_at)
    examined = union_all(select(endless.c.id), select(ending.limit(EXAMINED_KEYS).subquery().c.id))
    return select(examined.subquery().c.id)


def _forbid_sorting(tx: Tx) -> None:
    # Walk the index in order until the page is full. PostgreSQL cannot estimate how many keys match, and
    # may choose to read and sort all keys of the workspace instead.
    if tx.dialect.name == "postgresql":
        names = ("enable_sort", "enable_seqscan", "enable_bitmapscan")
        tx.execute(select(*(func.set_config(name, "off", True) for name in names)))


def _keys_of(workspace_id: WorkspaceId) -> Select[Any]:
    joined = api_keys.outerjoin(key_use, key_use.c.key_id == api_keys.c.id).outerjoin(
        members,
        and_(
            members.c.workspace_id == api_keys.c.workspace_id,
            members.c.user_id == api_keys.c.created_by_id,
        ),
    )
    columns = select(*_KEY_COLUMNS, *_USE_COLUMNS, _CREATOR_LEFT).select_from(joined)
    return columns.where(api_keys.c.workspace_id == workspace_id)


def _one(workspace_id: WorkspaceId, key_id: KeyId) -> Any:
    return update(api_keys).where(api_keys.c.workspace_id == workspace_id, api_keys.c.id == key_id)


def _is_active(now: datetime) -> ColumnElement[bool]:
    unexpired = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now)
    return and_(api_keys.c.revoked_at.is_(None), unexpired)


def _counts(now: datetime) -> ColumnElement[bool]:
    """Return the condition that `ApiKey.counts` checks."""
    return and_(_is_active(now), api_keys.c.rotated_to.is_(None))


def _has_finding(finding: HygieneFinding, now: datetime) -> ColumnElement[bool]:
    """Return the condition of `domain.key_hygiene.has_finding`, for a counted key."""
    keys, last_used_at = api_keys.c, key_use.c.last_used_at
    match finding:
        case HygieneFinding.NEVER_USED:
            return and_(last_used_at.is_(None), keys.created_at <= now - UNUSED_AFTER)
        case HygieneFinding.UNUSED:
            return last_used_at <= now - UNUSED_AFTER
        case HygieneFinding.EXPIRING:
            return keys.expires_at <= now + EXPIRES_SOON
        case HygieneFinding.OLD:
            return keys.created_at <= now - OLD_AFTER
        case HygieneFinding.NEVER_EXPIRES:
            return keys.expires_at.is_(None)


def _has_status(status: KeyStatus, now: datetime) -> ColumnElement[bool]:
    match status:
        case KeyStatus.ACTIVE:
            return _is_active(now)
        case KeyStatus.EXPIRED:
            return and_(api_keys.c.revoked_at.is_(None), api_keys.c.expires_at <= now)
        case KeyStatus.REVOKED:
            return api_keys.c.revoked_at.is_not(None)


def _matches(query: str) -> ColumnElement[bool]:
    in_description = api_keys.c.folded_description.contains(fold_for_search(query), autoescape=True)
    last_four = func.substr(api_keys.c.hint, func.length(api_keys.c.hint) - 3)
    return or_(in_description, api_keys.c.id == query, last_four == query)


def _from_row(row: Row[Any]) -> ApiKey:
    used = row.last_used_at
    return ApiKey(
        id=row.id,
        workspace_id=row.workspace_id,
        description=row.description,
        hint=row.hint,
        scopes=row.scopes,
        created_at=row.created_at,
        created_by=actor_of(row, "created_by"),
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        rotated_to=row.rotated_to,
        last_use=used and KeyUse(used, row.last_used_ip, row.last_used_agent),
        creator_left=bool(row.creator_left),
        version=row.version,
    )
