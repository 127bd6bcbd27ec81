"""Who am I: the key that calls, and its workspace."""

from __future__ import annotations

from fastapi import APIRouter

from keystead.api.route import CurrentCall, WorkspaceRoute, needs
from keystead.wire.resources import Key, Whoami, Workspace

router = APIRouter(prefix="/v1", tags=["workspaces"], route_class=WorkspaceRoute)


@router.get("/whoami", operation_id="whoami", summary="Who am I", **needs(None))
def whoami(call: CurrentCall) -> Whoami:
    """The key that calls, and the workspace that it acts in. The shortest way to see whether a token stands."""
    keys = call.services.keys
    current = keys.whoami(call.principal)
    return Whoami(workspace=Workspace.of(current.workspace), key=Key.of(current.key, keys.now()))
