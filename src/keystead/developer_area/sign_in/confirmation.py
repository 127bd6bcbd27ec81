"""Authenticating again before a sensitive action: the question, the password, and the action itself.

When a use case raises ReauthenticationRequired, the page that asks carries all fields of the form and sends them with
the password to the same URL: one action, done once. A user without a password leaves for a link, and the form waits
in the browser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.contexts import ConfirmPage, Fields, ResumePage
from keystead.developer_area.sign_in.kept_forms import KeptForm, load_form, store_form
from keystead.developer_area.sign_in.session import Sessions
from keystead.developer_area.sign_in.visits import MemberVisit, Visit
from keystead.developer_area.web.error_pages import ForeignForm, SignedOut
from keystead.developer_area.web.forms import FORM_TOKEN, VERSION, Form, form_owner
from keystead.developer_area.web.navigation import (
    keys_url,
    leave_page,
    own_path,
    requested_url,
    see_other,
    sign_in_url,
)
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

PASSWORD: Final = "proof_password"
NEXT: Final = "next"
_PASSWORDS: Final = frozenset({PASSWORD, "password", "current", "new", "again"})
"""Our password fields: never stored, never shown again."""
_SECRETS: Final = frozenset({"headers"})
"""Fields with other secrets: carried through the question, but stored in no cookie."""
_RENEWED: Final = "keystead.renewed_session"


@dataclass(frozen=True, slots=True)
class _Request:
    """The path and fields of the request to continue after authentication."""

    path: str
    fields: Fields = ()


class Confirmation:
    """Runs handlers, and asks for authentication when one requires it."""

    def __init__(self, services: Services, render: Renderer, sessions: Sessions) -> None:
        self._sign_in = services.sign_in
        self._render = render
        self._sessions = sessions

    def run_get(self, handler: Handler, visit: Visit) -> Response:
        """Return the page, or the question first."""
        try:
            response = handler(visit)
        except ReauthenticationRequired:
            return self._ask(visit, _Request(requested_url(visit.request.scope)))
        cookies.drop_message(visit.request, response)
        return response

    def run_post(self, handler: Handler, visit: Visit) -> Response:
        """Run the action, or ask for authentication or sign-in first."""
        try:
            return self._run_post(handler, visit)
        except (SignedOut, SessionEnded):
            if not form_owner(visit.form):
                raise
            return self.interrupt(visit)

    def interrupt(self, visit: Visit) -> Response:
        """Store a form whose session has ended and lead its user through sign-in back to it.

        ForeignForm if it names no user, or another user has signed in since.
        """
        owner, workspace_id = form_owner(visit.form), visit.request.path_params.get("workspace_id")
        visitor = self._sessions.visitor(visit)
        is_other = visitor is not None and visitor.user.id != owner
        if not is_id("usr", owner) or not is_id("ws", str(workspace_id)) or is_other:
            raise ForeignForm
        request = _pending_request(visit)
        form = KeptForm(UserId(owner), request.path, request.fields)
        landing = sign_in_url(keys_url(WorkspaceId(str(workspace_id))))
        response = leave_page(visit.request, landing if visitor is None else form.resume_url)
        store_form(response, form)
        return response

    def confirm(self, visit: MemberVisit) -> Response:
        """Continue to the page that asked for authentication."""
        return see_other(own_path(visit.form.one(NEXT)) or visit.keys_url)

    def resume(self, visit: MemberVisit) -> Response:
        """Show the kept form, for the user to send again."""
        # It is never sent automatically: a form that was stored by one click must not act without another.
        form = load_form(visit.request, visit.user.id)
        if form is None:
            raise NotFound
        page = ResumePage(visit.frame(), form.path, form.fields, _readable(form.fields))
        response = self._render(page)
        cookies.drop(response, cookies.KEPT_FORM)
        return response

    def _run_post(self, handler: Handler, visit: Visit) -> Response:
        # Outside of a workspace nothing requires authentication, and no page could ask for it.
        if PASSWORD in visit.form.fields and "workspace_id" in visit.request.path_params:
            result = self._authenticate(visit)
            if isinstance(result, Response):
                return result
            visit = result
        try:
            return handler(visit)
        except ReauthenticationRequired:
            return self._ask(visit, _pending_request(visit))

    def _authenticate(self, visit: Visit) -> Visit | Response:
        """Return the visit with its session renewed under a new secret, or the question again."""
        password = Password(visit.form.one(PASSWORD))
        try:
            session = self._sign_in.reauthenticate(visit.secret, password, visit.origin)
        except SessionEnded:
            visit.log_refusal("password", "wrong_too_often")
            raise
        except Invalid:
            visit.log_refusal("password", "wrong")
            return self._ask(visit, _pending_request(visit), "Wrong password.", 422)
        except RateLimited as limited:
            visit.log_refusal("password", "rate_limited")
            response = self._ask(visit, _pending_request(visit), limited.detail, 429)
            response.headers["retry-after"] = str(limited.retry_after)
            return response
        # The old secret is void from here on. The response needs the new cookie even if the handler fails, so
        # `renewed_cookies` adds it outside of all exception handlers.
        visit.request.scope[_RENEWED] = session.secret
        visitor = self._sign_in.visitor(session.secret)
        return replace(
            visit, secret=session.secret, form=visit.form.without(PASSWORD), visitor=visitor
        )

    def _ask(
        self, visit: Visit, request: _Request, problem: str = "", status: int = 403
    ) -> Response:
        member_visit = self._sessions.member_visit(visit)
        user, confirm_url = member_visit.user, f"{member_visit.workspace_url}/confirm"
        as_form = request.fields or request.path == confirm_url
        page = ConfirmPage(
            frame=member_visit.frame(),
            action=request.path if as_form else confirm_url,
            fields=request.fields if as_form else [(NEXT, request.path)],
            has_input=any(_readable(request.fields)),
            email=user.email,
            by_password=user.password_set_at is not None and not user.is_of_portal,
            of_portal=user.is_of_portal,
            return_url=member_visit.visitor.session.return_url,
            problem=problem,
        )
        response = self._render(page, status)
        if request.path != confirm_url:
            has_secret = any(name in _SECRETS and value for name, value in request.fields)
            store_form(
                response, KeptForm(user.id, request.path, () if has_secret else request.fields)
            )
        return response


def has_password(form: Form) -> bool:
    """Return whether a form has a password in it, whose hash takes a while."""
    return not _PASSWORDS.isdisjoint(form.fields)


def renewed_cookies(scope: Scope) -> list[Header]:
    """Return the Set-Cookie headers of a session that was renewed during this request, whatever its response."""
    secret = scope.get(_RENEWED)
    if secret is None:
        return []
    response = Response()
    cookies.set_session(response, secret)
    cookies.drop(response, cookies.KEPT_FORM)
    return [header for header in response.raw_headers if header[0] == b"set-cookie"]


def _pending_request(visit: Visit) -> _Request:
    """Return the action to continue. One with passwords starts again at its page, since they aren't carried."""
    path, form = requested_url(visit.request.scope), visit.form.without(PASSWORD, FORM_TOKEN)
    if has_password(form):
        return _Request(path)
    return _Request(path, [(name, v) for name, values in form.fields.items() for v in values])


def _readable(fields: Fields) -> Fields:
    """Return the user's input, with field names as words."""
    hidden = {"once", "shown_at", VERSION, NEXT}
    return [
        (name.replace("_", " ").capitalize(), value)
        for name, value in fields
        if value and name not in hidden
    ]
