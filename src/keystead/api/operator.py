"""The Operator API, for the product's backend: workspaces, plans and portal sessions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from typing_extensions import override

from keystead.api.bodies import NewPortalSession, NewWorkspace, PlanAssignment, WorkspaceChange
from keystead.api.route import (
    Cursor,
    JsonRoute,
    Limit,
    declare,
    next_cursor,
    read_if_match,
    set_etag,
)
from keystead.domain.credentials import ActingCredential
from keystead.domain.errors import (
    Invalid,
    InvalidCursor,
    KeysteadError,
    LimitReached,
    NameTaken,
    NotFound,
)
from keystead.domain.events import Origin
from keystead.domain.ids import WorkspaceId
from keystead.domain.versions import IfMatch, require_match
from keystead.http.bearer import bearer_of
from keystead.http.body import JSON_LIMIT
from keystead.http.client import client_of, note_caller
from keystead.http.json_body import MAX_VALUES
from keystead.http.paging import read_page
from keystead.services import Services
from keystead.wire.operator import (
    ManagedWorkspace,
    ManagedWorkspaceList,
    PlanList,
    PlanWithLimits,
    WorkspaceWithUse,
)
from keystead.wire.resources import PortalSession

OPERATOR: Final = "operator"
"""The name of the security scheme in the OpenAPI document."""

LOCATED: Final = "x-located"


@dataclass(frozen=True, slots=True)
class OperatorCall:
    """A call with a live operator's credential."""

    services: Services
    credential: ActingCredential
    origin: Origin
    path: str
    base_url: str
    if_match: IfMatch | None


async def _current(request: Request) -> OperatorCall:
    call: OperatorCall = request.state.call
    return call


CurrentOperator = Annotated[OperatorCall, Depends(_current)]


def needs_operator(
    *refusals: type[KeysteadError],
    located: bool = False,
    if_match: bool = False,
    has_etag: bool = False,
) -> dict[str, Any]:
    """Declare what an operator's route needs, as `needs` does.

    `located`: its 201 response has a Location.
    """
    declaration = declare({OPERATOR: []}, refusals, JSON_LIMIT, MAX_VALUES, if_match, has_etag)
    return {"openapi_extra": {**declaration, LOCATED: located}}


class OperatorRoute(JsonRoute):
    """A route of the Operator API. A workspace's key is refused here, whatever its scopes."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            call = await _admit(request)
            request.state.call = call
            try:
                decoded = await self.decoded(request, call.credential.id)
                self.check_query(request)
                return await handle(decoded)
            except (Invalid, RequestValidationError):
                await self.require_target(call, request)
                raise

        return guarded


async def _admit(request: Request) -> OperatorCall:
    """Verify the request's credential. Unauthenticated, InvalidToken or InvalidRequest."""
    services: Services = request.app.state.gate.services
    credential = await services.credential_verifier.verify(bearer_of(request.scope))
    note_caller(request.scope, key_id=credential.id, workspace_id=None)
    client = client_of(request.scope)
    origin = Origin(client.address or None, client.request_id)
    base_url = request.app.state.base_url
    path, if_match = request.scope["path"], read_if_match(request.scope)
    return OperatorCall(services, credential, origin, path, base_url, if_match)


class ManagedWorkspaceRoute(OperatorRoute):
    """A route of workspaces; `id` in its path is a workspace's id."""

    @override
    def find_version(self, call: OperatorCall, path: Mapping[str, str]) -> int | None:
        if "id" not in path:
            return None
        return call.services.workspaces.get(WorkspaceId(path["id"])).version


_Id = Annotated[
    str, Path(description="The workspace's id.", examples=["ws_02tcRIyrxLXTR81B3dqdOx"])
]

router = APIRouter(
    prefix="/operator/v1/workspaces", tags=["managed workspaces"], route_class=ManagedWorkspaceRoute
)


@router.post(
    "",
    summary="Create a workspace",
    status_code=201,
    **needs_operator(NameTaken, located=True, has_etag=True),
)
def workspaces_create(
    call: CurrentOperator, body: NewWorkspace, response: Response
) -> ManagedWorkspace:
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
    response.headers["location"] = f"/operator/v1/workspaces/{workspace.id}"
    set_etag(response, workspace.version)
    return ManagedWorkspace.of(workspace)


@router.get("", summary="List workspaces", **needs_operator(InvalidCursor))
def workspaces_list(
    call: CurrentOperator,
    query: Annotated[
        str | None,
        Query(description="A part of the name (a-z in upper or lower case), or the exact id."),
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> ManagedWorkspaceList:
    """Return all workspaces, newest first, suspended ones included."""
    page = read_page(
        str, workspace_id="", path=call.path, filters={"query": query}, limit=limit, cursor=cursor
    )
    before = None if page.after is None else WorkspaceId(page.after)
    rows = call.services.workspaces.list(query=query or "", limit=page.limit, before=before)
    return ManagedWorkspaceList(
        items=list(map(ManagedWorkspace.of, rows.items)),
        next_cursor=next_cursor(page, rows.next),
    )


@router.get("/{id}", summary="Get a workspace", **needs_operator(has_etag=True))
def workspaces_get(call: CurrentOperator, id: _Id, response: Response) -> WorkspaceWithUse:
    """Return a workspace, its limits and their use."""
    return _with_use(call, id, response)


@router.patch("/{id}", summary="Rename a workspace", **needs_operator(if_match=True, has_etag=True))
def workspaces_update(
    call: CurrentOperator, id: _Id, body: WorkspaceChange, response: Response
) -> ManagedWorkspace:
    """Change the workspace's name."""
    workspaces, workspace_id = call.services.workspaces, WorkspaceId(id)
    if body.model_fields_set:
        acting = call.credential.within(workspace_id)
        workspace = workspaces.rename(acting, body.name, call.origin, call.if_match)
    else:
        workspace = workspaces.get(workspace_id)
        require_match(call.if_match, workspace.version)
    set_etag(response, workspace.version)
    return ManagedWorkspace.of(workspace)


@router.post("/{id}/suspend", summary="Suspend a workspace", **needs_operator())
def workspaces_suspend(call: CurrentOperator, id: _Id) -> ManagedWorkspace:
    """Refuse all keys of the workspace, from this response on, until you resume it. Nothing is deleted or revoked."""
    actor, origin = call.credential.actor, call.origin
    return ManagedWorkspace.of(call.services.workspaces.suspend(WorkspaceId(id), actor, origin))


@router.post("/{id}/resume", summary="Resume a workspace", **needs_operator())
def workspaces_resume(call: CurrentOperator, id: _Id) -> ManagedWorkspace:
    """Let the workspace's live keys work again."""
    actor, origin = call.credential.actor, call.origin
    return ManagedWorkspace.of(call.services.workspaces.resume(WorkspaceId(id), actor, origin))


@router.put(
    "/{id}/plan",
    summary="Put a workspace on a plan",
    **needs_operator(if_match=True, has_etag=True),
)
def workspaces_plan(
    call: CurrentOperator, id: _Id, body: PlanAssignment, response: Response
) -> WorkspaceWithUse:
    """Replace the workspace's plan and its own limits.

    A lowered limit only prevents new resources: existing ones keep working, and `used` may exceed `limit`.
    """
    call.services.workspaces.set_plan(
        WorkspaceId(id),
        body.plan,
        body.overrides,
        call.credential.actor,
        call.origin,
        call.if_match,
    )
    return _with_use(call, id, response)


def _with_use(call: OperatorCall, id: str, response: Response) -> WorkspaceWithUse:
    use = call.services.plans.of_workspace(WorkspaceId(id))
    set_etag(response, use.workspace.version)
    return WorkspaceWithUse.measured(use)


plans_router = APIRouter(prefix="/operator/v1/plans", tags=["plans"], route_class=OperatorRoute)


@plans_router.get("", summary="List plans", **needs_operator())
def plans_list(call: CurrentOperator) -> PlanList:
    """Return all plans, from small to large. `keystead plans apply` changes them."""
    plans = [PlanWithLimits.of(plan) for plan in call.services.plans.all()]
    return PlanList(items=plans, next_cursor=None)


portal_router = APIRouter(
    prefix="/operator/v1/portal-sessions", tags=["portal sessions"], route_class=OperatorRoute
)


@portal_router.post(
    "", summary="Sign a user in", status_code=201, **needs_operator(NotFound, LimitReached)
)
def portal_create(call: CurrentOperator, body: NewPortalSession) -> PortalSession:
    """Create a link that signs a user in once, within five minutes. Send the user's browser there.

    The workspace and the product's own `id` identify the user. Name, email and role are updated to the values sent.
    """
    sessions = call.services.portal_sessions
    secret, expires_at = sessions.create(call.credential, body.request(), call.origin)
    url = f"{call.base_url}/sign-in?{urlencode({'link': secret.reveal()})}"
    return PortalSession(url=url, expires_at=expires_at)
