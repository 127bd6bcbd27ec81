"""The way that every call of the Workspace API takes: credentials, scope, body, values, and only then the use case.

The order of refusal is kept here, once: 400 for the head, 401, 403, then the body's size, type and syntax, then 404,
and only then 409 or 422. What a route enforces is what its OpenAPI operation says: both are one declaration, `needs`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, cast

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match

from keystead.api.bodies import Body
from keystead.domain.errors import (
    ChangedMeanwhile,
    FieldError,
    Invalid,
    InvalidRequest,
    KeysteadError,
)
from keystead.domain.events import Origin
from keystead.domain.instants import format_instant
from keystead.domain.keys import EXPIRES_SOON
from keystead.domain.principals import Principal
from keystead.domain.verification import Denied, Verification, Verified
from keystead.domain.versions import IfMatch, etag, require_match
from keystead.http.asgi import Receive, Scope, Send
from keystead.http.bearer import bearer_of
from keystead.http.body import JSON_LIMIT, KIB, LargeBodies, read_body, require_unencoded
from keystead.http.client import client_of, note_caller, note_denial
from keystead.http.json_body import (
    MAX_PARAMETERS,
    MAX_VALUES,
    decode_model,
    request_pointer,
    require_json,
)
from keystead.services import Services
from keystead.services.concurrency import FairSemaphore

SECURITY: Final = "key"
"""The name of the security scheme in the OpenAPI document."""

EXPIRES_HEADER: Final = "Keystead-Key-Expires"
ONCE_HEADER: Final = "Idempotency-Key"
MATCH_HEADER: Final = "If-Match"

MAX_BODY: Final = "x-max-body"
BODY_VALUES: Final = "x-max-values"
PROBLEMS: Final = "x-problems"
TAGGED: Final = "x-tagged"
_ONCE_FORM = re.compile(r"[!-~]{1,255}")
_ONCE_PARAMETER: Mapping[str, Any] = {
    "name": ONCE_HEADER,
    "in": "header",
    "required": False,
    "description": "Any text of 1-255 visible ASCII characters. For 24 hours, the same request with the same text is"
    " answered with the same key and `token` null; another one is refused.",
    "schema": {"type": "string", "pattern": f"^{_ONCE_FORM.pattern}$"},
}
CALLS: Final = 24
"""Calls of one process that run at the same time, of which each workspace has its share.

Each holds a thread, and mostly one of the database's 32 connections, also while it waits for its workspace's lock.
"""
MATCH_PARAMETER: Final[Mapping[str, Any]] = {
    "name": MATCH_HEADER,
    "in": "header",
    "required": False,
    "description": "The `ETag` of the resource that the change is made for, or a list of them; `*`: any that exists."
    " For another version the change is refused with `changed-meanwhile`. A weak tag never matches.",
    "schema": {"type": "string", "examples": ['"3"']},
}
_INLINE_BODY = 4 * KIB
"""Bytes of a body that are decoded on the event loop's thread; more would hold up everybody else."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a live key that holds the scope: who acts, from where, and the use cases there are."""

    services: Services
    principal: Principal
    origin: Origin
    path: str
    once: str | None
    if_match: IfMatch | None


async def _current(request: Request) -> Call:
    call: Call = request.state.call
    return call


CurrentCall = Annotated[Call, Depends(_current)]


def needs(
    scope: str | None,
    *refusals: type[KeysteadError],
    also: Sequence[str] = (),
    max_body: int = JSON_LIMIT,
    max_values: int = MAX_VALUES,
    once: bool = False,
    if_match: bool = False,
    tagged: bool = False,
) -> dict[str, Any]:
    """What a route needs, as arguments of its decorator: the scope (None: a live key), and the refusals of its own.

    `also`: further scopes; `max_body` in bytes; `max_values`: values and member names of the body; `once`: it takes an
    Idempotency-Key; `if_match`: it takes If-Match; `tagged`: its answer has an ETag.
    """
    parameters = [_ONCE_PARAMETER] * once + [MATCH_PARAMETER] * if_match
    if if_match:
        refusals = (*refusals, ChangedMeanwhile)
    declared: dict[str, Any] = {
        "security": [{SECURITY: [] if scope is None else [scope, *also]}],
        MAX_BODY: max_body,
        BODY_VALUES: max_values,
        PROBLEMS: [refusal.code for refusal in refusals],
        TAGGED: tagged,
    }
    if parameters:
        declared["parameters"] = parameters
    return {"openapi_extra": declared}


class Gate:
    """Who calls, and a place for what they call."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.places = FairSemaphore(CALLS)
        self.bodies = LargeBodies()

    async def admit(self, scope: Scope, required: str | None, *, takes_once: bool) -> Call:
        """The call of the request's key; Unauthenticated, InvalidToken, InsufficientScope or InvalidRequest."""
        token = bearer_of(scope)
        once = _read_once(scope) if takes_once else None
        if_match = read_if_match(scope)
        client = client_of(scope)
        verdict = await self.services.verifier.verify_on_loop(
            token, required, address=client.address or None, agent=client.agent or None
        )
        principal = _judged(scope, verdict, required)
        origin = Origin(client.address or None, client.request_id)
        return Call(self.services, principal, origin, scope["path"], once, if_match)

    def stamp(self, call: Call, response: Response) -> Response:
        """The answer, with the caller's end where that is near."""
        ends = call.principal.expires_at
        if ends is not None and ends - self.services.keys.now() <= EXPIRES_SOON:
            response.headers[EXPIRES_HEADER] = format_instant(ends)
        return response


def _judged(scope: Scope, verdict: Verification, required: str | None) -> Principal:
    match verdict:
        case Verified(principal):
            note_caller(scope, key_id=principal.id, workspace_id=principal.workspace_id)
            return principal
        case Denied(reason, key_id, workspace_id):
            note_caller(scope, key_id=key_id, workspace_id=workspace_id)
            note_denial(scope, reason)
            raise verdict.refusal(required)


def _read_once(scope: Scope) -> str | None:
    sent = [value for name, value in scope["headers"] if name == b"idempotency-key"]
    if not sent:
        return None
    text = str(sent[0], "latin-1").strip(" \t")
    if len(sent) > 1 or not _ONCE_FORM.fullmatch(text):
        raise InvalidRequest(f"Send one {ONCE_HEADER} of 1-255 visible ASCII characters.")
    return text


def read_if_match(scope: Scope) -> IfMatch | None:
    """Return the condition of the request's If-Match fields, if it has any. InvalidRequest."""
    fields = [str(value, "latin-1") for name, value in scope["headers"] if name == b"if-match"]
    return IfMatch.parse(fields) if fields else None


def tag(response: Response, version: int) -> None:
    """Answer with the entity tag of that version."""
    response.headers["etag"] = etag(version)


class JsonRoute(APIRoute):
    """A route that takes JSON, strictly, and no parameters that mean nothing."""

    @property
    def headers(self) -> frozenset[str]:
        """The names of the header fields that the route declares."""
        parameters = (self.openapi_extra or {}).get("parameters", ())
        return frozenset(parameter["name"] for parameter in parameters)

    def check_query(self, request: Request) -> None:
        """Refuses parameters that mean nothing here, and those that come twice and so mean two things."""
        known = {field.alias for field in self.dependant.query_params}
        counts = Counter(name for name, _ in request.query_params.multi_items())
        refused = [name for name, count in counts.items() if name not in known or count > 1]
        if refused:
            raise Invalid(
                [
                    FieldError(
                        request_pointer(("query", name)),
                        "must stand once" if name in known else "is not known here",
                    )
                    for name in sorted(refused)[:MAX_PARAMETERS]
                ]
            )

    def body_length(self, request: Request) -> int | None:
        """Bytes of the body that this route will read, None where they are not announced."""
        if self.body_field is None:
            return 0
        length = request.headers.get("content-length")
        return int(length) if length else None

    async def decoded(self, request: Request, owner: str) -> Request:
        """The request with its body as the model that the route takes; TooLarge, UnsupportedMediaType, Invalid.

        `owner`: out of whose share a large body is parsed.
        """
        if self.body_field is None:
            return _Decoded(request, None)
        declared = self.openapi_extra or {}
        data = await read_body(request.receive, declared[MAX_BODY], self.body_length(request))
        if not data and not self.body_field.field_info.is_required():
            return _Decoded(request, None)
        require_unencoded(request.headers.raw)
        require_json(request.headers.get("content-type"))
        model = cast(type[Body], self.body_field.field_info.annotation)
        decode = partial(decode_model, model, data, declared[BODY_VALUES])
        if len(data) <= _INLINE_BODY:
            return _Decoded(request, decode())
        bodies: LargeBodies = request.app.state.gate.bodies
        return _Decoded(request, await bodies.parse(owner, decode, len(data)))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """What the framework asks; HEAD is answered wherever GET is (RFC 9110 section 9.3.2)."""
        return super().matches(self._as_get(scope))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer to HEAD is that to GET, whose body the server leaves out."""
        await super().handle(self._as_get(scope), receive, send)

    def _as_get(self, scope: Scope) -> Scope:
        is_head = scope.get("method") == "HEAD" and "GET" in (self.methods or ())
        return {**scope, "method": "GET"} if is_head else scope


class WorkspaceRoute(JsonRoute):
    """A route of the Workspace API; a noun's own subclass tells how the things in its paths are found."""

    def find(self, call: Call, named: Mapping[str, str]) -> int | None:
        """Return the version of what the path names, if it has one; NotFound unless it is there.

        Asked before values are refused: 404 and 412 come before 422.
        """
        return None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, behind the gate and with a body that is decoded already."""
        handle = super().get_route_handler()
        declared = self.openapi_extra or {}
        required, *also = declared["security"][0][SECURITY] or [None]
        takes_once = ONCE_HEADER in self.headers

        async def guarded(request: Request) -> Response:
            gate: Gate = request.app.state.gate
            call = await gate.admit(request.scope, required, takes_once=takes_once)
            for scope in also:
                call.principal.require(scope)
            request.state.call = call
            owner = call.principal.workspace_id
            async with gate.bodies.held(owner, self.body_length(request)):
                try:
                    decoded = await self.decoded(request, owner)
                    self.check_query(request)
                    async with gate.places.held(owner):
                        response = await handle(decoded)
                except (Invalid, RequestValidationError):
                    async with gate.places.held(owner):
                        version = await run_in_threadpool(self.find, call, request.path_params)
                    if MATCH_HEADER in self.headers:
                        require_match(call.if_match, version)
                    raise
            return gate.stamp(call, response)

        return guarded


class _Decoded(Request):
    """A request as FastAPI is to see it: its body is a model already, or there is none, and it has no cookies.

    FastAPI reads the cookies of every request, also for routes that take none, and older Pythons do so in quadratic
    time (CVE-2024-7592).
    """

    def __init__(self, request: Request, model: object) -> None:
        super().__init__(request.scope, request.receive)
        self._model = model

    @property
    def cookies(self) -> dict[str, str]:
        return {}

    async def body(self) -> bytes:
        return b"" if self._model is None else b"{}"

    async def json(self) -> object:
        return self._model
