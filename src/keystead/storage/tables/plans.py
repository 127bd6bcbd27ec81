"""Plans, the limits of a workspace, and the rate limits of a key: the plan's, or its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, and_, delete, func, insert, literal, select, text

from keystead.domain.errors import NotFound
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.plans import LIMIT_NAMES, Limits, Plan
from keystead.domain.rate_limits import RATE_NAMES, RateLimits
from keystead.storage.database import Tx
from keystead.storage.schema.tables import key_rates, plans, workspaces


def all_plans(tx: Tx) -> list[Plan]:
    """Return all plans, smallest first."""
    rows = tx.execute(select(plans).order_by(plans.c.position, plans.c.id))
    return [_from_row(row) for row in rows]


def find_plan(tx: Tx, plan_id: str) -> Plan | None:
    """Return the plan of that id."""
    row = tx.execute(select(plans).where(plans.c.id == plan_id)).first()
    return None if row is None else _from_row(row)


def plan_of(tx: Tx, workspace_id: WorkspaceId) -> Plan:
    """Return the workspace's plan with the workspace's overrides applied. Raises NotFound."""
    query = (
        select(plans, workspaces.c.limit_overrides)
        .join(workspaces, workspaces.c.plan_id == plans.c.id)
        .where(workspaces.c.id == workspace_id)
    )
    row = tx.execute(query).first()
    if row is None:
        raise NotFound("There is no such workspace.")
    plan = _from_row(row)
    return replace(plan, limits=plan.limits.overridden(row.limit_overrides))


def replace_plans(tx: Tx, wanted: Sequence[Plan]) -> None:
    """Replace all plans by `wanted`. The caller has checked that no removed plan is in use."""
    ids = {plan.id for plan in wanted}
    tx.execute(delete(plans).where(plans.c.id.not_in(ids)))
    present = {plan.id for plan in all_plans(tx)}
    for plan in wanted:
        if plan.id in present:
            tx.execute(plans.update().where(plans.c.id == plan.id).values(**_to_row(plan)))
        else:
            tx.execute(insert(plans), _to_row(plan))


def lock_plans(tx: Tx) -> None:
    """Serialize changes of plans and the creation of workspaces."""
    if tx.dialect.name == "postgresql":
        # The table too: without any plan there are no rows to lock.
        tx.execute(text("LOCK TABLE plans IN SHARE ROW EXCLUSIVE MODE"))
    tx.execute(select(plans.c.id).order_by(plans.c.id).with_for_update()).all()


def plans_in_use(tx: Tx) -> set[str]:
    """Return the ids of the plans in use."""
    return set(tx.execute(select(workspaces.c.plan_id).distinct()).scalars())


def _to_row(plan: Plan) -> dict[str, Any]:
    limits = {name: plan.limits.get(name) for name in LIMIT_NAMES}
    rates = {name: plan.rate_limits.get(name) for name in RATE_NAMES}
    return {"id": plan.id, "name": plan.name, "position": plan.position, **limits, **rates}


def _from_row(row: Row[Any]) -> Plan:
    limits = Limits(**{name: getattr(row, name) for name in LIMIT_NAMES})
    rates = RateLimits(**{name: getattr(row, name) for name in RATE_NAMES})
    return Plan(row.id, row.name, limits, row.position, rates)


def rate_limits_of(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> RateLimits:
    """Return the rate limits for requests with that key. Its own limit replaces the plan's per-key limit."""
    own = and_(key_rates.c.workspace_id == workspaces.c.id, key_rates.c.key_id == literal(key_id))
    query = (
        select(
            plans.c.workspace_per_minute,
            func.coalesce(key_rates.c.per_minute, plans.c.key_per_minute),
        )
        .select_from(workspaces)
        .join(plans, workspaces.c.plan_id == plans.c.id)
        .outerjoin(key_rates, own)
        .where(workspaces.c.id == workspace_id)
    )
    row = tx.execute(query).first()
    return RateLimits() if row is None else RateLimits(*row)


def find_key_rate(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> int | None:
    """Return the key's own rate limit."""
    query = select(key_rates.c.per_minute).where(
        key_rates.c.workspace_id == workspace_id, key_rates.c.key_id == key_id
    )
    number: int | None = tx.execute(query).scalar()
    return number


def set_key_rate(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, per_minute: int | None) -> None:
    """Set or remove the key's own rate limit, under the workspace's lock."""
    tx.execute(
        delete(key_rates).where(
            key_rates.c.workspace_id == workspace_id, key_rates.c.key_id == key_id
        )
    )
    if per_minute is not None:
        row = {"workspace_id": workspace_id, "key_id": key_id, "per_minute": per_minute}
        tx.execute(insert(key_rates), row)
