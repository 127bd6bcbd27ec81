"""Plans, the limits of a workspace with their use, and the rate limits of a key: the plan's, or its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, func, insert, select, text, update

from keystead.domain.errors import NotFound
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.plans import LIMIT_NAMES, Limits, Plan
from keystead.domain.policies import Policy
from keystead.domain.rate_limits import RATE_NAMES, RateLimits
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import age
from keystead.storage.schema.tables import (
    api_keys,
    collections,
    key_counts,
    key_rates,
    members,
    plans,
    webhook_endpoints,
    workspaces,
)
from keystead.storage.tables.key_counts import COUNT_COLUMNS, SETTLED_AT, count_at, settle_count
from keystead.storage.tables.policies import POLICY_COLUMNS, layers_of

_COLUMNS: Final = (
    plans.c.id,
    plans.c.name,
    plans.c.position,
    *(plans.c[name] for name in (*LIMIT_NAMES, *RATE_NAMES)),
    plans.c.policy,
)
_WIDTH: Final = len(_COLUMNS)
_RATES_FROM: Final = _WIDTH - 1 - len(RATE_NAMES)
_LIMITS_FROM: Final = _RATES_FROM - len(LIMIT_NAMES)

_ALL: Final = Query(select(*_COLUMNS).order_by(plans.c.position, plans.c.id))
_ONE: Final = Query(select(*_COLUMNS).where(plans.c.id == bindparam("plan")))
_PLAN_OF_WORKSPACE: Final = (
    select(*_COLUMNS, workspaces.c.limit_overrides)
    .join(workspaces, workspaces.c.plan_id == plans.c.id)
    .where(workspaces.c.id == bindparam("workspace"))
)
_KEYS_OF_WORKSPACE: Final = _PLAN_OF_WORKSPACE.add_columns(*COUNT_COLUMNS).outerjoin(
    key_counts, key_counts.c.workspace_id == workspaces.c.id
)
_BEFORE_A_KEY: Final = Query(
    _KEYS_OF_WORKSPACE.add_columns(
        select(api_keys.c.id)
        .where(api_keys.c.workspace_id == workspaces.c.id)
        .order_by(age(api_keys.c.id).desc())
        .limit(1)
        .scalar_subquery(),
        *POLICY_COLUMNS,
    )
)
_WITH_KEYS: Final = Query(_KEYS_OF_WORKSPACE)
_LIVING_COLLECTIONS: Final = and_(
    collections.c.workspace_id == workspaces.c.id, collections.c.name.is_not(None)
)
_USED: Final = {
    "collections": select(func.count()).select_from(collections).where(_LIVING_COLLECTIONS),
    "documents": select(func.coalesce(func.sum(collections.c.documents), 0)).where(
        _LIVING_COLLECTIONS
    ),
    "webhooks": select(func.count())
    .select_from(webhook_endpoints)
    .where(
        webhook_endpoints.c.workspace_id == workspaces.c.id,
        webhook_endpoints.c.deleted_at.is_(None),
    ),
    "members": select(func.count())
    .select_from(members)
    .where(members.c.workspace_id == workspaces.c.id),
}
"""The use of each limit but that of keys, which the database counts."""
_WITH_USED: Final = {
    name: Query(_PLAN_OF_WORKSPACE.add_columns(used.scalar_subquery()))
    for name, used in _USED.items()
}
_WITH_USE: Final = Query(
    _KEYS_OF_WORKSPACE.add_columns(*(used.scalar_subquery() for used in _USED.values()))
)

_INSERT: Final = insert(plans)
_UPDATE: Final = update(plans).where(plans.c.id == bindparam("plan"))
_DELETE_OTHERS: Final = delete(plans).where(plans.c.id.not_in(bindparam("ids", expanding=True)))
_LOCK_TABLE: Final = text("LOCK TABLE plans IN SHARE ROW EXCLUSIVE MODE")
_LOCK: Final = Query(select(plans.c.id).order_by(plans.c.id).with_for_update())
_IN_USE: Final = Query(select(workspaces.c.plan_id).distinct())
_RATE_LIMITS: Final = Query(
    select(
        func.coalesce(workspaces.c.workspace_per_minute, plans.c.workspace_per_minute),
        func.coalesce(key_rates.c.per_minute, workspaces.c.key_per_minute, plans.c.key_per_minute),
    )
    .select_from(workspaces)
    .join(plans, workspaces.c.plan_id == plans.c.id)
    .outerjoin(
        key_rates,
        and_(key_rates.c.workspace_id == workspaces.c.id, key_rates.c.key_id == bindparam("key")),
    )
    .where(workspaces.c.id == bindparam("workspace"))
)
_IS_RATE_OF_KEY: Final = and_(
    key_rates.c.workspace_id == bindparam("workspace"), key_rates.c.key_id == bindparam("key")
)
_KEY_RATE: Final = Query(select(key_rates.c.per_minute).where(_IS_RATE_OF_KEY))
_DELETE_KEY_RATE: Final = delete(key_rates).where(_IS_RATE_OF_KEY)
_INSERT_KEY_RATE: Final = insert(key_rates)


@dataclass(frozen=True, slots=True)
class RoomForKey:
    """What a workspace's next key depends on: plan, keys that count towards its limit, newest id, effective policy."""

    plan: Plan
    used: int
    newest: KeyId | None
    policy: Policy


def all_plans(tx: Tx) -> list[Plan]:
    """Return all plans, smallest first."""
    return [_from_row(row) for row in _ALL.all(tx)]


def find_plan(tx: Tx, plan_id: str) -> Plan | None:
    """Return the plan of that id."""
    row = _ONE.first(tx, {"plan": plan_id})
    return None if row is None else _from_row(row)


def plan_with_keys(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> tuple[Plan, int]:
    """Return the workspace's plan, and how many keys count towards its limit. Raises NotFound."""
    row = _require(tx, _WITH_KEYS, {"workspace": workspace_id, "now": now})
    return _own_plan(row), count_at(now, *row[_WIDTH + 1 :])


def plan_with_used(tx: Tx, workspace_id: WorkspaceId, name: str) -> tuple[Plan, int]:
    """Return the workspace's plan, and the use of its limit `name`, which is not that of keys. Raises NotFound."""
    row = _require(tx, _WITH_USED[name], {"workspace": workspace_id})
    return _own_plan(row), int(row[-1])


def plan_with_use(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> tuple[Plan, dict[str, int]]:
    """Return the workspace's plan, and the use of each limit by its name. Raises NotFound."""
    row = _require(tx, _WITH_USE, {"workspace": workspace_id, "now": now})
    counted, at, expired, *others = row[_WIDTH + 1 :]
    used = {name: int(number) for name, number in zip(_USED, others, strict=True)}
    return _own_plan(row), {"api_keys": count_at(now, counted, at, expired), **used}


def room_for_key(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> RoomForKey:
    """Return what the workspace's next key depends on, under the workspace's lock. Raises NotFound.

    Writes the count of keys again if many have expired since it was written.
    """
    row = _require(tx, _BEFORE_A_KEY, {"workspace": workspace_id, "now": now})
    counted, at, expired, newest, *layers = row[_WIDTH + 1 :]
    used = count_at(now, counted, at, expired)
    if expired >= SETTLED_AT:
        settle_count(tx, workspace_id, used, now)
    return RoomForKey(_own_plan(row), used, newest, layers_of(layers).effective)


def replace_plans(tx: Tx, wanted: Sequence[Plan]) -> None:
    """Replace all plans by `wanted`. The caller has checked that no removed plan is in use."""
    tx.execute(_DELETE_OTHERS, {"ids": [plan.id for plan in wanted]})
    present = {plan.id for plan in all_plans(tx)}
    for plan in wanted:
        if plan.id in present:
            tx.execute(_UPDATE, {"plan": plan.id, **_to_row(plan)})
        else:
            tx.execute(_INSERT, _to_row(plan))


def lock_plans(tx: Tx) -> None:
    """Serialize changes of plans and the creation of workspaces."""
    if tx.dialect.name == "postgresql":
        # The table too: without any plan there are no rows to lock.
        tx.execute(_LOCK_TABLE)
    _LOCK.all(tx)


def plans_in_use(tx: Tx) -> set[str]:
    """Return the ids of the plans in use."""
    return set(_IN_USE.scalars(tx))


def rate_limits_of(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> RateLimits:
    """Return the rate limits for requests with that key. Its own limit replaces the plan's per-key limit."""
    row = _RATE_LIMITS.first(tx, {"workspace": workspace_id, "key": key_id})
    return RateLimits() if row is None else RateLimits(*row)


def find_key_rate(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> int | None:
    """Return the key's own rate limit."""
    number: int | None = _KEY_RATE.scalar(tx, {"workspace": workspace_id, "key": key_id})
    return number


def set_key_rate(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, per_minute: int | None) -> None:
    """Set or remove the key's own rate limit, under the workspace's lock."""
    tx.execute(_DELETE_KEY_RATE, {"workspace": workspace_id, "key": key_id})
    if per_minute is not None:
        row = {"workspace_id": workspace_id, "key_id": key_id, "per_minute": per_minute}
        tx.execute(_INSERT_KEY_RATE, row)


def copy_key_rate(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, successor_id: KeyId) -> None:
    """Give a successor the key's own rate limit, if it has one."""
    own_rate = find_key_rate(tx, workspace_id, key_id)
    if own_rate is not None:
        set_key_rate(tx, workspace_id, successor_id, own_rate)


def _require(tx: Tx, query: Query, values: dict[str, Any]) -> Sequence[Any]:
    row = query.first(tx, values)
    if row is None:
        raise NotFound("There is no such workspace.")
    return row


def _to_row(plan: Plan) -> dict[str, Any]:
    limits = {name: plan.limits.get(name) for name in LIMIT_NAMES}
    rates = {name: plan.rate_limits.get(name) for name in RATE_NAMES}
    return {
        "id": plan.id,
        "name": plan.name,
        "position": plan.position,
        **limits,
        **rates,
        "policy": plan.policy.said(),
    }


def _own_plan(row: Sequence[Any]) -> Plan:
    """Return the plan of a row of _PLAN_OF_WORKSPACE, with the workspace's own limits."""
    plan, overrides = _from_row(row), row[_WIDTH]
    return replace(plan, limits=plan.limits.overridden(overrides)) if overrides else plan


def _from_row(row: Sequence[Any]) -> Plan:
    limits = Limits(*row[_LIMITS_FROM:_RATES_FROM])
    rates = RateLimits(*row[_RATES_FROM : _WIDTH - 1])
    return Plan(row[0], row[1], limits, row[2], rates, Policy(**row[_WIDTH - 1]))
