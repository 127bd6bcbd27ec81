"""Signing in or authenticating again in the middle of an action: the question, the answer, and the action itself.

The page that asks carries all fields of the form, and sends them with the password to the same URL: one action, done
once. A user who needs a link leaves for it, and the form waits in the browser. Either way a form continues only for the
user whom it names, and without another click only right after it was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.contexts import ConfirmPage, Fields, ResumePage, SignInPage
from keystead.developer_area.sign_in.kept_forms import KeptForm, load_form, store_form
from keystead.developer_area.sign_in.session import Sessions
from keystead.developer_area.sign_in.visits import BROWSER_ZONE, MemberVisit, Visit
from keystead.developer_area.web.error_pages import ForeignForm, SignedOut
from keystead.developer_area.web.forms import FORM_TOKEN, VERSION, Form, form_owner, form_token
from keystead.developer_area.web.navigation import (
    leave_page,
    own_path,
    requested_url,
    see_other,
)
from keystead.developer_area.web.render import Renderer
from keystead.domain.errors import (
    Invalid,
    NotFound,
    RateLimited,
    ReauthenticationRequired,
    SessionEnded,
)
from keystead.domain.ids import UserId, is_id
from keystead.domain.instants import format_instant, parse_instant
from keystead.domain.passwords import Password
from keystead.domain.sessions import may_continue
from keystead.http.asgi import Header, Scope
from keystead.services import Services
from keystead.services.sessions import Admitted

Handler = Callable[[Visit], Response]

EMAIL: Final = "proof_email"
PASSWORD: Final = "proof_password"
SENT_AT: Final = "proof_sent_at"
"""When the form was sent that continues after signing in (RFC 3339)."""
NEXT: Final = "next"
_PROOF: Final = (EMAIL, PASSWORD, SENT_AT, BROWSER_ZONE)
_PASSWORDS: Final = frozenset({PASSWORD, "password", "current", "new", "again"})
"""Our password fields: never stored, never shown again."""
_SECRETS: Final = frozenset({"headers", "url"})
"""Fields with other secrets: carried through the question, but neither shown nor stored in a cookie."""
_UNCHANGED: Final = frozenset({"", "none", "keep"})
"""Values of fields that say nothing worth showing."""
_HIDDEN: Final = frozenset({"once", "shown_at", "list", "whole", VERSION, NEXT}) | _SECRETS
_NAMES: Final = {
    "expiry": "Expires",
    "expires_on": "Last day",
    "overlap": "The old key stops working",
    "range": "Events",
    "renewal": "This key may rotate itself",
    "renewal_on": "Last day of renewal",
    "type": "Event",
}
_WORDS: Final = {
    ("expiry", "30"): "30 days",
    ("expiry", "90"): "90 days",
    ("expiry", "365"): "1 year",
    ("expiry", "date"): "Custom date",
    ("expiry", "never"): "Never",
    ("access", "full"): "Full access",
    ("access", "read-only"): "Read-only",
    ("access", "chosen"): "Custom access",
    ("overlap", "now"): "Immediately",
    ("overlap", "hour"): "In 1 hour",
    ("overlap", "day"): "In 24 hours",
    ("overlap", "week"): "In 7 days",
    ("range", "all"): "All events",
    ("range", "chosen"): "Selected events",
    ("renewal", "on"): "Yes",
}
"""What the forms call their fields and choices, as far as it isn't the name or value itself."""
_DIALOG: Final = "dialog#dialog"
_BEGUN: Final = "keystead.begun_session"


@dataclass(frozen=True, slots=True)
class _Pending:
    """The request to continue: its path, and the fields of a form or None for a page to open."""

    path: str
    fields: Fields | None = None


class Confirmation:
    """Runs handlers, and asks for authentication when one requires it."""

    def __init__(self, services: Services, render: Renderer, sessions: Sessions) -> None:
        self._sign_in = services.sign_in
        self._render = render
        self._sessions = sessions

    def run_get(self, handler: Handler, visit: Visit) -> Response:
        """Return the page, or the question first."""
        path = requested_url(visit.request.scope)
        try:
            response = handler(visit)
        except ReauthenticationRequired:
            return self._ask(visit, _Pending(path))
        except (SignedOut, SessionEnded):
            if visit.request.headers.get("hx-target") != _DIALOG:
                raise
            return self._ask_to_sign_in(visit, _Pending(own_path(path) or ""))
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
        """Ask the user of a form whose session has ended to sign in, or to send it again if they have signed in since.

        ForeignForm if it names no user, or another user has signed in since.
        """
        owner, workspace_id = form_owner(visit.form), visit.request.path_params.get("workspace_id")
        if not is_id("usr", owner) or not is_id("ws", str(workspace_id)):
            raise ForeignForm
        visitor = self._sessions.visitor(visit)
        if visitor is None:
            return self._ask_to_sign_in(visit, _pending(visit), UserId(owner))
        if visitor.user.id != owner:
            raise ForeignForm
        return self._offer(replace(visit, visitor=visitor), _pending(visit))

    def confirm(self, visit: MemberVisit) -> Response:
        """Continue to the page that asked for authentication."""
        return see_other(own_path(visit.form.one(NEXT)) or visit.keys_url)

    def resume(self, visit: MemberVisit) -> Response:
        """Show the kept form, for the user to send again."""
        # It is never sent automatically: a form that was stored by one click must not act without another.
        form = load_form(visit.request, visit.user.id)
        if form is None or form.fields is None:
            raise NotFound
        page = ResumePage(visit.frame(), form.path, form.fields, _readable(form.fields))
        response = self._render(page)
        cookies.drop(response, cookies.KEPT_FORM)
        return response

    def _run_post(self, handler: Handler, visit: Visit) -> Response:
        # Outside of a workspace nothing requires authentication, and no page could ask for it.
        if PASSWORD in visit.form.fields and "workspace_id" in visit.request.path_params:
            prove = self._enter if EMAIL in visit.form.fields else self._authenticate
            result = prove(visit)
            if isinstance(result, Response):
                return result
            visit = result
        try:
            return handler(visit)
        except ReauthenticationRequired:
            return self._ask(visit, _pending(visit))

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
            return self._ask(visit, _pending(visit), "Wrong password.", 422)
        except RateLimited as limited:
            visit.log_refusal("password", "rate_limited")
            return _to_retry(self._ask(visit, _pending(visit), limited.detail, 429), limited)
        return self._begin(visit, session)

    def _enter(self, visit: Visit) -> Visit | Response:
        """Return the visit of the form's user, just signed in; the question again; or where else to continue."""
        owner, pending = UserId(form_owner(visit.form)), _pending(visit)
        email, password = visit.form.one(EMAIL).strip(), Password(visit.form.one(PASSWORD))
        try:
            session = self._sign_in.with_password(
                email, password, visit.origin, visit.agent, visit.device, visit.browser_zone
            )
        except Invalid:
            visit.log_refusal("password", "wrong")
            wrong = "Wrong email or password."
            return self._ask_to_sign_in(visit, pending, owner, problem=wrong, status=422)
        except RateLimited as limited:
            visit.log_refusal("password", "rate_limited")
            detail = limited.detail
            response = self._ask_to_sign_in(visit, pending, owner, problem=detail, status=429)
            return _to_retry(response, limited)
        # The secret that was in the cookie before must not stay valid (session fixation).
        if visit.known:
            self._sign_in.sign_out(visit.secret, visit.origin)
        entered = self._begin(visit, session)
        if session.user.id != owner:
            response = leave_page(visit.request, "/")
            text = f"You're signed in as {session.user.name}. The form was someone else's: it was not sent."
            cookies.set_message(response, text)
            return response
        return entered if self._was_just_sent(visit) else self._offer(entered, pending)

    def _begin(self, visit: Visit, session: Admitted) -> Visit:
        # The old secret is void from here on. The response needs the new cookie even if the handler fails, so
        # `begun_cookies` adds it outside of all exception handlers.
        visit.request.scope[_BEGUN] = session
        visitor = self._sign_in.visitor(session.secret)
        form = visit.form.without(*_PROOF)
        return replace(visit, secret=session.secret, known=True, form=form, visitor=visitor)

    def _was_just_sent(self, visit: Visit) -> bool:
        try:
            sent_at = parse_instant(visit.form.one(SENT_AT))
        except ValueError:
            return False
        return may_continue(sent_at, self._sign_in.now())

    def _ask(
        self, visit: Visit, pending: _Pending, problem: str = "", status: int = 403
    ) -> Response:
        """Ask a signed-in user to authenticate."""
        member_visit = self._sessions.member_visit(visit)
        user, confirm_url = member_visit.user, f"{member_visit.workspace_url}/confirm"
        fields = pending.fields
        page = ConfirmPage(
            frame=member_visit.frame(),
            action=confirm_url if fields is None else pending.path,
            fields=[(NEXT, pending.path)] if fields is None else fields,
            email=user.email,
            by_password=user.password_set_at is not None and not user.is_of_portal,
            of_portal=user.is_of_portal,
            return_url=member_visit.visitor.session.return_url,
            problem=problem,
        )
        response = self._render(page, status)
        if pending.path != confirm_url:
            _keep(response, user.id, pending)
        return response

    def _ask_to_sign_in(
        self,
        visit: Visit,
        pending: _Pending,
        owner: UserId | None = None,
        *,
        problem: str = "",
        status: int = 403,
    ) -> Response:
        """Ask a user whose session has ended to sign in. `owner`: the user of the form that continues then."""
        page = SignInPage(
            form_token=form_token(visit.secret, owner or ""),
            fields=[(NEXT, pending.path), (BROWSER_ZONE, "")],
            email=visit.form.one(EMAIL),
            next_path=pending.path if pending.fields is None else "",
            problem=problem,
            has_ended=True,
        )
        if pending.fields is not None:
            sent_at = visit.form.one(SENT_AT) or format_instant(self._sign_in.now())
            page = replace(
                page,
                action=pending.path,
                fields=[*pending.fields, (SENT_AT, sent_at), (BROWSER_ZONE, "")],
                prefix="proof_",
                readable=_readable(pending.fields),
            )
        response = visit.bind(self._render(page, status))
        if owner is not None:
            _keep(response, owner, pending)
        return response

    def _offer(self, visit: Visit, pending: _Pending) -> Response:
        """Show a signed-in user their form, to send it again."""
        if pending.fields is None:
            return leave_page(visit.request, pending.path)
        frame = self._sessions.member_visit(visit).frame()
        page = ResumePage(frame, pending.path, pending.fields, _readable(pending.fields))
        return self._render(page, 403)


def has_password(form: Form) -> bool:
    """Return whether a form has a password in it, whose hash takes a while."""
    return not _PASSWORDS.isdisjoint(form.fields)


def begun_cookies(scope: Scope) -> list[Header]:
    """Return the Set-Cookie headers of a session that began during this request, whatever its response."""
    session: Admitted | None = scope.get(_BEGUN)
    if session is None:
        return []
    response = Response()
    cookies.set_session(response, session.secret)
    if session.device is not None:
        cookies.set_device(response, session.device)
    cookies.drop(response, cookies.KEPT_FORM)
    return [header for header in response.raw_headers if header[0] == b"set-cookie"]


def _to_retry(response: Response, limited: RateLimited) -> Response:
    response.headers["retry-after"] = str(limited.retry_after)
    return response


def _keep(response: Response, user_id: UserId, pending: _Pending) -> None:
    """Store the request in the browser, for a user who signs in by a link: at least its page."""
    has_secret = any(name in _SECRETS and value for name, value in pending.fields or ())
    fields = None if has_secret else pending.fields
    store_form(response, KeptForm(user_id, pending.path, fields))


def _pending(visit: Visit) -> _Pending:
    """Return the action to continue. One with passwords starts again at its page, since they aren't carried."""
    path, form = requested_url(visit.request.scope), visit.form.without(FORM_TOKEN, *_PROOF)
    if has_password(form):
        return _Pending(path)
    return _Pending(path, [(name, v) for name, values in form.fields.items() for v in values])


def _readable(fields: Fields) -> Fields:
    """Return the user's input in words."""
    return [
        (
            _NAMES.get(name, name.replace("_", " ").capitalize()),
            _WORDS.get((name, value), value),
        )
        for name, value in fields
        if value not in _UNCHANGED and name not in _HIDDEN
    ]
