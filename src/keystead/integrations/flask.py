"""Flask: an extension, and a decorator for views.

keystead = Keystead(app, connect("sqlite:////srv/keystead/keystead.db"))

@app.get("/reports")
@require("reports:read")
def reports(): current_principal().workspace_id …
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from flask import Flask, current_app, g, request
from flask.typing import ResponseReturnValue
from flask.wrappers import Response

from keystead.domain.principals import Principal
from keystead.http.asgi import Answer
from keystead.integrations.guard import Guard, valid_scope, wsgi_head

EXTENSION: Final = "keystead"
P = ParamSpec("P")
R = TypeVar("R", bound=ResponseReturnValue)


class Keystead:
    """The extension: the guard of an application."""

    def __init__(self, app: Flask | None = None, guard: Guard | None = None) -> None:
        if app is not None and guard is not None:
            self.init_app(app, guard)

    def init_app(self, app: Flask, guard: Guard) -> None:
        """Register the guard with an application that a factory has created."""
        app.extensions[EXTENSION] = guard


def require(scope: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R | Response]]:
    """Run a view only for keys with the scope, or for every active key. Raises ValueError if malformed.

    Without the extension, the view raises KeyError.
    """
    valid_scope(scope)

    def decorator(view: Callable[P, R]) -> Callable[P, R | Response]:
        @functools.wraps(view)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R | Response:
            guard: Guard = current_app.extensions[EXTENSION]
            try:
                g.keystead = guard.admit(wsgi_head(request.environ), scope)
            except Exception as error:  # noqa: BLE001 - whatever it is, the view must not run
                return _response(guard.answer(error))
            result: R = current_app.ensure_sync(view)(*args, **kwargs)
            return result

        return wrapper

    return decorator


def current_principal() -> Principal:
    """Return the principal in a view with `require`. Raises AttributeError elsewhere."""
    principal: Principal = g.keystead
    return principal


def _response(answer: Answer) -> Response:
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
    return Response(answer.body, answer.status, fields)
