"""A person's own page: name, address, password, time zone, and where they are signed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import groupby
from typing import Final

from starlette.responses import Response

from keystead.developer_area.people.contexts import AccountPage, PasswordPage, SessionRow, ZoneGroup
from keystead.developer_area.people.wording import browser_words, problems_of
from keystead.developer_area.redirects import see_other
from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.session import Acting, Sessions, Visit, enter
from keystead.developer_area.web.contexts import Choice
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.web.times import moment, zone_words
from keystead.domain.confirmations import PendingConfirmation
from keystead.domain.errors import EmailTaken, Forbidden, Invalid, RateLimited
from keystead.domain.ids import SessionId
from keystead.domain.passwords import MIN_LENGTH, Password
from keystead.domain.sessions import AuthenticationMethod
from keystead.domain.step_up import SensitiveAction
from keystead.domain.users import time_zones
from keystead.domain.workspaces import User
from keystead.services import Services
from keystead.services.accounts import OWN_ACCOUNT, SessionLine

_WAYS: Final[Mapping[AuthenticationMethod, str]] = {
    AuthenticationMethod.LINK: "by a one-time link",
    AuthenticationMethod.PASSWORD: "by password",
    AuthenticationMethod.PORTAL: "from the product",
    AuthenticationMethod.INVITATION: "by an invitation",
}


class AccountPages:
    """What people change of themselves."""

    def __init__(self, services: Services, render: Renderer, sessions: Sessions) -> None:
        self._services = services
        self._render = render
        self._sessions = sessions

    def index(self, visit: Visit) -> Response:
        """Everything about the signed-in person."""
        return self._page(visit, self._sessions.acting(visit))

    def rename(self, visit: Visit) -> Response:
        """Another name."""
        name = visit.form.one("name").strip()
        return self._change(
            visit, lambda: self._services.accounts.rename(visit.secret, name), "Your name is saved."
        )

    def change_email(self, visit: Visit) -> Response:
        """Change the email, or ask for a confirmation letter; if mail confirms, one answer for every email."""
        email, accounts = visit.form.one("email").strip(), self._services.accounts
        done = "Your email is saved. Use it to sign in."
        if accounts.confirms:
            done = f"We sent a confirmation link to {email}. Your email changes once you open it."
        change = accounts.change_email
        return self._change(visit, lambda: change(visit.secret, email, visit.origin), done)

    def set_time_zone(self, visit: Visit) -> Response:
        """Another zone in which instants are shown."""
        zone = visit.form.one("time_zone") or None
        set_zone = self._services.accounts.set_time_zone
        return self._change(
            visit, lambda: set_zone(visit.secret, zone), "Times are shown in your time zone."
        )

    def password(self, visit: Visit) -> Response:
        """The form for a password; a fresh proof comes first, so that nothing is typed in vain."""
        acting = self._own(visit)
        acting.principal.require_recent_authentication(
            SensitiveAction.CHANGE_PASSWORD, self._services.keys.now()
        )
        return self._password_page(visit, acting)

    def change_password(self, visit: Visit) -> Response:
        """A new password: this session goes on under a new secret, all others end."""
        acting, form = self._own(visit), visit.form
        if form.one("new") != form.one("again"):
            return self._password_page(
                visit, acting, {"again": "The two are not the same."}, status=422
            )
        current = form.one("current")
        try:
            changed = self._services.accounts.change_password(
                visit.secret,
                Password(form.one("new")),
                Password(current) if current else None,
                visit.origin,
            )
        except Invalid as refused:
            problems = problems_of(refused)
            if "current" in problems:
                visit.note_refusal("password", "wrong")
            return self._password_page(visit, acting, problems, status=422)
        except RateLimited as wait:
            return self._password_page(visit, acting, {"current": wait.detail}, status=429)
        response = see_other(_url(acting))
        cookies.say(response, "Your password is set. Every other session has ended.")
        return enter(visit, response, changed.secret, changed.device)

    def end_session(self, visit: Visit) -> Response:
        """Ends one session; one's own is signed out."""
        acting = self._sessions.acting(visit)
        ended = SessionId(visit.path("session_id"))
        if ended == acting.visitor.session.id:
            return self._sessions.sign_out(visit)
        self._services.accounts.end_session(visit.secret, ended, visit.origin)
        return _back(acting, "That session has ended.")

    def end_other_sessions(self, visit: Visit) -> Response:
        """Ends all sessions but this one."""
        acting = self._sessions.acting(visit)
        ended = self._services.accounts.end_other_sessions(visit.secret, visit.origin)
        words = "1 session has" if ended == 1 else f"{ended} sessions have"
        return _back(acting, f"{words} ended. This one goes on.")

    def _own(self, visit: Visit) -> Acting:
        """The person, if they have an account of their own here."""
        acting = self._sessions.acting(visit)
        if acting.member.user.is_of_portal:
            raise Forbidden(OWN_ACCOUNT, "You come in from the product, and need no password here.")
        return acting

    def _change(self, visit: Visit, change: Callable[[], object], done: str) -> Response:
        acting = self._sessions.acting(visit)
        try:
            change()
        except Invalid as refused:
            return self._page(visit, acting, problems_of(refused), status=422)
        except EmailTaken:
            taken = {"email": "Somebody else signs in with this e-mail address."}
            return self._page(visit, acting, taken, status=409)
        except RateLimited as wait:
            response = self._page(visit, acting, {"email": wait.detail}, status=429)
            response.headers["retry-after"] = str(wait.retry_after)
            return response
        return _back(acting, done)

    def _page(
        self,
        visit: Visit,
        acting: Acting,
        problems: Mapping[str, str] | None = None,
        *,
        status: int = 200,
    ) -> Response:
        user, now = acting.member.user, self._services.keys.now()
        typed, found = visit.form.fields, self._services.accounts.sessions(visit.secret)
        set_at = user.password_set_at
        sends = self._services.confirmations.sends
        pending = self._services.accounts.pending_email(visit.secret) if sends else None
        page = AccountPage(
            frame=self._sessions.frame(visit, acting),
            message=cookies.said(visit.request),
            url=_url(acting),
            notices_url=f"{acting.url}/notices",
            of_portal=user.is_of_portal,
            name=visit.form.one("name") if "name" in typed else user.name,
            email=visit.form.one("email") if "email" in typed else user.email or "",
            confirmation=_confirmation(user, pending, now) if sends else "",
            password_set=moment(set_at, now, acting.zone) if set_at else None,
            zone_groups=list(_zone_groups(user.time_zone)),
            clock=_clock(acting, now),
            sessions=[_session_row(line, acting, now) for line in found],
            problems=problems or {},
        )
        return self._render(page, status)

    def _password_page(
        self,
        visit: Visit,
        acting: Acting,
        problems: Mapping[str, str] | None = None,
        *,
        status: int = 200,
    ) -> Response:
        user = acting.member.user
        has_one = user.password_set_at is not None
        by_link = acting.visitor.session.proven_by is AuthenticationMethod.LINK
        page = PasswordPage(
            frame=self._sessions.frame(visit, acting),
            url=f"{_url(acting)}/password",
            account_url=_url(acting),
            email=user.email or "",
            has_one=has_one,
            asks_current=has_one and not by_link,
            min_length=MIN_LENGTH,
            problems=problems or {},
        )
        return self._render(page, status)


def _url(acting: Acting) -> str:
    return f"{acting.url}/account"


def _back(acting: Acting, sentence: str) -> Response:
    response = see_other(_url(acting))
    cookies.say(response, sentence)
    return response


def _confirmation(user: User, pending: PendingConfirmation | None, now: datetime) -> str:
    """Return what the person should know of an email that isn't confirmed; empty if theirs is and none waits."""
    if pending is not None and pending.expires_at is not None and now < pending.expires_at:
        return f"Open the link we sent to {pending.email} to confirm it."
    if pending is not None and pending.due_at is not None:
        return f"{pending.email} isn't confirmed yet. We'll send a link there."
    if user.email is not None and user.confirmed_email is None:
        return f"{user.email} isn't confirmed yet. Save it again to get another link."
    return ""


def _clock(acting: Acting, now: datetime) -> str:
    """What the person's clock says, so that they see whether the zone is theirs."""
    return f"{now.astimezone(acting.zone):%H:%M} {zone_words(now, acting.zone)}"


def _session_row(line: SessionLine, acting: Acting, now: datetime) -> SessionRow:
    session = line.session
    return SessionRow(
        name=browser_words(session.agent),
        agent=session.agent or "",
        address=session.address or "",
        way=_WAYS[session.proven_by],
        current=line.current,
        began=moment(session.created_at, now, acting.zone),
        seen=moment(session.seen_at, now, acting.zone),
        end_url=f"{_url(acting)}/sessions/{session.id}/end",
    )


def _zone_groups(chosen: str | None) -> Iterator[ZoneGroup]:
    for region, names in _regions():
        choices = [Choice(name, name.replace("_", " "), "", name == chosen) for name in names]
        yield ZoneGroup(region, choices)


@cache
def _regions() -> Sequence[tuple[str, Sequence[str]]]:
    """Zones by the part of the world that their names begin with."""

    def region(name: str) -> str:
        return name.partition("/")[0] if "/" in name else "Others"

    names = sorted(time_zones(), key=lambda name: (region(name) == "Others", region(name), name))
    return [(name, list(group)) for name, group in groupby(names, key=region)]
