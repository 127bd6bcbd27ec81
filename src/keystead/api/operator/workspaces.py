"""Calls of the Operator API for workspaces: create, put, list, update, suspend, resume, and set the plan."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from keystead.api.bodies.workspaces import (
    NewWorkspace,
    PlanAssignment,
    PutWorkspace,
    WorkspaceChange,
)
from keystead.api.calls import OperatorCall
from keystead.api.operations import OPERATOR, PAGED, WORKSPACE, Operations, Reply, in_path, in_query
from keystead.domain.errors import InvalidCursor, NameTaken, NotFound
from keystead.domain.ids import WorkspaceId
from keystead.domain.workspaces import EXTERNAL_ID_PATTERN
from keystead.http.paging import read_page
from keystead.wire.operator import ManagedWorkspace, ManagedWorkspaceList, WorkspaceWithUse


def _version(call: OperatorCall, path: Mapping[str, str]) -> int:
    return call.services.workspaces.get(WorkspaceId(path["workspace"])).version


MANAGED_WORKSPACES: Final = Operations(
    "/operator/v1/workspaces",
    "managed workspaces",
    OPERATOR,
    path_parameters=(WORKSPACE,),
    find_version=_version,
)


@MANAGED_WORKSPACES.call(
    "POST", "", "Create a workspace", statuses=(201,), refusals=(NameTaken,), has_etag=True
)
def create_workspace(call: OperatorCall, body: NewWorkspace) -> Reply[ManagedWorkspace]:
    """Create a workspace. `name-taken`: another person already uses the owner's address."""
    owner = body.owner
    workspace = call.services.workspaces.create(
        body.name,
        plan_id=body.plan,
        owner=owner.name if owner else None,
        email=owner.email if owner else None,
        actor=call.credential.actor,
        origin=call.origin,
    )
    location = f"/operator/v1/workspaces/{workspace.id}"
    return Reply(ManagedWorkspace.of(workspace), workspace.version, location)


@MANAGED_WORKSPACES.call(
    "GET",
    "",
    "List workspaces",
    refusals=(InvalidCursor,),
    query=(
        in_query("query", "A part of the name (a-z in upper or lower case), or the exact id."),
        *PAGED,
    ),
)
def list_workspaces(
    call: OperatorCall,
    query: str | None = None,
    limit: str | None = None,
    cursor: str | None = None,
) -> Reply[ManagedWorkspaceList]:
    """Return all workspaces, newest first, suspended ones included."""
    page = read_page(
        str, workspace_id="", path=call.path, filters={"query": query}, limit=limit, cursor=cursor
    )
    before = None if page.after is None else WorkspaceId(page.after)
    rows = call.services.workspaces.list(query=query or "", limit=page.limit, before=before)
    items = list(map(ManagedWorkspace.of, rows.items))
    return Reply(ManagedWorkspaceList(items=items, next_cursor=page.next_cursor(rows.next)))


@MANAGED_WORKSPACES.call("GET", "/{workspace}", "Get a workspace", has_etag=True)
def get_workspace(call: OperatorCall, workspace: str) -> Reply[WorkspaceWithUse]:
    """Return a workspace, its limits and their use."""
    return _with_use(call, workspace)


@MANAGED_WORKSPACES.call(
    "PATCH",
    "/{workspace}",
    "Update a workspace",
    refusals=(NameTaken,),
    if_match=True,
    has_etag=True,
)
def update_workspace(
    call: OperatorCall, workspace: str, body: WorkspaceChange
) -> Reply[ManagedWorkspace]:
    """Change the workspace's name or external id. `name-taken`: another workspace has the external id."""
    changed = call.services.workspaces.update(
        WorkspaceId(workspace),
        name=body.sent("name"),
        external_id=body.sent("external_id"),
        actor=call.credential.actor,
        origin=call.origin,
        if_match=call.if_match,
    )
    return Reply(ManagedWorkspace.of(changed), changed.version)


@MANAGED_WORKSPACES.call("POST", "/{workspace}/suspend", "Suspend a workspace")
def suspend_workspace(call: OperatorCall, workspace: str) -> Reply[ManagedWorkspace]:
    """Refuse all keys of the workspace, from this response on, until you resume it. Nothing is deleted or revoked."""
    actor, origin = call.credential.actor, call.origin
    suspended = call.services.workspaces.suspend(WorkspaceId(workspace), actor, origin)
    return Reply(ManagedWorkspace.of(suspended))


@MANAGED_WORKSPACES.call("POST", "/{workspace}/resume", "Resume a workspace")
def resume_workspace(call: OperatorCall, workspace: str) -> Reply[ManagedWorkspace]:
    """Let the workspace's live keys work again."""
    actor, origin = call.credential.actor, call.origin
    resumed = call.services.workspaces.resume(WorkspaceId(workspace), actor, origin)
    return Reply(ManagedWorkspace.of(resumed))


@MANAGED_WORKSPACES.call(
    "PUT", "/{workspace}/plan", "Put a workspace on a plan", if_match=True, has_etag=True
)
def set_workspace_plan(
    call: OperatorCall, workspace: str, body: PlanAssignment
) -> Reply[WorkspaceWithUse]:
    """Replace the workspace's plan and its own limits.

    A lowered limit only prevents new resources: existing ones keep working, and `used` may exceed `limit`.
    """
    call.services.workspaces.set_plan(
        WorkspaceId(workspace),
        body.plan,
        body.overrides,
        call.credential.actor,
        call.origin,
        call.if_match,
    )
    return _with_use(call, workspace)


def _put_version(call: OperatorCall, path: Mapping[str, str]) -> int | None:
    """Return the version of a workspace that PUT may also create."""
    with suppress(NotFound):
        return call.services.workspaces.by_external_id(path["external_id"]).version
    return None


EXTERNAL_WORKSPACES: Final = Operations(
    f"{MANAGED_WORKSPACES.root}/by-external-id/{{external_id}}",
    MANAGED_WORKSPACES.tag,
    OPERATOR,
    path_parameters=(
        in_path(
            "external_id",
            "The product's own id of the workspace.",
            "customer-4711",
            {"pattern": f"^{EXTERNAL_ID_PATTERN}$"},
        ),
    ),
)


@EXTERNAL_WORKSPACES.call(
    "PUT",
    "",
    "Put a workspace by your own id",
    statuses=(200, 201),
    if_match=True,
    has_etag=True,
    find_version=_put_version,
)
def put_workspace(
    call: OperatorCall, external_id: str, body: PutWorkspace
) -> Reply[ManagedWorkspace]:
    """Create the workspace with that external id, or change its name and plan. Repeating the call changes nothing."""
    workspace, is_new = call.services.workspaces.put(
        external_id,
        body.name,
        body.plan,
        actor=call.credential.actor,
        origin=call.origin,
        if_match=call.if_match,
    )
    location = f"{MANAGED_WORKSPACES.root}/{workspace.id}" if is_new else None
    status = 201 if is_new else 200
    return Reply(ManagedWorkspace.of(workspace), workspace.version, location, status)


@EXTERNAL_WORKSPACES.call("GET", "", "Get a workspace by your own id", has_etag=True)
def get_workspace_by_external_id(call: OperatorCall, external_id: str) -> Reply[WorkspaceWithUse]:
    """Return a workspace, its limits and their use."""
    return _with_use(call, call.services.workspaces.by_external_id(external_id).id)


def _with_use(call: OperatorCall, workspace: str) -> Reply[WorkspaceWithUse]:
    use = call.services.plans.of_workspace(WorkspaceId(workspace))
    return Reply(WorkspaceWithUse.measured(use), use.workspace.version)
