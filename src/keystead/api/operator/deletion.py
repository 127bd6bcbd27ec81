"""Calls of the Operator API for the end of a workspace: delete it."""

from __future__ import annotations

from typing import Final

from keystead.api.calls import OperatorCall
from keystead.api.operations import OPERATOR, Operations, Reply
from keystead.api.operator.workspaces import MANAGED_WORKSPACES
from keystead.domain.errors import NotSuspended
from keystead.domain.ids import WorkspaceId

DELETION: Final = Operations(
    MANAGED_WORKSPACES.root,
    MANAGED_WORKSPACES.tag,
    OPERATOR,
    path_parameters=MANAGED_WORKSPACES.path_parameters,
)


@DELETION.call(
    "DELETE", "/{id}", "Delete a workspace", statuses=(202,), refusals=(NotSuspended,), revokes=True
)
def delete_workspace(call: OperatorCall, id: str) -> Reply[None]:
    """Delete a suspended workspace with everything in it, irreversibly. Again: 202.

    From the first 202 on, every other call answers 404 for it, and its external id is free. Its rows are deleted
    within minutes, in small steps. People who are members of no other workspace are deleted with it. Of the workspace
    its id, its external id and the time of deletion stay, so that restoring an older backup doesn't revive it.

    `not-suspended`: suspend it first.
    """
    call.services.deletion.delete(WorkspaceId(id), call.credential.actor, call.origin)
    return Reply(None)
