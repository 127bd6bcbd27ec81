"""Exception handlers for Starlette and FastAPI: an exception gets the same answer there as in plain ASGI code."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from keystead.domain.errors import (
    Invalid,
    InvalidRequest,
    KeysteadError,
    NotFound,
    StorageError,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
)
from keystead.http.access_log import log_failure
from keystead.http.asgi import Answer, Scope
from keystead.http.head import METHODS
from keystead.http.json_body import invalid_of, request_pointer
from keystead.http.problems import Internal, MethodNotAllowed, Problems

_BY_STATUS: Mapping[int, Callable[[], KeysteadError]] = {
    404: NotFound,
    413: TooLarge,
    415: UnsupportedMediaType,
    422: Invalid,
    503: Unavailable,
}


def install_handlers(app: Starlette, problems: Problems) -> None:
    """Answer every refusal and every bug of `app` with a problem."""

    async def refused(request: Request, error: Exception) -> Response:
        return response_of(problems.answer(_refusal(request.scope, error)))

    async def bug(_request: Request, _error: Exception) -> Response:
        return response_of(problems.internal)

    for kind in (KeysteadError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, refused)
    app.add_exception_handler(Exception, bug)


def response_of(answer: Answer) -> Response:
    """Return `answer` as a Starlette response."""
    response = Response(answer.body, answer.status)
    response.raw_headers = [*answer.headers, *response.raw_headers]
    return response


def _refusal(scope: Scope, error: Exception) -> KeysteadError:
    match error:
        case KeysteadError():
            refusal = error
        case RequestValidationError():
            refusal = invalid_of(error.errors(), request_pointer)
        case HTTPException(__cause__=KeysteadError() as cause):
            refusal = cause  # FastAPI wraps an exception while the body is read in a 400 of its own
        case HTTPException(status_code=405):
            refusal = MethodNotAllowed(", ".join(_allowed(scope)))
        case HTTPException():
            refusal = _of_status(error.status_code)
        case _:
            refusal = Internal()
    if isinstance(refusal, StorageError):
        log_failure(scope, refusal)
    return refusal


def _of_status(status: int) -> KeysteadError:
    if status in _BY_STATUS:
        return _BY_STATUS[status]()
    return InvalidRequest() if status < 500 else Internal()


def _allowed(scope: Scope) -> list[str]:
    # The framework lists the methods of one route, but a resource often has several (RFC 9110 section 10.2.1).
    routes = scope["app"].router.routes
    return [
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]
