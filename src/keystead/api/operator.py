"""The tenants of the installation and their plans, for the product's own services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from keystead.api.listing import Cursor, Limit, next_cursor
from keystead.api.operator_bodies import NewWorkspace, PlanAssignment, WorkspaceChange
from keystead.api.operator_route import (
    CurrentOperator,
    OperatorCall,
    OperatorRoute,
    needs_operator,
)
from keystead.api.route import tag
from keystead.domain.errors import InvalidCursor, NameTaken
from keystead.domain.ids import WorkspaceId
from keystead.domain.versions import require_match
from keystead.http.paging import read_page
from keystead.wire.operator import ManagedWorkspace, ManagedWorkspaceList, WorkspaceWithUse


class ManagedWorkspaceRoute(OperatorRoute):
    """A route about workspaces: `id` in its path is one's."""

    def find(self, call: OperatorCall, named: Mapping[str, str]) -> int | None:
        """Return the workspace's version."""
        if "id" not in named:
            return None
        return call.services.workspaces.get(WorkspaceId(named["id"])).version


_Id = Annotated[
    str, Path(description="The workspace's id.", examples=["ws_02tcRIyrxLXTR81B3dqdOx"])
]

router = APIRouter(
    prefix="/operator/v1/workspaces",
    tags=["managed workspaces"],
    route_class=ManagedWorkspaceRoute,
)


@router.post(
    "",
    operation_id="workspaces_create",
    summary="Create a workspace",
    status_code=201,
    **needs_operator(NameTaken, located=True, tagged=True),
)
def create_workspace(
    call: CurrentOperator, body: NewWorkspace, response: Response
) -> ManagedWorkspace:
    """A new workspace, on the smallest plan unless one is named. `name-taken`: the owner's address is another's."""
    owner = body.owner
    made = call.services.workspaces.create(
        body.name,
        plan_id=body.plan,
        owner=owner.name if owner else None,
        email=owner.email if owner else None,
        actor=call.credential.actor,
        origin=call.origin,
    )
    response.headers["location"] = f"/operator/v1/workspaces/{made.id}"
    tag(response, made.version)
    return ManagedWorkspace.of(made)


@router.get(
    "",
    operation_id="workspaces_list",
    summary="List workspaces",
    **needs_operator(InvalidCursor),
)
def list_workspaces(
    call: CurrentOperator,
    query: Annotated[
        str | None,
        Query(description="Part of the name, the letters a-z in any case, or the exact id."),
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> ManagedWorkspaceList:
    """All workspaces, newest first, suspended ones too."""
    page = read_page(
        str,
        workspace_id="",
        path=call.path,
        filters={"query": query},
        limit=limit,
        cursor=cursor,
    )
    before = None if page.after is None else WorkspaceId(page.after)
    found = call.services.workspaces.list(query=query or "", limit=page.limit, before=before)
    return ManagedWorkspaceList(
        items=[ManagedWorkspace.of(each) for each in found.items],
        next_cursor=next_cursor(page, found.next),
    )


@router.get(
    "/{id}",
    operation_id="workspaces_get",
    summary="See a workspace",
    **needs_operator(tagged=True),
)
def get_workspace(call: CurrentOperator, id: _Id, response: Response) -> WorkspaceWithUse:
    """One workspace, and how much of its limits it uses."""
    return _measured(call, id, response)


@router.patch(
    "/{id}",
    operation_id="workspaces_update",
    summary="Rename a workspace",
    **needs_operator(if_match=True, tagged=True),
)
def update_workspace(
    call: CurrentOperator, id: _Id, body: WorkspaceChange, response: Response
) -> ManagedWorkspace:
    """Gives the workspace another name."""
    workspaces, workspace_id = call.services.workspaces, WorkspaceId(id)
    if body.model_fields_set:
        acting = call.credential.within(workspace_id)
        changed = workspaces.rename(acting, body.name, call.origin, call.if_match)
    else:
        changed = workspaces.get(workspace_id)
        require_match(call.if_match, changed.version)
    tag(response, changed.version)
    return ManagedWorkspace.of(changed)


@router.post(
    "/{id}/suspend",
    operation_id="workspaces_suspend",
    summary="Suspend a workspace",
    **needs_operator(),
)
def suspend_workspace(call: CurrentOperator, id: _Id) -> ManagedWorkspace:
    """Refuses every key of the workspace from the answer on, until it is resumed; again, the answer is the same.

    Nothing is deleted or revoked.
    """
    actor, origin = call.credential.actor, call.origin
    return ManagedWorkspace.of(call.services.workspaces.suspend(WorkspaceId(id), actor, origin))


@router.post(
    "/{id}/resume",
    operation_id="workspaces_resume",
    summary="Resume a workspace",
    **needs_operator(),
)
def resume_workspace(call: CurrentOperator, id: _Id) -> ManagedWorkspace:
    """Lets the workspace's keys work again, as far as they live; again, the answer is the same."""
    actor, origin = call.credential.actor, call.origin
    return ManagedWorkspace.of(call.services.workspaces.resume(WorkspaceId(id), actor, origin))


@router.put(
    "/{id}/plan",
    operation_id="workspaces_plan",
    summary="Put a workspace on a plan",
    **needs_operator(if_match=True, tagged=True),
)
def put_workspace_on_plan(
    call: CurrentOperator, id: _Id, body: PlanAssignment, response: Response
) -> WorkspaceWithUse:
    """Makes the plan and the workspace's own limits what is sent, the whole of it; the same again changes nothing.

    A lowered limit stops creation only: what is there stays and works, and `used` may be above `limit`.
    """
    call.services.workspaces.set_plan(
        WorkspaceId(id),
        body.plan,
        body.overrides,
        call.credential.actor,
        call.origin,
        call.if_match,
    )
    return _measured(call, id, response)


def _measured(call: OperatorCall, id: str, response: Response) -> WorkspaceWithUse:
    found = call.services.plans.of_workspace(WorkspaceId(id))
    tag(response, found.workspace.version)
    return WorkspaceWithUse.measured(found)
