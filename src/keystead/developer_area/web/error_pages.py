"""Error pages: every exception of the pages as a title, an explanation and a way to continue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from keystead.developer_area.web.contexts import ErrorPage, Link
from keystead.developer_area.web.navigation import leave_page, own_path, requested_url, sign_in_url
from keystead.developer_area.web.render import Renderer
from keystead.domain.errors import (
    Forbidden,
    IdempotencyInProgress,
    Invalid,
    InvalidCursor,
    KeysteadError,
    NotFound,
    OutcomeUnknown,
    SessionEnded,
    StorageError,
    WouldWiden,
)
from keystead.http.access_log import log_failure
from keystead.http.problems import RETRY_SECONDS, STATUS

_HOME: Final = Link("Your API keys", "/")
SIGN_IN: Final = Link("Sign in", "/sign-in")


class ForeignForm(Exception):
    """The form did not come from a page of ours in this browser. Nothing was changed."""


class SignedOut(Exception):
    """The browser has no session, or its session has ended."""


@dataclass(frozen=True, slots=True)
class _Text:
    title: str
    text: str
    link: Link = _HOME


_NOT_FOUND = _Text(
    "Page not found",
    "It doesn't exist, or it belongs to a workspace you aren't a member of.",
)
_FOREIGN_FORM = _Text(
    "You've been signed out",
    "Nothing was changed. Sign in to continue. If this keeps happening, allow cookies for this site.",
    SIGN_IN,
)
_BUG = _Text(
    "Something went wrong on our side",
    "The error is in our log. Try again; if it keeps happening, contact your administrator.",
)
_IN_PROGRESS = _Text(
    "Still in progress",
    "The form was sent twice, and the first request is still running. Check your keys in a moment.",
)
_UNAVAILABLE = _Text("We couldn't load your keys", "Your keys keep working.")
_NOT_SAVED = _Text("Nothing was changed", "We couldn't reach our database. Try again in a moment.")
_UNKNOWN = _Text(
    "We don't know if it was saved",
    "We lost the connection to our database while saving. Check your keys before you try again.",
)
_OUTDATED = _Text("This page of the list is out of date", "Start again from the first page.")

_FIXED: Final[Mapping[type[KeysteadError], _Text]] = {
    NotFound: _NOT_FOUND,
    IdempotencyInProgress: _IN_PROGRESS,
    OutcomeUnknown: _UNKNOWN,
    InvalidCursor: _OUTDATED,
}
_TITLES: Final[Mapping[type[KeysteadError], str]] = {
    Forbidden: "Your role doesn't allow this",
    WouldWiden: "You can't grant more than you have",
    Invalid: "That can't be done",
}


class ErrorPages:
    """Exception handlers of the pages."""

    def __init__(self, render: Renderer) -> None:
        self._render = render

    def install(self, app: Starlette) -> None:
        """Handle every exception that `app` raises, bugs included."""
        handlers: Mapping[type[Exception], object] = {
            KeysteadError: self._known,
            HTTPException: self._http,
            ForeignForm: self._foreign_form,
            SignedOut: self._signed_out,
            SessionEnded: self._signed_out,
            Exception: self._bug,
        }
        for kind, handler in handlers.items():
            app.add_exception_handler(kind, handler)  # type: ignore[arg-type]

    async def _known(self, request: Request, error: KeysteadError) -> Response:
        if isinstance(error, StorageError):
            log_failure(request.scope, error)
        status = STATUS[error.code]
        headers = {"retry-after": str(RETRY_SECONDS)} if status == 503 else None
        return self._page(_text_of(error, request.method), status, headers)

    async def _http(self, request: Request, error: HTTPException) -> Response:
        return self._page(_NOT_FOUND, error.status_code, error.headers)

    async def _foreign_form(self, request: Request, error: ForeignForm) -> Response:
        return self._page(_FOREIGN_FORM, 403)

    async def _signed_out(self, request: Request, error: SignedOut | SessionEnded) -> Response:
        path = own_path(requested_url(request.scope)) if request.method == "GET" else None
        return leave_page(request, sign_in_url(path))

    async def _bug(self, request: Request, error: Exception) -> Response:
        return self._page(_BUG, 500)

    def _page(self, text: _Text, status: int, headers: Mapping[str, str] | None = None) -> Response:
        return self._render(ErrorPage(text.title, text.text, text.link), status, headers)


def _text_of(error: KeysteadError, method: str) -> _Text:
    for kind, text in _FIXED.items():
        if isinstance(error, kind):
            return text
    if isinstance(error, StorageError):
        return _UNAVAILABLE if method in {"GET", "HEAD"} else _NOT_SAVED
    return _Text(_TITLES.get(type(error), error.title), error.detail)
