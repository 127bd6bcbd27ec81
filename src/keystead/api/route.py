"""The path of every call of the Workspace API: credentials, scope, body, values, and only then the use case.

This module keeps the order of refusal: 400 for the head, 401, 403, then the body's size, type and syntax, then 404
and 412, and only then 409 or 422. A route enforces what its OpenAPI operation says: `needs` declares both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, TypeVar, cast

from fastapi import Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import WithJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match
from typing_extensions import override

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
from keystead.http.paging import DEFAULT_LIMIT, MAX_LIMIT, Page, read_page
from keystead.services import Services
from keystead.services.concurrency import FairSemaphore

SECURITY: Final = "key"
"""The name of the security scheme in the OpenAPI document."""

EXPIRES_HEADER: Final = "Keystead-Key-Expires"
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
MATCH_HEADER: Final = "If-Match"

MAX_BODY: Final = "x-max-body"
BODY_VALUES: Final = "x-max-values"
PROBLEMS: Final = "x-problems"
HAS_ETAG: Final = "x-etag"
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")
_IDEMPOTENCY_PARAMETER: Mapping[str, Any] = {
    "name": IDEMPOTENCY_HEADER,
    "in": "header",
    "required": False,
    "description": "Any text of 1-255 visible ASCII characters. For 24 hours, the same request with the same text"
    " returns the same key with `token` null, and a different request is refused.",
    "schema": {"type": "string", "pattern": f"^{_IDEMPOTENCY_KEY.pattern}$"},
}
MATCH_PARAMETER: Final[Mapping[str, Any]] = {
    "name": MATCH_HEADER,
    "in": "header",
    "required": False,
    "description": "The `ETag` of the version to change, or a list of them; `*`: any version, if the resource exists."
    " If the resource has another version, the change is refused with `changed-meanwhile`. A weak tag never matches.",
    "schema": {"type": "string", "examples": ['"3"']},
}
CONCURRENT_CALLS: Final = 24
"""Calls that a process runs at the same time; each workspace has its share of them.

A call takes a thread and usually one of the 32 database connections, also while it waits for its workspace's lock.
"""
_INLINE_BODY = 4 * KIB
"""The largest body, in bytes, that the event loop decodes itself. A larger one would delay all other requests."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call by a live key that has the scope."""

    services: Services
    principal: Principal
    origin: Origin
    path: str
    idempotency_key: str | None
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
    idempotent: bool = False,
    if_match: bool = False,
    has_etag: bool = False,
) -> dict[str, Any]:
    """Declare what a route needs, as arguments of its decorator.

    Args:
        scope: The scope that the key must have; None: any live key will do.
        refusals: The errors of this route beyond those that all routes share.
        also: Further scopes.
        max_body: The largest body in bytes.
        max_values: The largest number of values and member names in the body.
        idempotent: Whether the route accepts an Idempotency-Key.
        if_match: Whether it accepts If-Match.
        has_etag: Whether its response has an ETag.
    """
    security = {SECURITY: [] if scope is None else [scope, *also]}
    declaration = declare(security, refusals, max_body, max_values, if_match, has_etag)
    if idempotent:
        declaration.setdefault("parameters", []).insert(0, _IDEMPOTENCY_PARAMETER)
    return {"openapi_extra": declaration}


def declare(
    security: Mapping[str, Sequence[str]],
    refusals: Sequence[type[KeysteadError]],
    max_body: int,
    max_values: int,
    if_match: bool,
    has_etag: bool,
) -> dict[str, Any]:
    """Return an OpenAPI operation's members; the document's generator replaces those that begin with `x-`."""
    codes = [refusal.code for refusal in refusals]
    declaration: dict[str, Any] = {
        "security": [security],
        MAX_BODY: max_body,
        BODY_VALUES: max_values,
        PROBLEMS: [*codes, ChangedMeanwhile.code] if if_match else codes,
        HAS_ETAG: has_etag,
    }
    if if_match:
        declaration["parameters"] = [MATCH_PARAMETER]
    return declaration


class Gate:
    """Admits calls: verifies their keys and gives every workspace its share of concurrent calls."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.places = FairSemaphore(CONCURRENT_CALLS)
        self.bodies = LargeBodies()

    async def admit(self, scope: Scope, required: str | None, *, idempotent: bool) -> Call:
        """Verify the request's key. Unauthenticated, InvalidToken, InsufficientScope or InvalidRequest."""
        token = bearer_of(scope)
        idempotency_key = _read_idempotency_key(scope) if idempotent else None
        if_match = read_if_match(scope)
        client = client_of(scope)
        verdict = await self.services.verifier.verify_on_loop(
            token, required, address=client.address or None, agent=client.agent or None
        )
        principal = _verified(scope, verdict, required)
        origin = Origin(client.address or None, client.request_id)
        return Call(self.services, principal, origin, scope["path"], idempotency_key, if_match)

    def announce_expiry(self, call: Call, response: Response) -> None:
        """Add the header that says when the calling key expires, if that is soon."""
        expires_at = call.principal.expires_at
        if expires_at is not None and expires_at - self.services.keys.now() <= EXPIRES_SOON:
            response.headers[EXPIRES_HEADER] = format_instant(expires_at)


def _verified(scope: Scope, verdict: Verification, required: str | None) -> Principal:
    match verdict:
        case Verified(principal):
            note_caller(scope, key_id=principal.id, workspace_id=principal.workspace_id)
            return principal
        case Denied(reason, key_id, workspace_id):
            note_caller(scope, key_id=key_id, workspace_id=workspace_id)
            note_denial(scope, reason)
            raise verdict.refusal(required)


def _read_idempotency_key(scope: Scope) -> str | None:
    fields = [value for name, value in scope["headers"] if name == b"idempotency-key"]
    if not fields:
        return None
    text = str(fields[0], "latin-1").strip(" \t")
    if len(fields) > 1 or not _IDEMPOTENCY_KEY.fullmatch(text):
        raise InvalidRequest(
            f"Send one {IDEMPOTENCY_HEADER} header of 1-255 visible ASCII characters."
        )
    return text


def read_if_match(scope: Scope) -> IfMatch | None:
    """Return the condition of the request's If-Match fields; None without any. InvalidRequest."""
    fields = [str(value, "latin-1") for name, value in scope["headers"] if name == b"if-match"]
    return IfMatch.parse(fields) if fields else None


def set_etag(response: Response, version: int) -> None:
    """Set the entity tag of that version."""
    response.headers["etag"] = etag(version)


class JsonRoute(APIRoute):
    """A route that decodes JSON strictly and refuses unknown parameters. Its function's name is its operation id."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **{**options, "operation_id": endpoint.__name__})

    @property
    def headers(self) -> frozenset[str]:
        """The names of the header fields that the route declares."""
        parameters = (self.openapi_extra or {}).get("parameters", ())
        return frozenset(parameter["name"] for parameter in parameters)

    def find_version(self, call: Any, path: Mapping[str, str]) -> int | None:
        """Return the version of the resource that the path names, or None for a resource without versions. NotFound."""
        return None

    async def require_target(self, call: Any, request: Request) -> None:
        """Raise NotFound or ChangedMeanwhile: 404 and 412 come before the 422 that is about to be sent."""
        version = await run_in_threadpool(self.find_version, call, request.path_params)
        if MATCH_HEADER in self.headers:
            require_match(call.if_match, version)

    def check_query(self, request: Request) -> None:
        """Refuse unknown and repeated parameters. Invalid."""
        known = {field.alias for field in self.dependant.query_params}
        counts = Counter(name for name, _ in request.query_params.multi_items())
        refused = [name for name, count in counts.items() if name not in known or count > 1]
        if refused:
            raise Invalid(
                [
                    FieldError(
                        request_pointer(("query", name)),
                        "must be sent only once" if name in known else "is an unknown parameter",
                    )
                    for name in sorted(refused)[:MAX_PARAMETERS]
                ]
            )

    def body_length(self, request: Request) -> int | None:
        """Return how many bytes of body this route will read; None if the request does not say."""
        if self.body_field is None:
            return 0
        length = request.headers.get("content-length")
        return int(length) if length else None

    async def decoded(self, request: Request, owner: str) -> Request:
        """Return the request with its body as the route's model. TooLarge, UnsupportedMediaType or Invalid.

        A large body is parsed within the share of `owner`.
        """
        if self.body_field is None:
            return _Decoded(request, None)
        declaration = self.openapi_extra or {}
        data = await read_body(request.receive, declaration[MAX_BODY], self.body_length(request))
        if not data and not self.body_field.field_info.is_required():
            return _Decoded(request, None)
        require_unencoded(request.headers.raw)
        require_json(request.headers.get("content-type"))
        model = cast(type[Body], self.body_field.field_info.annotation)
        decode = partial(decode_model, model, data, declaration[BODY_VALUES])
        if len(data) <= _INLINE_BODY:
            return _Decoded(request, decode())
        bodies: LargeBodies = request.app.state.gate.bodies
        return _Decoded(request, await bodies.parse(owner, decode, len(data)))

    # HEAD is answered like GET (RFC 9110 section 9.3.2); the server omits the body.
    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(self._as_get(scope))

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().handle(self._as_get(scope), receive, send)

    def _as_get(self, scope: Scope) -> Scope:
        is_head = scope.get("method") == "HEAD" and "GET" in (self.methods or ())
        return {**scope, "method": "GET"} if is_head else scope


class WorkspaceRoute(JsonRoute):
    """A route of the Workspace API. Each resource's subclass knows how to find the resource in the path."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        required, *also = (self.openapi_extra or {})["security"][0][SECURITY] or [None]
        idempotent = IDEMPOTENCY_HEADER in self.headers

        async def guarded(request: Request) -> Response:
            gate: Gate = request.app.state.gate
            call = await gate.admit(request.scope, required, idempotent=idempotent)
            for scope in also:
                call.principal.require(scope)
            request.state.call = call
            owner = call.principal.workspace_id
            async with gate.bodies.held(owner, self.body_length(request)):
                try:
                    # The body is read before a place is taken: a slow upload holds no thread.
                    decoded = await self.decoded(request, owner)
                    self.check_query(request)
                    async with gate.places.held(owner):
                        response = await handle(decoded)
                except (Invalid, RequestValidationError):
                    async with gate.places.held(owner):
                        await self.require_target(call, request)
                    raise
            gate.announce_expiry(call, response)
            return response

        return guarded


class _Decoded(Request):
    """A request as FastAPI shall see it: its body is already a model, or absent, and it has no cookies.

    FastAPI reads the cookies of every request, and older Pythons do so in quadratic time (CVE-2024-7592).
    """

    def __init__(self, request: Request, model: object) -> None:
        super().__init__(request.scope, request.receive)
        self._model = model

    @property
    @override
    def cookies(self) -> dict[str, str]:
        return {}

    @override
    async def body(self) -> bytes:
        return b"" if self._model is None else b"{}"

    @override
    async def json(self) -> object:
        return self._model


P = TypeVar("P", str, int)

# Sent limits stay text here: `read_page` parses them, so that every list refuses the same ones.
Limit = Annotated[
    str | None,
    Query(description=f"The largest number of items to return: 1-{MAX_LIMIT}."),
    WithJsonSchema(
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    ),
]
Cursor = Annotated[
    str | None,
    Query(description="The `next_cursor` of the previous page; other parameters must not change."),
    WithJsonSchema({"type": "string"}),
]


def page_of(
    call: Call, kind: type[P], limit: str | None, cursor: str | None, **filters: str | None
) -> Page[P]:
    """Return the page that a call asks for; `kind` is the type of the list's positions. Invalid or InvalidCursor."""
    return read_page(
        kind,
        workspace_id=call.principal.workspace_id,
        path=call.path,
        filters=filters,
        limit=limit,
        cursor=cursor,
    )


def next_cursor(page: Page[P], position: P | None) -> str | None:
    """Return the cursor that continues after `position`; None at the end."""
    return None if position is None else page.cursor(position)
