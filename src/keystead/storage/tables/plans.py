"""Plans, and the limits of a workspace: its plan's with its own overrides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, delete, insert, select, text

from keystead.domain.errors import NotFound
from keystead.domain.ids import WorkspaceId
from keystead.domain.plans import LIMIT_NAMES, Limits, Plan
from keystead.domain.rate_limits import RATE_NAMES, RateLimits
from keystead.storage.database import Tx
from keystead.storage.schema.tables import plans, workspaces


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
    kept = {plan.id for plan in wanted}
    tx.execute(delete(plans).where(plans.c.id.not_in(kept)))
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
