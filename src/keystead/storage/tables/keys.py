"""API keys. Every statement names the workspace."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    and_,
    bindparam,
    case,
    func,
    insert,
    select,
    union_all,
    update,
)

from keystead.domain.digest import Digest
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.key_hygiene import HygieneFinding
from keystead.domain.keys import ApiKey, KeyUse, fold_for_search, has_passed
from keystead.domain.networks import Networks
from keystead.domain.policies import Policy
from keystead.domain.principals import PrincipalKind
from keystead.domain.renewals import Renewal
from keystead.domain.scopes import Scopes
from keystead.domain.workspaces import Workspace
from keystead.storage.database import Tx
from keystead.storage.queries import Change, Query
from keystead.storage.schema.columns import LIMIT, actor_of, actor_values, age
from keystead.storage.schema.tables import api_keys, key_use, members, workspaces
from keystead.storage.tables.key_conditions import (
    COUNTS,
    HAS_FINDING,
    values_at,
    values_of_policy,
)
from keystead.storage.tables.workspaces import WORKSPACE_COLUMNS, workspace_of

EXAMINED_KEYS: Final = 5_000
"""The most keys of a workspace that are examined for the safest ones to revoke."""

_KEYS: Final = api_keys.c
_OF_WORKSPACE: Final = _KEYS.workspace_id == bindparam("workspace")
_IS_KEY: Final = and_(_OF_WORKSPACE, _KEYS.id == bindparam("key"))
_COLUMNS: Final = (
    _KEYS.id,
    _KEYS.workspace_id,
    _KEYS.description,
    _KEYS.hint,
    _KEYS.scopes,
    _KEYS.created_at,
    _KEYS.created_by_kind,
    _KEYS.created_by_id,
    _KEYS.created_by_name,
    _KEYS.expires_at,
    _KEYS.revoked_at,
    _KEYS.rotated_to,
    _KEYS.version,
    _KEYS.networks,
    _KEYS.metadata,
    _KEYS.renewable_until,
    _KEYS.family,
    _KEYS.replaces,
    _KEYS.quiet_seconds,
    _KEYS.stored_in,
    key_use.c.last_used_at,
    key_use.c.last_used_ip,
    key_use.c.last_used_agent,
    and_(_KEYS.created_by_kind == PrincipalKind.MEMBER, members.c.user_id.is_(None)).label(
        "creator_left"
    ),
)
_WIDTH: Final = len(_COLUMNS)
_WITH_USE: Final = api_keys.outerjoin(key_use, key_use.c.key_id == _KEYS.id)
ALL: Final = (
    select(*_COLUMNS)
    .select_from(
        _WITH_USE.outerjoin(
            members,
            and_(
                members.c.workspace_id == _KEYS.workspace_id,
                members.c.user_id == _KEYS.created_by_id,
            ),
        )
    )
    .where(_OF_WORKSPACE)
)

_FAMILY: Final = Query(ALL.where(_KEYS.family == bindparam("family"), _KEYS.revoked_at.is_(None)))
_RENEWED_AT: Final = Query(
    select(_KEYS.created_at)
    .where(_OF_WORKSPACE, _KEYS.family == bindparam("family"), _KEYS.id != bindparam("family"))
    .order_by(_KEYS.created_at.desc())
    .limit(LIMIT)
)
_FORGET_SUCCESSOR: Final = Change(
    update(api_keys).where(_IS_KEY, _KEYS.rotated_to == bindparam("successor"))
)
_ONE: Final = Query(ALL.where(_KEYS.id == bindparam("key")))
_SOME: Final = Query(ALL.where(_KEYS.id.in_(bindparam("keys", expanding=True))))
_PREDECESSOR: Final = Query(ALL.where(_KEYS.rotated_to == bindparam("key")))
_WITH_WORKSPACE: Final = Query(
    ALL.where(_KEYS.id == bindparam("key"))
    .add_columns(*WORKSPACE_COLUMNS)
    .join(workspaces, workspaces.c.id == _KEYS.workspace_id)
)
_ACCESS: Final = Query(
    select(
        _KEYS.scopes,
        _KEYS.expires_at,
        _KEYS.revoked_at,
        _KEYS.networks,
        _KEYS.renewable_until,
        workspaces.c.suspended_at,
    )
    .join(workspaces, workspaces.c.id == _KEYS.workspace_id)
    .where(_IS_KEY)
)
_HINTS: Final = Query(
    select(_KEYS.id, _KEYS.hint).where(
        _OF_WORKSPACE, _KEYS.id.in_(bindparam("keys", expanding=True))
    )
)
_NEWEST_ID: Final = Query(
    select(_KEYS.id).where(_OF_WORKSPACE).order_by(age(_KEYS.id).desc()).limit(1)
)
_FINDINGS: Final = Query(
    select(
        *(
            func.count(case((condition, 1))).label(finding.name)
            for finding, condition in HAS_FINDING.items()
        )
    )
    .select_from(_WITH_USE)
    .where(_OF_WORKSPACE, COUNTS)
)
_COUNTED: Final = select(_KEYS.id).where(
    _OF_WORKSPACE, _KEYS.revoked_at.is_(None), _KEYS.rotated_to.is_(None)
)
_ENDLESS: Final = _COUNTED.where(_KEYS.expires_at.is_(None)).limit(EXAMINED_KEYS).subquery()
_ENDING: Final = (
    _COUNTED.where(_KEYS.expires_at > bindparam("now"))
    .order_by(_KEYS.expires_at)
    .limit(EXAMINED_KEYS)
    .subquery()
)
_EXAMINED: Final = union_all(select(_ENDLESS.c.id), select(_ENDING.c.id)).subquery()
_LEAST_USED: Final = Query(
    ALL.where(_KEYS.id.in_(select(_EXAMINED.c.id)))
    .order_by(key_use.c.last_used_at.asc().nulls_first(), _KEYS.id)
    .limit(LIMIT)
)
_INSERT: Final = Change(insert(api_keys))
_OF_KEY: Final = update(api_keys).where(_IS_KEY)
_UPDATE: Final = Change(_OF_KEY)
_REVOKE: Final = Change(_OF_KEY.where(_KEYS.revoked_at.is_(None)).returning(_KEYS.id))
_REVOKE_SOME: Final = (
    update(api_keys)
    .where(
        _OF_WORKSPACE,
        _KEYS.id.in_(bindparam("keys", expanding=True)),
        _KEYS.revoked_at.is_(None),
    )
    .returning(_KEYS.id)
)

# A skip scan: one index lookup per pepper instead of a DISTINCT over all keys.
_NEXT_PEPPER: Final = Query(
    select(func.min(_KEYS.pepper_id)).where(
        _KEYS.revoked_at.is_(None), _KEYS.pepper_id > bindparam("after")
    )
)
_OF_PEPPER: Final = select(_KEYS.pepper_id).where(
    _KEYS.pepper_id == bindparam("pepper"), _KEYS.revoked_at.is_(None)
)
_NEEDS_PEPPER: Final = (
    Query(_OF_PEPPER.where(_KEYS.expires_at.is_(None)).limit(1)),
    Query(_OF_PEPPER.where(_KEYS.expires_at > bindparam("now")).limit(1)),
)


class KeyAccess(NamedTuple):
    """What a key may still do: its scopes, ends, networks and renewal, and the suspension of its workspace."""

    scopes: Scopes
    expires_at: datetime | None
    revoked_at: datetime | None
    networks: Networks
    renewal: Renewal | None
    suspended_at: datetime | None

    def has_ended(self, now: datetime) -> bool:
        """Return whether the key is revoked or expired at `now`, or its workspace suspended."""
        is_stopped = self.revoked_at is not None or self.suspended_at is not None
        return is_stopped or has_passed(self.expires_at, now)


def insert_key(tx: Tx, key: ApiKey, digest: Digest) -> None:
    """Insert a key with the digest of its token."""
    _INSERT.run(
        tx,
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
            **_restrictions(key),
        },
    )


def find_key(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> ApiKey | None:
    """Return the workspace's key of that id, with its last use."""
    row = _ONE.first(tx, {"workspace": workspace_id, "key": key_id})
    return None if row is None else key_of(row)


def find_keys(tx: Tx, workspace_id: WorkspaceId, key_ids: Collection[KeyId]) -> list[ApiKey]:
    """Return those keys of the workspace, in no order; ids of other workspaces are absent."""
    keys = _SOME.all(tx, {"workspace": workspace_id, "keys": list(key_ids)})
    return [key_of(row) for row in keys]


def find_key_with_workspace(
    tx: Tx, workspace_id: WorkspaceId, key_id: KeyId
) -> tuple[ApiKey, Workspace] | None:
    """Return the workspace's key of that id, and the workspace."""
    row = _WITH_WORKSPACE.first(tx, {"workspace": workspace_id, "key": key_id})
    return None if row is None else (key_of(row[:_WIDTH]), workspace_of(row[_WIDTH:]))


def find_access(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> KeyAccess | None:
    """Return what the workspace's key of that id may still do."""
    row = _ACCESS.first(tx, {"workspace": workspace_id, "key": key_id})
    return None if row is None else KeyAccess(*row)


def find_predecessor(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> ApiKey | None:
    """Return the key that was rotated to this one."""
    row = _PREDECESSOR.first(tx, {"workspace": workspace_id, "key": key_id})
    return None if row is None else key_of(row)


def find_family(tx: Tx, workspace_id: WorkspaceId, family: KeyId) -> list[ApiKey]:
    """Return the unrevoked keys of a family, in no order."""
    return [key_of(row) for row in _FAMILY.all(tx, {"workspace": workspace_id, "family": family})]


def latest_renewals(tx: Tx, workspace_id: WorkspaceId, family: KeyId, limit: int) -> list[datetime]:
    """Return when a family was renewed, newest first."""
    values = {"workspace": workspace_id, "family": family, "limit": limit}
    return _RENEWED_AT.scalars(tx, values)


def forget_successor(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, successor_id: KeyId) -> None:
    """Let a key be as it was before it was rotated to this successor, which was never used."""
    values = {"workspace": workspace_id, "key": key_id, "successor": successor_id}
    _FORGET_SUCCESSOR.run(tx, {**values, "rotated_to": None})


def hints_of(tx: Tx, workspace_id: WorkspaceId, key_ids: Collection[KeyId]) -> dict[KeyId, str]:
    """Return the hints of these keys of the workspace."""
    return dict(_HINTS.all(tx, {"workspace": workspace_id, "keys": list(key_ids)}))


def newest_key_id(tx: Tx, workspace_id: WorkspaceId) -> KeyId | None:
    """Return the workspace's highest key id. A new one must be higher, to keep pages in order."""
    newest: KeyId | None = _NEWEST_ID.scalar(tx, {"workspace": workspace_id})
    return newest


def count_hygiene_findings(
    tx: Tx, workspace_id: WorkspaceId, policy: Policy, now: datetime
) -> dict[HygieneFinding, int]:
    """Return how many of the counted keys each hygiene finding applies to; without those of no key."""
    values = {"workspace": workspace_id, **values_at(now), **values_of_policy(policy)}
    row = _FINDINGS.first(tx, values)
    return {finding: keys for finding, keys in zip(HAS_FINDING, row or (), strict=True) if keys}


def keys_least_used(tx: Tx, workspace_id: WorkspaceId, now: datetime, limit: int) -> list[ApiKey]:
    """Return the counted keys that are safest to revoke: never used (oldest first), then longest unused.

    Examines at most EXAMINED_KEYS keys without an expiry, and as many that expire.
    """
    values = {"workspace": workspace_id, "now": now, "limit": limit}
    return [key_of(row) for row in _LEAST_USED.all(tx, values)]


def update_key(tx: Tx, key: ApiKey) -> None:
    """Write what can change in a key: all but its id, its creation and its digest."""
    _UPDATE.run(
        tx,
        {
            "workspace": key.workspace_id,
            "key": key.id,
            "description": key.description,
            "folded_description": fold_for_search(key.description),
            "scopes": key.scopes,
            "expires_at": key.expires_at,
            "rotated_to": key.rotated_to,
            "version": key.version,
            **_restrictions(key),
        },
    )


def revoke_key(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, now: datetime) -> bool:
    """Revoke the key. Returns False if it was revoked before; the first time stays."""
    revoked = {"workspace": workspace_id, "key": key_id, "revoked_at": now}
    return _REVOKE.run(tx, revoked) is not None


def revoke_keys(
    tx: Tx, workspace_id: WorkspaceId, key_ids: Collection[KeyId], now: datetime
) -> set[KeyId]:
    """Revoke those keys. Returns which were not revoked before; the first time of the others stays."""
    values = {"workspace": workspace_id, "keys": list(key_ids), "revoked_at": now}
    return set(tx.execute(_REVOKE_SOME, values).scalars())


def pepper_ids_of_live_keys(tx: Tx, now: datetime) -> set[str]:
    """Return the ids of the peppers that live keys of any workspace need."""
    needed: set[str] = set()
    pepper_id = _NEXT_PEPPER.scalar(tx, {"after": ""})
    while pepper_id is not None:
        values = {"pepper": pepper_id, "now": now}
        if any(query.first(tx, values) for query in _NEEDS_PEPPER):
            needed.add(pepper_id)
        pepper_id = _NEXT_PEPPER.scalar(tx, {"after": pepper_id})
    return needed


def _restrictions(key: ApiKey) -> dict[str, object]:
    """Return the values of networks, metadata, renewal, the place, and what a rotation leaves to be done."""
    return {
        "family": key.family,
        "replaces": key.replaces,
        "quiet_seconds": key.quiet_seconds,
        "stored_in": key.stored_in,
        "networks": key.networks,
        "metadata": key.metadata,
        "renewable_until": key.renewal,
        # What verification goes by: one of the others that was written without it would be ignored.
        "has_extras": int(bool(key.networks or key.metadata or key.renewal or key.replaces)),
    }


def key_of(row: Sequence[Any]) -> ApiKey:
    """Return the key of a row of ALL."""
    (
        id,
        workspace_id,
        description,
        hint,
        scopes,
        created_at,
        creator_kind,
        creator_id,
        creator_name,
        expires_at,
        revoked_at,
        rotated_to,
        version,
        networks,
        metadata,
        renewal,
        family,
        replaces,
        quiet_seconds,
        stored_in,
        used_at,
        address,
        agent,
        creator_left,
    ) = row
    return ApiKey(
        id,
        workspace_id,
        description,
        hint,
        scopes,
        created_at,
        actor_of(creator_kind, creator_id, creator_name),
        expires_at,
        revoked_at,
        rotated_to,
        None if used_at is None else KeyUse(used_at, address, agent),
        creator_left,
        version,
        networks,
        metadata,
        renewal,
        family,
        replaces,
        quiet_seconds,
        stored_in,
    )
