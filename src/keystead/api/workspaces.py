"""Who am I: the key that calls, and its workspace."""

from __future__ import annotations

from fastapi import APIRouter

from keystead.api.route import CurrentCall, WorkspaceRoute, needs
from keystead.domain.scopes import PLAN_READ
from keystead.wire.resources import Key, PlanUse, Whoami, Workspace

router = APIRouter(prefix="/v1", route_class=WorkspaceRoute)


@router.get(
    "/whoami", tags=["workspaces"], operation_id="whoami", summary="Who am I", **needs(None)
)
def whoami(call: CurrentCall) -> Whoami:
    """The key that calls, and the workspace that it acts in. The shortest way to see whether a token stands."""
    keys, workspaces = call.services.keys, call.services.workspaces
    own = keys.own(call.principal)
    workspace = workspaces.get(call.principal.workspace_id)
    return Whoami(workspace=Workspace.of(workspace), key=Key.of(own, keys.now()))


@router.get(
    "/plan", tags=["plan"], operation_id="plan_get", summary="See the plan", **needs(PLAN_READ)
)
def get_plan(call: CurrentCall) -> PlanUse:
    """The workspace's plan, its limits and their use. Expired and revoked keys use nothing."""
    return PlanUse.of(call.services.plans.use(call.principal))
