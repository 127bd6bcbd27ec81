"""WSGI middleware: nothing reaches the application without a key."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from keystead.http.asgi import Answer
from keystead.integrations.guard import Guard, check_required, is_identity, of_wsgi

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ENVIRON_KEY: Final = "keystead.principal"


class KeysteadMiddleware:
    """Runs `app` for keys that hold the scope `required` (None: for every live key), and for nobody else.

    `environ["keystead.principal"]` is the principal. Fields that claim to be Keystead's are taken out of the request.
    """

    def __init__(self, app: WSGIApplication, guard: Guard, required: str | None = None) -> None:
        """ValueError where `required` is no scope."""
        self._app, self._guard = app, guard
        self._required = check_required(required)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI (PEP 3333): the application's answer, or the refusal (RFC 6750 section 3)."""
        try:
            principal = self._guard.admit(of_wsgi(environ), self._required)
        except Exception as error:  # noqa: BLE001 - whatever it is, the application must not run
            return _send(self._guard.answer(error), environ, start_response)
        clean = without_identity(environ)
        clean[ENVIRON_KEY] = principal
        return self._app(clean, start_response)


def without_identity(environ: WSGIEnvironment) -> WSGIEnvironment:
    """The environment without the fields that claim to be Keystead's."""
    return {name: value for name, value in environ.items() if not claims_identity(name)}


def claims_identity(name: str) -> bool:
    """Whether a name of a WSGI environment stands for such a field."""
    return name.startswith("HTTP_") and is_identity(name[5:].encode("latin-1", "replace"))


def _send(
    answer: Answer, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
    fields.append(("content-length", str(len(answer.body))))
    start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", fields)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [answer.body]
