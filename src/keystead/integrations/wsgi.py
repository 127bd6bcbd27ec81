"""WSGI middleware: only requests with a key reach the application."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from keystead.http.asgi import Answer
from keystead.integrations.guard import Guard, is_identity, valid_scope, wsgi_head

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ENVIRON_KEY: Final = "keystead.principal"


class KeysteadMiddleware:
    """Runs `app` only for keys with the scope `required`, or, if that is None, for every active key.

    `environ["keystead.principal"]` is the principal. Header fields that claim to be Keystead's are removed.
    """

    def __init__(self, app: WSGIApplication, guard: Guard, required: str | None = None) -> None:
        """Raise ValueError if `required` is malformed."""
        self._app, self._guard = app, guard
        self._required = valid_scope(required)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Return the application's response, or the refusal (PEP 3333, RFC 6750 section 3)."""
        try:
            principal = self._guard.admit(wsgi_head(environ), self._required)
        except Exception as error:  # noqa: BLE001 - whatever it is, the application must not run
            return _send(self._guard.answer(error), environ, start_response)
        clean = {name: value for name, value in environ.items() if not is_identity_variable(name)}
        clean[ENVIRON_KEY] = principal
        return self._app(clean, start_response)


def is_identity_variable(name: str) -> bool:
    """Return whether a variable of a WSGI environment is a header field that claims to be Keystead's."""
    return name.startswith("HTTP_") and is_identity(name[5:].encode("latin-1", "replace"))


def _send(
    answer: Answer, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
    fields.append(("content-length", str(len(answer.body))))
    start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", fields)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [answer.body]
