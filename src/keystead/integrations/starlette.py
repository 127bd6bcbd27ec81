"""Starlette: an authentication backend, and a decorator that requires a scope and refuses as Keystead does.

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
from keystead.integrations.asgi import POLICY_VIOLATION, asgi_head
from keystead.integrations.guard import Guard, valid_scope

_GUARD: Final = "keystead.guard"


class KeyUser(BaseUser):
    """`request.user` for a key. `principal` has its workspace and scopes."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal

    @property
    def is_authenticated(self) -> bool:
        """True. Without a key, the user is Starlette's UnauthenticatedUser."""
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
    """A request that is refused with `answer`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("refused")
        self.answer = answer


class KeysteadBackend(AuthenticationBackend):
    """Authenticates keys. A request without credentials is anonymous; invalid ones are refused on every route."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """Return the key's scopes and user, or None without credentials. Raises Refused."""
        conn.scope[_GUARD] = self._guard
        try:
            principal = await self._guard.admit_on_loop(asgi_head(conn.scope))
        except Unauthenticated:
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, the application must not run
            raise Refused(self._guard.answer(error)) from None
        credentials = AuthCredentials()
        # The constructor would copy them to a plain list.
        credentials.scopes = _GrantedScopes(principal.scopes)
        return credentials, KeyUser(principal)


def authentication(guard: Guard) -> Middleware:
    """Return Starlette's authentication middleware over the guard, for the `middleware` of an application."""
    return Middleware(AuthenticationMiddleware, backend=KeysteadBackend(guard), on_error=_refuse)


def requires(scope: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run an endpoint, `endpoint(request)` or `endpoint(websocket)`, only for keys with the scope.

    Unlike Starlette's own `requires`, it sends a challenge, and answers 401 to a request without a key.
    """
    valid_scope(scope)

    def decorator(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(endpoint)
        async def wrapper(conn: HTTPConnection, *args: Any, **kwargs: Any) -> Any:
            refusal = _refusal(conn, scope)
            if refusal is None:
                result = endpoint(conn, *args, **kwargs)
                return await result if inspect.isawaitable(result) else result
            if isinstance(conn, WebSocket):
                return await conn.close(POLICY_VIOLATION)
            return response_of(refusal)

        return wrapper

    return decorator


def response_of(answer: Answer) -> Response:
    """Return `answer` as a Starlette response."""
    response = Response(answer.body, answer.status)
    response.raw_headers = [*answer.headers, *response.raw_headers]
    return response


def _refusal(conn: HTTPConnection, scope: str) -> Answer | None:
    """Return the refusal of a request without the scope. Raises KeyError without the middleware, so nothing runs."""
    guard: Guard = conn.scope[_GUARD]
    if not conn.user.is_authenticated:
        return guard.answer(Unauthenticated())
    return None if scope in conn.auth.scopes else guard.answer(InsufficientScope(scope))


def _refuse(_: HTTPConnection, error: AuthenticationError) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - the backend raises nothing else
    return response_of(error.answer)


class _GrantedScopes(list[str]):
    """A key's scopes as a list that contains whatever they permit: `*` contains more than itself."""

    def __init__(self, scopes: Scopes) -> None:
        super().__init__(scopes)
        self._scopes = scopes

    def __contains__(self, scope: object) -> bool:
        return isinstance(scope, str) and self._scopes.permit(scope)
