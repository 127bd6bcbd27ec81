"""The way that every call of the product's own services takes: credential, body, and only then the use case."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool

from keystead.api.bodies import NewPortalSession, NewWorkspace, PlanAssignment, WorkspaceChange
from keystead.api.route import (
    BODY_VALUES,
    MATCH_HEADER,
    MATCH_PARAMETER,
    MAX_BODY,
    PROBLEMS,
    TAGGED,
    Cursor,
    JsonRoute,
    Limit,
    next_cursor,
    read_if_match,
    tag,
)
from keystead.domain.credentials import ActingCredential
from keystead.domain.errors import (
    ChangedMeanwhile,
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
from keystead.http.json_body import MAX_VALUES
from keystead.http.paging import read_page
from keystead.http.record import client_of, note_caller
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
    """One call with a live operator credential: which one, from where, and the use cases there are."""

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
    tagged: bool = False,
) -> dict[str, Any]:
    """What an operator's route needs, as arguments of its decorator: the credential, and the refusals of its own.

    `located`: what it makes has a path, which the answer names; `if_match`: it takes If-Match; `tagged`: its answer
    has an ETag.
    """
    if if_match:
        refusals = (*refusals, ChangedMeanwhile)
    declared: dict[str, Any] = {
        "security": [{OPERATOR: []}],
        LOCATED: located,
        MAX_BODY: JSON_LIMIT,
        BODY_VALUES: MAX_VALUES,
        PROBLEMS: [refusal.code for refusal in refusals],
        TAGGED: tagged,
    }
    if if_match:
        declared["parameters"] = [MATCH_PARAMETER]
    return {"openapi_extra": declared}


class OperatorRoute(JsonRoute):
    """A route for the product's own services. A workspace's key is no credential here, whatever its scopes."""

    def find(self, call: OperatorCall, named: Mapping[str, str]) -> int | None:
        """As of WorkspaceRoute."""
        return None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, behind the credential and with a body that is decoded already."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            call = await _admitted(request)
            request.state.call = call
            try:
                decoded = await self.decoded(request, call.credential.id)
                self.check_query(request)
                return await handle(decoded)
            except (Invalid, RequestValidationError):
                version = await run_in_threadpool(self.find, call, request.path_params)
                if MATCH_HEADER in self.headers:
                    require_match(call.if_match, version)
                raise

        return guarded


async def _admitted(request: Request) -> OperatorCall:
    """The call; Unauthenticated, InvalidToken or InvalidRequest."""
    services: Services = request.app.state.gate.services
    text = bearer_of(request.scope)
    credential = await services.credential_verifier.verify(text)
    note_caller(request.scope, key_id=credential.id, workspace_id=None)
    client = client_of(request.scope)
    origin = Origin(client.address or None, client.request_id)
    base_url = request.app.state.base_url
    path, if_match = request.scope["path"], read_if_match(request.scope)
    return OperatorCall(services, credential, origin, path, base_url, if_match)


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
        items=[ManagedWorkspace.of(each) for each in found.workspaces],
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


plans_router = APIRouter(prefix="/operator/v1/plans", tags=["plans"], route_class=OperatorRoute)


@plans_router.get("", operation_id="plans_list", summary="List plans", **needs_operator())
def list_plans(call: CurrentOperator) -> PlanList:
    """Every plan that workspaces may be on, from small to large. `keystead plans apply` says which there are."""
    plans = [PlanWithLimits.of(plan) for plan in call.services.plans.all()]
    return PlanList(items=plans, next_cursor=None)


portal_router = APIRouter(
    prefix="/operator/v1/portal-sessions", tags=["portal sessions"], route_class=OperatorRoute
)


@portal_router.post(
    "",
    operation_id="portal_create",
    summary="Sign a user in",
    status_code=201,
    **needs_operator(NotFound, LimitReached),
)
def create_portal_session(call: CurrentOperator, body: NewPortalSession) -> PortalSession:
    """A link that signs the user in, once and within five minutes: send their browser there.

    The user is known by the workspace and the product's own `id`. Name, address and role become what this call says.
    """
    sessions = call.services.portal_sessions
    secret, expires_at = sessions.create(call.credential, body.request(), call.origin)
    url = f"{call.base_url}/sign-in?{urlencode({'link': secret.reveal()})}"
    return PortalSession(url=url, expires_at=expires_at)
