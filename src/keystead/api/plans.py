"""The plan of the workspace, and how much of it is used."""

from __future__ import annotations

from fastapi import APIRouter

from keystead.api.route import CurrentCall, WorkspaceRoute, needs
from keystead.domain.scopes import PLAN_READ
from keystead.wire.resources import PlanUse

router = APIRouter(prefix="/v1", tags=["plan"], route_class=WorkspaceRoute)


@router.get("/plan", operation_id="plan_get", summary="See the plan", **needs(PLAN_READ))
def get_plan(call: CurrentCall) -> PlanUse:
    """The workspace's plan, its limits and their use. Expired and revoked keys use nothing."""
    return PlanUse.of(call.services.plans.use(call.principal))
