"""Starlette: an authentication backend, and a decorator that asks for a scope and refuses as Keystead does.

app = Starlette(routes=…, middleware=[authentication(connect("sqlite:////srv/keystead/keystead.db"))])
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket

from keystead.domain.errors import InsufficientScope, Unauthenticated
from keystead.domain.principals import Principal
from keystead.domain.scopes import Scopes
from keystead.http.asgi import Answer
from keystead.integrations.asgi import POLICY_VIOLATION, presented_by
from keystead.integrations.guard import Guard, check_required

_GUARD: Final = "keystead.guard"


class KeyUser(BaseUser):
    """`request.user`: the key that acts. `principal` has its workspace and scopes."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal

    @property
    def is_authenticated(self) -> bool:
        """True: whoever presents no key is Starlette's UnauthenticatedUser."""
        return True

    @property
    def display_name(self) -> str:
        """The key's description."""
        return self.principal.name

    @property
    def identity(self) -> str:
        """The key's id."""
        return self.principal.id


class Refused(AuthenticationError):
    """A credential that does not stand, or that could not be looked at; `answer` is what is sent."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("refused")
        self.answer = answer


class KeysteadBackend(AuthenticationBackend):
    """Tells Starlette who acts. A request without credentials is nobody's; a bad one is refused on every route."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """The scopes that are held and the key; None without credentials; Refused else."""
        conn.scope[_GUARD] = self._guard
        try:
            principal = await self._guard.admit_on_loop(presented_by(conn.scope))
        except Unauthenticated:
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, the application must not run
            raise Refused(self._guard.answer(error)) from None
        credentials = AuthCredentials()
        credentials.scopes = _Held(
            principal.scopes
        )  # given at the making, they would be copied to a plain list
        return credentials, KeyUser(principal)


def authentication(guard: Guard) -> Middleware:
    """Starlette's authentication middleware over the guard, for the `middleware` of an application."""
    return Middleware(
        AuthenticationMiddleware, backend=KeysteadBackend(guard), on_error=_refusal_of
    )


def requires(scope: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Runs an endpoint, `endpoint(request)` or `endpoint(websocket)`, for keys that hold `scope` alone.

    As Starlette's own `requires`, which knows no challenge: whoever presents no key is answered 401 here, not 403.
    """
    check_required(scope)

    def decorated(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(endpoint)
        async def guarded(conn: HTTPConnection, *args: Any, **named: Any) -> Any:
            refused = _missing(conn, scope)
            if refused is None:
                result = endpoint(conn, *args, **named)
                return await result if inspect.isawaitable(result) else result
            if isinstance(conn, WebSocket):
                return await conn.close(POLICY_VIOLATION)
            return response_of(refused)

        return guarded

    return decorated


def response_of(answer: Answer) -> Response:
    """Return `answer` as a Starlette response."""
    response = Response(answer.body, answer.status)
    response.raw_headers = [*answer.headers, *response.raw_headers]
    return response


def _missing(conn: HTTPConnection, scope: str) -> Answer | None:
    """The refusal of a request that does not hold `scope`. KeyError where the middleware is missing: nobody passes."""
    guard: Guard = conn.scope[_GUARD]
    if not conn.user.is_authenticated:
        return guard.answer(Unauthenticated())
    return None if scope in conn.auth.scopes else guard.answer(InsufficientScope(scope))


def _refusal_of(_: HTTPConnection, error: AuthenticationError) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - the backend raises nothing else
    return response_of(error.answer)


class _Held(list[str]):
    """The scopes of a key as Starlette asks for them: `*` holds what it permits."""

    def __init__(self, scopes: Scopes) -> None:
        super().__init__(scopes)
        self._scopes = scopes

    def __contains__(self, scope: object) -> bool:
        return isinstance(scope, str) and self._scopes.permit(scope)
