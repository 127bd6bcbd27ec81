"""What a person reads when something cannot be done: every refusal in words, with a way on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from keystead.developer_area.sign_in.session import SignedOut
from keystead.developer_area.web.contexts import Link, RefusalPage
from keystead.developer_area.web.forms import ForeignForm
from keystead.developer_area.web.navigation import asked_address, leave, own_path, sign_in_url
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
_SIGN_IN: Final = Link("Sign in", "/sign-in")


@dataclass(frozen=True, slots=True)
class _Words:
    title: str
    text: str
    link: Link = _HOME


_LOST = _Words(
    "There is no such page",
    "It does not exist, or it belongs to a workspace that you are not a member of.",
)
_FOREIGN = _Words(
    "This form is out of date",
    "It was sent from another page, your session has ended since it was opened, or your browser"
    " refuses our cookie. Nothing was done. Open the page again, and send it from there.",
    _SIGN_IN,
)
_BROKEN = _Words(
    "Something went wrong on our side",
    "It is in our log. Try again; if it stays, tell whoever runs this Keystead.",
)
_IN_PROGRESS = _Words(
    "It is being done",
    "The form was sent twice, and the first one is still at work. Look at your keys in a moment.",
)
_UNAVAILABLE = _Words("We could not load your keys", "Your keys keep working.")
_NOT_DONE = _Words("Nothing was done", "We could not reach our database. Try again in a moment.")
_UNKNOWN = _Words(
    "We do not know whether it was done",
    "The answer of our database was lost. Look at your keys before you try again.",
)
_OUT_OF_DATE = _Words("This page of the list is out of date", "Begin at its first page again.")

_FIXED: Final[Mapping[type[KeysteadError], _Words]] = {
    NotFound: _LOST,
    IdempotencyInProgress: _IN_PROGRESS,
    OutcomeUnknown: _UNKNOWN,
    InvalidCursor: _OUT_OF_DATE,
}
_TITLES: Final[Mapping[type[KeysteadError], str]] = {
    Forbidden: "Your role does not allow this",
    WouldWiden: "That would be more than you may hand out",
    Invalid: "That cannot be done",
}


class Refusals:
    """Answers every exception of the pages."""

    def __init__(self, render: Renderer) -> None:
        self._render = render

    def install(self, app: Starlette) -> None:
        """Answer all that `app` raises, bugs included."""
        handlers: Mapping[type[Exception], object] = {
            KeysteadError: self._refused,
            HTTPException: self._unrouted,
            ForeignForm: self._foreign,
            SignedOut: self._signed_out,
            SessionEnded: self._signed_out,
            Exception: self._bug,
        }
        for kind, handler in handlers.items():
            app.add_exception_handler(kind, handler)  # type: ignore[arg-type]

    async def _refused(self, request: Request, error: KeysteadError) -> Response:
        if isinstance(error, StorageError):
            log_failure(request.scope, error)
        status = STATUS[error.code]
        headers = {"retry-after": str(RETRY_SECONDS)} if status == 503 else None
        return self._page(_words(error, request.method), status, headers)

    async def _unrouted(self, request: Request, error: HTTPException) -> Response:
        return self._page(_LOST, error.status_code, error.headers)

    async def _foreign(self, request: Request, error: ForeignForm) -> Response:
        return self._page(_FOREIGN, 403)

    async def _signed_out(self, request: Request, error: SignedOut | SessionEnded) -> Response:
        return leave(request, _way_in(request))

    async def _bug(self, request: Request, error: Exception) -> Response:
        return self._page(_BROKEN, 500)

    def _page(
        self, words: _Words, status: int, headers: Mapping[str, str] | None = None
    ) -> Response:
        return self._render(RefusalPage(words.title, words.text, words.link), status, headers)


def _way_in(request: Request) -> str:
    """The sign-in page, which leads on to the page that was asked for."""
    wanted = own_path(asked_address(request.scope)) if request.method == "GET" else None
    return sign_in_url(wanted)


def _words(error: KeysteadError, method: str) -> _Words:
    for kind, words in _FIXED.items():
        if isinstance(error, kind):
            return words
    if isinstance(error, StorageError):
        return _UNAVAILABLE if method in {"GET", "HEAD"} else _NOT_DONE
    return _Words(_TITLES.get(type(error), error.title), error.detail)
