"""Calls of the Operator API for the end of a workspace: delete it."""

from __future__ import annotations

from typing import Final

from keystead.api.calls import OperatorCall
from keystead.api.operations import OPERATOR, WITHIN, WORKSPACE, Operations, Reply
from keystead.api.operator.workspaces import MANAGED_WORKSPACES
from keystead.domain.errors import NotSuspended
from keystead.domain.ids import WorkspaceId

DELETION: Final = Operations(WITHIN, MANAGED_WORKSPACES.tag, OPERATOR, path_parameters=(WORKSPACE,))


@DELETION.call(
    "DELETE",
    "",
    "Delete a workspace",
    statuses=(202,),
    refusals=(NotSuspended,),
    if_match=True,
    revokes=True,
)
def delete_workspace(call: OperatorCall, workspace: str) -> Reply[None]:
    """Delete a suspended workspace with everything in it, irreversibly. Again: 202.

    From the first 202 on, every other call answers 404 for it, and its external id is free. Its rows are deleted
    within minutes, in small steps. People who are members of no other workspace are deleted with it. Of the workspace
    its id, its external id and the time of deletion stay, so that restoring an older backup doesn't revive it.

    `not-suspended`: suspend it first.
    """
    actor, origin = call.credential.actor, call.origin
    call.services.deletion.delete(WorkspaceId(workspace), actor, origin, call.if_match)
    return Reply(None)
