"""Routes of the caller's own workspace: whoami and its plan."""

from __future__ import annotations

from fastapi import APIRouter

from keystead.api.route import CurrentCall, WorkspaceRoute, needs
from keystead.domain.scopes import PLAN_READ
from keystead.wire.resources import Key, PlanUse, Whoami, Workspace

router = APIRouter(prefix="/v1", route_class=WorkspaceRoute)


@router.get("/whoami", tags=["workspaces"], summary="Who am I", **needs(None))
def whoami(call: CurrentCall) -> Whoami:
    """Return the calling key and its workspace. Use it to check whether a token is valid."""
    keys = call.services.keys
    current = keys.whoami(call.principal)
    return Whoami(workspace=Workspace.of(current.workspace), key=Key.of(current.key, keys.now()))


@router.get("/plan", tags=["plan"], summary="Get the plan", **needs(PLAN_READ))
def plan_get(call: CurrentCall) -> PlanUse:
    """Return the workspace's plan, its limits and their use. Expired and revoked keys don't count."""
    return PlanUse.of(call.services.plans.use(call.principal))
