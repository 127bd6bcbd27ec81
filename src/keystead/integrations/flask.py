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
from keystead.integrations.guard import Guard, check_required, of_wsgi

EXTENSION: Final = "keystead"
P = ParamSpec("P")
R = TypeVar("R", bound=ResponseReturnValue)


class Keystead:
    """Lets the views of an application ask a guard."""

    def __init__(self, app: Flask | None = None, guard: Guard | None = None) -> None:
        if app is not None and guard is not None:
            self.init_app(app, guard)

    def init_app(self, app: Flask, guard: Guard) -> None:
        """For applications that are made by a function."""
        app.extensions[EXTENSION] = guard


def require(scope: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R | Response]]:
    """Runs a view for keys that hold `scope` alone; without one, for every live key. ValueError for what is no scope.

    KeyError in a view of an application without the extension: nobody passes.
    """
    check_required(scope)

    def decorated(view: Callable[P, R]) -> Callable[P, R | Response]:
        @functools.wraps(view)
        def guarded(*args: P.args, **named: P.kwargs) -> R | Response:
            guard: Guard = current_app.extensions[EXTENSION]
            try:
                g.keystead = guard.admit(of_wsgi(request.environ), scope)
            except Exception as error:  # noqa: BLE001 - whatever it is, the view must not run
                return _response(guard.answer(error))
            answer: R = current_app.ensure_sync(view)(*args, **named)
            return answer

        return guarded

    return decorated


def current_principal() -> Principal:
    """Who acts, within a view that `require` admitted. AttributeError elsewhere."""
    principal: Principal = g.keystead
    return principal


def _response(answer: Answer) -> Response:
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
    return Response(answer.body, answer.status, fields)
