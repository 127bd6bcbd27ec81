"""The plans of the installation, for the product's own services."""

from __future__ import annotations

from fastapi import APIRouter

from keystead.api.operator_route import CurrentOperator, OperatorRoute, needs_operator
from keystead.wire.operator import PlanList, PlanWithLimits

router = APIRouter(prefix="/operator/v1/plans", tags=["plans"], route_class=OperatorRoute)


@router.get("", operation_id="plans_list", summary="List plans", **needs_operator())
def list_plans(call: CurrentOperator) -> PlanList:
    """Every plan that workspaces may be on, from small to large. `keystead plans apply` says which there are."""
    plans = [PlanWithLimits.of(plan) for plan in call.services.plans.all()]
    return PlanList(items=plans, next_cursor=None)
