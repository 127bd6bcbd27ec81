"""FastAPI: a dependency that admits keys with a scope, and describes itself in the OpenAPI document.

keystead = protect(app, connect("sqlite:////srv/keystead/keystead.db"))

@app.get("/reports")
async def reports(principal: Annotated[Principal, Depends(require("reports:read"))]) -> …
"""

from functools import cache
from typing import Any, Final

from fastapi import FastAPI, WebSocketException
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.requests import HTTPConnection
from fastapi.responses import Response
from fastapi.security.base import SecurityBase
from starlette.requests import Request

from keystead.domain.principals import Principal
from keystead.http.asgi import Answer
from keystead.integrations.asgi import POLICY_VIOLATION, asgi_head
from keystead.integrations.guard import SCOPE_KEY, Guard, valid_scope
from keystead.integrations.starlette import response_of

SCHEME: Final = "KeysteadKey"
PROBLEM: Final = "KeysteadProblem"
REFUSALS: Final = {
    "401": "The request has no key, or the key is not active.",
    "403": "The key does not have the scope.",
    "503": "The key can't be verified right now. `Retry-After` says when to try again.",
}


class Refused(Exception):
    """A request that is refused with `answer`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("refused")
        self.answer = answer


def protect(app: FastAPI, guard: Guard) -> Guard:
    """Let the dependencies of `app` ask `guard`, and send its refusals. Call it for a mounted application too.

    The OpenAPI document of `app` then lists the scopes of each operation, and its refusals.
    """
    app.state.keystead = guard
    app.add_exception_handler(Refused, _send)
    generate = app.openapi
    # FastAPI's own way to extend the document. It caches what it generated, which may be described again.
    app.openapi = lambda: _described(generate())  # type: ignore[method-assign]
    return guard


class Required(SecurityBase):
    """The dependency that `require` returns: an active key with the scope."""

    def __init__(self, scope: str | None) -> None:
        self.model = BearerModel(description="An API key, as `Authorization: Bearer <token>`.")
        # FastAPI lists the scopes of OAuth only. It lists this name, from which `protect` writes the scope.
        self.scheme_name = SCHEME if scope is None else f"{SCHEME}.{scope.replace(':', '.')}"
        self._required = scope

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Return the principal. Raises Refused, WebSocketException, or AttributeError without `protect`."""
        guard: Guard = connection.app.state.keystead
        try:
            principal = await guard.admit_on_loop(asgi_head(connection.scope), self._required)
        except Exception as error:  # noqa: BLE001 - whatever it is, the endpoint must not run
            answer = guard.answer(error)
            if connection.scope["type"] == "websocket":
                raise WebSocketException(POLICY_VIOLATION, "refused") from None
            raise Refused(answer) from None
        connection.scope[SCOPE_KEY] = principal
        return principal


@cache
def require(scope: str | None = None) -> Required:
    """Return the dependency that admits keys with the scope, or every active key. Raises ValueError if malformed.

    It is one object for each scope, which `app.dependency_overrides` may replace in a test.
    """
    return Required(valid_scope(scope))


async def _send(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - it is the handler of that alone
    return response_of(error.answer)


def _described(document: dict[str, Any]) -> dict[str, Any]:
    """Write the scopes and refusals of each operation into an OpenAPI document. Returns it."""
    components = document.get("components", {})
    schemes = components.get("securitySchemes", {})
    ours = [schemes.pop(name) for name in list(schemes) if _is_ours(name)]
    if ours:
        schemes[SCHEME] = ours[0]
        components.setdefault("schemas", {}).setdefault(PROBLEM, _PROBLEM_SCHEMA)
        for path in document["paths"].values():
            for operation in path.values():
                _describe(operation)
    return document


def _describe(operation: dict[str, Any]) -> None:
    ours: dict[str, list[str]] = {}
    others = []
    for requirement in operation.get("security", ()):
        if any(map(_is_ours, requirement)):
            ours |= requirement
        else:
            others.append(requirement)
    if not ours:
        return
    # All dependencies of an operation hold, so their scopes are in one requirement.
    scopes = {name.partition(".")[2].replace(".", ":") for name in ours} - {""}
    scopes.update(*ours.values())
    operation["security"] = [*others, {SCHEME: sorted(scopes)}]
    responses = operation.setdefault("responses", {})
    for status, description in REFUSALS.items():
        if status != "403" or scopes:
            schema = {"$ref": f"#/components/schemas/{PROBLEM}"}
            content = {"application/problem+json": {"schema": schema}}
            responses.setdefault(status, {"description": description, "content": content})


def _is_ours(scheme: str) -> bool:
    return scheme.partition(".")[0] == SCHEME


_PROBLEM_SCHEMA: Final = {
    "title": PROBLEM,
    "description": "A refusal (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "The page of the error."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "examples": ["invalid-token", "insufficient-scope"]},
    },
}
