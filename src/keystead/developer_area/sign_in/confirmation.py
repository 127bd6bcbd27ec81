"""Proving anew who one is before something that needs it: the question, the answer, and the act that goes on.

If a service raises ReauthenticationRequired, the page that asks carries all fields of the form, and sends them with
the password to the same address: one act, done once. A person without a password gets a link, and comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from starlette.responses import Response

from keystead.developer_area.people.contexts import ConfirmPage, Fields, ResumePage
from keystead.developer_area.redirects import (
    asked_address,
    leave,
    own_path,
    see_other,
    sign_in_url,
)
from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.kept_forms import KeptForm, keep, kept, way_on
from keystead.developer_area.sign_in.session import Acting, Sessions, SignedOut, Visit, keys_url
from keystead.developer_area.web.forms import FORM_TOKEN, VERSION, ForeignForm, Form, person_of
from keystead.developer_area.web.render import Renderer
from keystead.domain.errors import (
    Invalid,
    NotFound,
    RateLimited,
    ReauthenticationRequired,
    SessionEnded,
)
from keystead.domain.ids import UserId, WorkspaceId, is_id
from keystead.domain.passwords import Password
from keystead.http.asgi import Header, Scope
from keystead.services import Services

Handler = Callable[[Visit], Response]

PROOF: Final = "proof_password"
NEXT: Final = "next"
_PASSWORDS: Final = frozenset({PROOF, "password", "current", "new", "again"})
"""Fields of ours that hold passwords: kept nowhere, shown nowhere again."""
_SECRETS: Final = frozenset({"headers"})
"""Fields that hold other secrets: carried to the answer that asks, and kept in no cookie."""
_RENEWED: Final = "keystead.renewed_session"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What waits for the proof: where it goes on, with which fields."""

    path: str
    fields: Fields = ()


class Confirmation:
    """Runs handlers, and asks for a proof where one is needed."""

    def __init__(self, services: Services, render: Renderer, sessions: Sessions) -> None:
        self._services = services
        self._render = render
        self._sessions = sessions

    def look(self, handler: Handler, visit: Visit) -> Response:
        """The page; or the question first, and then the page."""
        try:
            response = handler(visit)
        except ReauthenticationRequired:
            return self._ask(visit, _Wanted(asked_address(visit.request.scope)))
        cookies.forget_said(visit.request, response)
        return response

    def act(self, handler: Handler, visit: Visit) -> Response:
        """The act; or the question first, and then the act; or the way to sign in, and then the act."""
        try:
            return self._act(handler, visit)
        except (SignedOut, SessionEnded):
            if not person_of(visit.form):
                raise
            return self.interrupted(visit)

    def interrupted(self, visit: Visit) -> Response:
        """Lead a form whose session is over to the sign-in page and back, kept for the person who filled it in.

        ForeignForm when it names no person, or somebody else has signed in since.
        """
        owner, workspace_id = person_of(visit.form), visit.request.path_params.get("workspace_id")
        visitor = self._sessions.visitor(visit)
        is_other = visitor is not None and visitor.user.id != owner
        if not is_id("usr", owner) or not is_id("ws", str(workspace_id)) or is_other:
            raise ForeignForm
        wanted = _wanted(visit)
        form = KeptForm(UserId(owner), wanted.path, wanted.fields)
        keys = keys_url(WorkspaceId(str(workspace_id)))
        way = sign_in_url(keys) if visitor is None else way_on(form)
        response = leave(visit.request, way)
        keep(response, form)
        return response

    def _act(self, handler: Handler, visit: Visit) -> Response:
        # Outside of a workspace nothing asks for a proof, and there is no page that could.
        if PROOF in visit.form.fields and "workspace_id" in visit.request.path_params:
            answer = self._proven(visit)
            if isinstance(answer, Response):
                return answer
            visit = answer
        try:
            return handler(visit)
        except ReauthenticationRequired:
            return self._ask(visit, _wanted(visit))

    def confirm(self, visit: Visit) -> Response:
        """After the proof, on to the page that asked for it."""
        acting = self._sessions.acting(visit)
        return see_other(own_path(visit.form.one(NEXT)) or acting.keys_url)

    def resume(self, visit: Visit) -> Response:
        """What waited for the person who has come back, to be sent once more by their own hand."""
        acting = self._sessions.acting(visit)
        form = kept(visit.request, acting.member.user.id)
        if form is None:
            raise NotFound
        page = ResumePage(
            frame=self._sessions.frame(visit, acting),
            action=form.path,
            fields=form.fields,
            shown=_readable(form.fields),
        )
        response = self._render(page)
        cookies.drop(response, cookies.KEPT)
        return response

    def _proven(self, visit: Visit) -> Visit | Response:
        """The visit with its proof: the same session under a new secret. The question again where it was none."""
        password = Password(visit.form.one(PROOF))
        try:
            answer = self._services.sign_in.reauthenticate(visit.secret, password, visit.origin)
        except SessionEnded:
            visit.note_refusal("password", "wrong too often")
            raise
        except Invalid:
            visit.note_refusal("password", "wrong")
            return self._ask(visit, _wanted(visit), "That is not your password.", 422)
        except RateLimited as wait:
            visit.note_refusal("password", "rate-limited")
            response = self._ask(visit, _wanted(visit), wait.detail, 429)
            response.headers["retry-after"] = str(wait.retry_after)
            return response
        visit.request.scope[_RENEWED] = answer.secret
        return replace(visit, secret=answer.secret, form=visit.form.without(PROOF))

    def _ask(self, visit: Visit, wanted: _Wanted, problem: str = "", status: int = 403) -> Response:
        acting = self._sessions.acting(visit)
        response = self._render(self._page(visit, acting, wanted, problem), status)
        if wanted.path != f"{acting.url}/confirm":
            secret = any(name in _SECRETS and value for name, value in wanted.fields)
            fields = () if secret else wanted.fields
            keep(response, KeptForm(acting.member.user.id, wanted.path, fields))
        return response

    def _page(self, visit: Visit, acting: Acting, wanted: _Wanted, problem: str) -> ConfirmPage:
        user = acting.member.user
        as_form = wanted.fields or wanted.path == f"{acting.url}/confirm"
        return ConfirmPage(
            frame=self._sessions.frame(visit, acting),
            action=wanted.path if as_form else f"{acting.url}/confirm",
            fields=wanted.fields if as_form else [(NEXT, wanted.path)],
            keeps=any(_readable(wanted.fields)),
            email=user.email,
            by_password=user.password_set_at is not None and not user.is_of_portal,
            of_portal=user.is_of_portal,
            return_url=acting.visitor.session.return_url,
            problem=problem,
        )


def renewed_cookies(scope: Scope) -> list[Header]:
    """The cookies of a session that was renewed while this request was answered, whatever the answer was."""
    secret = scope.get(_RENEWED)
    if secret is None:
        return []
    response = Response()
    cookies.give_session(response, secret)
    cookies.drop(response, cookies.KEPT)
    return [header for header in response.raw_headers if header[0] == b"set-cookie"]


def _wanted(visit: Visit) -> _Wanted:
    """The act that waits. One with passwords in it begins anew at its page: they are not carried."""
    path = str(visit.request.scope["path"])
    if _PASSWORDS & set(visit.form.without(PROOF).fields):
        return _Wanted(path)
    return _Wanted(path, _carried(visit.form))


def _carried(form: Form) -> Fields:
    left = form.without(PROOF, FORM_TOKEN).fields
    return [(name, value) for name, values in left.items() for value in values]


def _readable(fields: Fields) -> Fields:
    """What a person entered, with the fields' names as words."""
    hidden = {"once", "shown_at", VERSION, NEXT}
    words = [(name.replace("_", " ").capitalize(), value) for name, value in fields]
    return [
        (word, value)
        for (name, _), (word, value) in zip(fields, words, strict=True)
        if value and name not in hidden
    ]
