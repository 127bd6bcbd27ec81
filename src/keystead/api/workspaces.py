"""Calls of the caller's own workspace: whoami and its plan."""

from __future__ import annotations

from typing import Final

from keystead.api.calls import Call
from keystead.api.operations import Operations, Reply
from keystead.domain.scopes import PLAN_READ
from keystead.wire.resources import Key, PlanUse, Whoami, Workspace

WORKSPACES: Final = Operations("/v1", "workspaces")


@WORKSPACES.call("GET", "/whoami", "Who am I")
def whoami(call: Call) -> Reply[Whoami]:
    """Return the calling key and its workspace. Use it to check whether a token is valid."""
    keys = call.services.keys
    current = keys.whoami(call.principal)
    workspace, key = Workspace.of(current.workspace), Key.of(current.key, keys.now())
    return Reply(Whoami(workspace=workspace, key=key))


@WORKSPACES.call("GET", "/plan", "Get the plan", PLAN_READ, tag="plan")
def get_plan(call: Call) -> Reply[PlanUse]:
    """Return the workspace's plan, its limits and their use. Expired and revoked keys don't count."""
    return Reply(PlanUse.of(call.services.plans.use(call.principal)))
