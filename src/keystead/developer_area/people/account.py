"""The user's own account: name, email, password, time zone, sessions, and notification preferences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import groupby
from typing import Final

from starlette.responses import Response

from keystead.developer_area.people.contexts import (
    AccountPage,
    NotificationsPage,
    PasswordPage,
    SessionRow,
)
from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.session import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Choice, ChoiceGroup
from keystead.developer_area.web.labels import browser_label, people_problems, plural
from keystead.developer_area.web.timestamps import zone_label
from keystead.domain.confirmations import PendingConfirmation
from keystead.domain.errors import EmailTaken, Forbidden, Invalid, RateLimited
from keystead.domain.ids import SessionId
from keystead.domain.notification_digests import TOPIC_LABELS, Topic
from keystead.domain.passwords import MIN_LENGTH, Password
from keystead.domain.sessions import AuthenticationMethod
from keystead.domain.step_up import SensitiveAction
from keystead.domain.time_zones import time_zones
from keystead.domain.workspaces import User
from keystead.services.accounts import OWN_ACCOUNT, SessionLine

_METHODS: Final[Mapping[AuthenticationMethod, str]] = {
    AuthenticationMethod.LINK: "by a one-time link",
    AuthenticationMethod.PASSWORD: "by password",
    AuthenticationMethod.PORTAL: "from the product",
    AuthenticationMethod.INVITATION: "by an invitation",
}


class AccountPages(WorkspacePages):
    """The pages of the user's own account."""

    def index(self, visit: MemberVisit) -> Response:
        """Show the account."""
        return self._page(visit)

    def rename(self, visit: MemberVisit) -> Response:
        """Change the user's name."""
        name = visit.form.one("name").strip()
        rename = self._services.accounts.rename
        return self._change(visit, lambda: rename(visit.secret, name), "Your name was saved.")

    def change_email(self, visit: MemberVisit) -> Response:
        """Change the email, or send a confirmation email; then the response is the same for every email."""
        email, accounts = visit.form.one("email").strip(), self._services.accounts
        message = "Your email was saved. Use it to sign in."
        if accounts.confirms:
            message = (
                f"We sent a confirmation link to {email}. Your email changes once you open it."
            )
        change = accounts.change_email
        return self._change(visit, lambda: change(visit.secret, email, visit.origin), message)

    def set_time_zone(self, visit: MemberVisit) -> Response:
        """Change the user's time zone."""
        zone = visit.form.one("time_zone") or None
        change = self._services.accounts.set_time_zone
        message = "Times are now shown in your time zone."
        return self._change(visit, lambda: change(visit.secret, zone), message)

    def password_form(self, visit: MemberVisit) -> Response:
        """Show the form of a password."""
        _require_own_account(visit)
        # Before the form is shown, so that users don't fill it in only to be asked to sign in again.
        visit.principal.require_recent_authentication(SensitiveAction.CHANGE_PASSWORD, visit.now())
        return self._password_page(visit)

    def change_password(self, visit: MemberVisit) -> Response:
        """Change the password. This session continues under a new secret; all others end."""
        _require_own_account(visit)
        form = visit.form
        if form.one("new") != form.one("again"):
            return self._password_page(visit, {"again": "The passwords don't match."}, status=422)
        current = form.one("current")
        try:
            changed = self._services.accounts.change_password(
                visit.secret,
                Password(form.one("new")),
                Password(current) if current else None,
                visit.origin,
            )
        except Invalid as refused:
            problems = people_problems(refused)
            if "current" in problems:
                visit.log_refusal("password", "wrong")
            return self._password_page(visit, problems, status=422)
        except RateLimited as limited:
            return self._password_page(visit, {"current": limited.detail}, status=429)
        message = "Your password was saved. Every other session has ended."
        response = redirect_with_message(_account_url(visit), message)
        return visit.begin_session(response, changed.secret, changed.device)

    def end_session(self, visit: MemberVisit) -> Response:
        """End one session. Ending the current one signs the user out."""
        session_id = SessionId(visit.path("session_id"))
        if session_id == visit.visitor.session.id:
            return self._sessions.sign_out(visit)
        self._services.accounts.end_session(visit.secret, session_id, visit.origin)
        return redirect_with_message(_account_url(visit), "That session has ended.")

    def end_other_sessions(self, visit: MemberVisit) -> Response:
        """End all sessions but this one."""
        ended = self._services.accounts.end_other_sessions(visit.secret, visit.origin)
        message = f"{plural(ended, 'other session')} ended."
        return redirect_with_message(_account_url(visit), message)

    def _change(self, visit: MemberVisit, change: Callable[[], object], message: str) -> Response:
        try:
            change()
        except Invalid as refused:
            return self._page(visit, people_problems(refused), status=422)
        except EmailTaken:
            taken = {"email": "Another account uses this email."}
            return self._page(visit, taken, status=409)
        except RateLimited as limited:
            response = self._page(visit, {"email": limited.detail}, status=429)
            response.headers["retry-after"] = str(limited.retry_after)
            return response
        return redirect_with_message(_account_url(visit), message)

    def _page(
        self, visit: MemberVisit, problems: Mapping[str, str] | None = None, *, status: int = 200
    ) -> Response:
        user, now, form = visit.user, visit.now(), visit.form
        accounts, sends = self._services.accounts, self._services.confirmations.sends
        pending = accounts.pending_email(visit.secret) if sends else None
        page = AccountPage(
            frame=visit.frame(),
            url=_account_url(visit),
            of_portal=user.is_of_portal,
            name=form.one("name") if "name" in form.fields else user.name,
            email=form.one("email") if "email" in form.fields else user.email or "",
            confirmation=_confirmation(user, pending, now) if sends else "",
            password_set=visit.timestamp(user.password_set_at),
            zone_groups=list(_zone_groups(user.time_zone)),
            clock=f"{now.astimezone(visit.zone):%H:%M} {zone_label(now, visit.zone)}",
            sessions=[_session_row(line, visit) for line in accounts.sessions(visit.secret)],
            problems=problems or {},
        )
        return self._render(page, status)

    def _password_page(
        self, visit: MemberVisit, problems: Mapping[str, str] | None = None, *, status: int = 200
    ) -> Response:
        has_password = visit.user.password_set_at is not None
        by_link = visit.visitor.session.proven_by is AuthenticationMethod.LINK
        page = PasswordPage(
            frame=visit.frame(),
            url=f"{_account_url(visit)}/password",
            email=visit.user.email or "",
            has_password=has_password,
            asks_current=has_password and not by_link,
            min_length=MIN_LENGTH,
            problems=problems or {},
        )
        return self._render(page, status)


class NotificationPages(WorkspacePages):
    """The pages of notification preferences."""

    def index(self, visit: MemberVisit) -> Response:
        """Show the member's preferences."""
        chosen = self._services.notification_preferences.get(visit.principal)
        page = NotificationsPage(
            frame=visit.frame(),
            url=f"{visit.workspace_url}/notices",
            email=visit.user.email or "",
            confirmed=visit.user.confirmed_email is not None,
            topics=[Choice(topic, TOPIC_LABELS[topic], "", topic in chosen) for topic in Topic],
        )
        return self._render(page)

    def save(self, visit: MemberVisit) -> Response:
        """Save the member's preferences."""
        self._services.notification_preferences.choose(visit.principal, visit.form.many("topic"))
        return redirect_with_message(f"{visit.workspace_url}/notices", "Saved.")


def _account_url(visit: MemberVisit) -> str:
    return f"{visit.workspace_url}/account"


def _require_own_account(visit: MemberVisit) -> None:
    if visit.user.is_of_portal:
        raise Forbidden(OWN_ACCOUNT, "You sign in through the product and need no password here.")


def _confirmation(user: User, pending: PendingConfirmation | None, now: datetime) -> str:
    """Return what to do about an email that isn't confirmed, or an empty string."""
    if pending is not None and pending.expires_at is not None and now < pending.expires_at:
        return f"Open the link we sent to {pending.email} to confirm it."
    if pending is not None and pending.due_at is not None:
        return f"{pending.email} isn't confirmed yet. We'll send a link there."
    if user.email is not None and user.confirmed_email is None:
        return f"{user.email} isn't confirmed yet. Save it again to get another link."
    return ""


def _session_row(line: SessionLine, visit: MemberVisit) -> SessionRow:
    session = line.session
    return SessionRow(
        name=browser_label(session.agent),
        agent=session.agent or "",
        address=session.address or "",
        method=_METHODS[session.proven_by],
        current=line.current,
        began=visit.timestamp(session.created_at),
        seen=visit.timestamp(session.seen_at),
        end_url=f"{_account_url(visit)}/sessions/{session.id}/end",
    )


def _zone_groups(chosen: str | None) -> Iterator[ChoiceGroup]:
    for region, names in _regions():
        choices = [Choice(name, name.replace("_", " "), "", name == chosen) for name in names]
        yield ChoiceGroup(region, choices)


@cache
def _regions() -> Sequence[tuple[str, Sequence[str]]]:
    """Return the time zones by the first part of their names."""

    def region(name: str) -> str:
        return name.partition("/")[0] if "/" in name else "Others"

    names = sorted(
        time_zones() - {"UTC"}, key=lambda name: (region(name) == "Others", region(name), name)
    )
    return [(name, list(group)) for name, group in groupby(names, key=region)]
