"""The way that every call of the product's own services takes: credential, body, and only then the use case."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool

from keystead.api.route import (
    BODY_VALUES,
    MATCH_HEADER,
    MATCH_PARAMETER,
    MAX_BODY,
    PROBLEMS,
    TAGGED,
    JsonRoute,
    read_if_match,
)
from keystead.domain.credentials import ActingCredential
from keystead.domain.errors import ChangedMeanwhile, Invalid, KeysteadError
from keystead.domain.events import Origin
from keystead.domain.versions import IfMatch, require_match
from keystead.http.bearer import bearer_of
from keystead.http.body import JSON_LIMIT
from keystead.http.client import client_of, note_caller
from keystead.http.json_body import MAX_VALUES
from keystead.services import Services

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
