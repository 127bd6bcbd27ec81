"""FastAPI: a dependency that admits keys with a scope, and is a bearer scheme in the OpenAPI document.

keystead = protect(app, connect("sqlite:////srv/keystead/keystead.db"))

@app.get("/reports")
async def reports(principal: Annotated[Principal, Depends(require("reports:read"))]) -> …
"""

from typing import Final

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


class Refused(Exception):
    """A request that is refused with `answer`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("refused")
        self.answer = answer


def protect(app: FastAPI, guard: Guard) -> Guard:
    """Let the dependencies of `app` ask `guard`, and send its refusals. Call it for a mounted application too."""
    app.state.keystead = guard
    app.add_exception_handler(Refused, _send)
    return guard


class Required(SecurityBase):
    """The dependency that `require` returns: an active key with the scope."""

    def __init__(self, scope: str | None) -> None:
        self.model = BearerModel(description="An API key, as `Authorization: Bearer <token>`.")
        self.scheme_name = SCHEME
        self._required = valid_scope(scope)

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


def require(scope: str | None = None) -> Required:
    """Return a dependency that admits keys with the scope, or every active key. Raises ValueError if malformed."""
    return Required(scope)


async def _send(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - it is the handler of that alone
    return response_of(error.answer)
