"""The sign-in page: by a one-time link or a password.

The cookie holds one secret. Before sign-in it has no session and only binds the form to the browser; signing in
replaces it with a session's secret. `__Host-` cookies need `Secure`, which Chromium and Firefox also accept on
http://127.0.0.1 and http://localhost; Safari requires https.

A sign-in link is `/sign-in?link=<secret>`, so that it works without JavaScript. GET doesn't use it up, since mail
scanners fetch links; the form does. The secret can't leave the page (no Referer, no foreign resource), our log has no
queries, and it is worthless once used or after 15 minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.contexts import SignInPage
from keystead.developer_area.sign_in.kept_forms import load_form
from keystead.developer_area.sign_in.session import Sessions
from keystead.developer_area.sign_in.visits import BROWSER_ZONE, Visit
from keystead.developer_area.web.navigation import keys_url, own_path, see_other, workspace_url
from keystead.developer_area.web.render import Renderer
from keystead.domain.errors import Invalid, RateLimited
from keystead.domain.passwords import Password
from keystead.domain.sessions import LinkPurpose
from keystead.domain.token import Secret
from keystead.domain.workspaces import User
from keystead.services import Services


@dataclass(frozen=True, slots=True)
class _NewSession:
    """A session that has just begun; `user` is the user as before, `url` where they land."""

    secret: Secret
    device: Secret | None
    user: User
    url: str
    purpose: LinkPurpose | None = None


class SignInPages:
    """The pages for users without a session."""

    def __init__(self, services: Services, render: Renderer, sessions: Sessions) -> None:
        self._sign_in = services.sign_in
        self._render = render
        self._sessions = sessions

    def home(self, visit: Visit) -> Response:
        """Continue to the workspace that this browser showed last, to the user's first one, or to the sign-in page."""
        ids = [member.workspace_id for member in visit.visitor.members] if visit.visitor else []
        last = cookies.find_value(visit.request, cookies.WORKSPACE)
        landing = next((id for id in ids if id == last), ids[0] if ids else None)
        return see_other("/sign-in" if landing is None else keys_url(landing))

    def sign_in_form(self, visit: Visit) -> Response:
        """Show the sign-in page. A one-time link is not used up but confirmed by a button."""
        next_path, visitor = own_path(visit.query("next")), visit.visitor
        if link := visit.query("link"):
            is_confirmed = self._is_confirmed(visit, Secret(link))
            return self._page(visit, next_path, link=link, is_confirmed=is_confirmed)
        if visitor is not None and visitor.members:
            return see_other(next_path or "/")
        return self._page(visit, next_path, stranded=visitor.user.name if visitor else "")

    def sign_in(self, visit: Visit) -> Response:
        """Begin a session by link or password. A session that the browser had before ends."""
        next_path = own_path(visit.form.one("next"))
        by_link = "link" in visit.form.fields
        try:
            session = self._by_link(visit) if by_link else self._by_password(visit)
        except Invalid:
            visit.log_refusal("link" if by_link else "password", "wrong")
            problem = "" if by_link else "Wrong email or password."
            return self._page(visit, next_path, link_failed=by_link, problem=problem, status=422)
        except RateLimited as limited:
            visit.log_refusal("password", "rate_limited")
            response = self._page(visit, next_path, problem=limited.detail, status=429)
            response.headers["retry-after"] = str(limited.retry_after)
            return response
        # The secret that was in the cookie before must not stay valid (session fixation).
        if visit.known:
            self._sign_in.sign_out(visit.secret, visit.origin)
        return _continue(visit, session, next_path)

    def _is_confirmed(self, visit: Visit, link: Secret) -> bool:
        """Return whether the user of a product's link has confirmed one in this browser before.

        Any other link asks: an attacker's own link must not sign a victim in without a click.
        """
        user_id = cookies.find_value(visit.request, cookies.PORTAL)
        found = None if user_id is None else self._sign_in.find_link(link)
        return found is not None and found.is_of_portal and found.user_id == user_id

    def _by_link(self, visit: Visit) -> _NewSession:
        link = Secret(visit.form.one("link"))
        entry = self._sign_in.redeem(
            link, visit.origin, visit.agent, visit.device, visit.browser_zone
        )
        url = keys_url(entry.member.workspace_id)
        if entry.purpose is LinkPurpose.PASSWORD:
            url = f"{workspace_url(entry.member.workspace_id)}/account/password"
        return _NewSession(entry.secret, entry.device, entry.member.user, url, entry.purpose)

    def _by_password(self, visit: Visit) -> _NewSession:
        email, password = visit.form.one("email").strip(), Password(visit.form.one("password"))
        entry = self._sign_in.with_password(
            email, password, visit.origin, visit.agent, visit.device, visit.browser_zone
        )
        return _NewSession(entry.secret, entry.device, entry.user, "/")

    def _page(
        self,
        visit: Visit,
        next_path: str | None,
        *,
        link: str | None = None,
        is_confirmed: bool = False,
        problem: str = "",
        link_failed: bool = False,
        stranded: str = "",
        status: int = 200,
    ) -> Response:
        page = SignInPage(
            form_token=visit.form_token,
            fields=[("next", next_path or ""), (BROWSER_ZONE, "")],
            link=link,
            is_confirmed=is_confirmed,
            link_failed=link_failed,
            next_path=next_path or "",
            email=visit.form.one("email"),
            problem=problem,
            has_ended=cookies.find_bytes(visit.request, cookies.KEPT_FORM) is not None,
            stranded=stranded,
        )
        return visit.bind(self._render(page, status))


def _continue(visit: Visit, session: _NewSession, next_path: str | None) -> Response:
    """Continue to the user's kept form, to `next_path`, or to their workspace."""
    form = load_form(visit.request, session.user.id)
    response = see_other((form and form.resume_url) or next_path or session.url)
    if form is None and cookies.find_value(visit.request, cookies.KEPT_FORM) is not None:
        cookies.drop(response, cookies.KEPT_FORM)  # another user's
    if session.purpose is LinkPurpose.PORTAL:
        cookies.set_portal_user(response, session.user.id)
    visit.explain_zone(response, session.user)
    return visit.begin_session(response, session.secret, session.device)
