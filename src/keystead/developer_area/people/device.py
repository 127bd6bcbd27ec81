"""Signing in at a terminal: entering its code, and deciding which key it gets.

The code alone must not be enough: a stranger can start a sign-in and send its link to a victim (RFC 8628 section 5.4).
So the page shows where the request came from, warns, and takes two forms and several choices, of which none is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from keystead.developer_area.keys.forms import (
    KeyEntry,
    key_problems,
    option_for,
    shown_at,
)
from keystead.developer_area.keys.pages import KeyPages
from keystead.developer_area.people.contexts import ApproveDevicePage, DeviceCodePage
from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.visits import MemberVisit, Visit
from keystead.developer_area.web.contexts import Choice
from keystead.developer_area.web.error_pages import SignedOut
from keystead.developer_area.web.navigation import (
    own_path,
    requested_url,
    see_other,
    sign_in_url,
    with_query,
)
from keystead.domain.device_logins import DeviceLogin, DeviceRequest
from keystead.domain.errors import Forbidden, Invalid, LimitReached, RateLimited
from keystead.domain.policies import allows_end
from keystead.domain.roles import Permission, may
from keystead.domain.scopes import KEYS_WRITE, ScopeCatalog, Scopes
from keystead.domain.time_zones import today_in
from keystead.domain.workspaces import Member

CODE: Final = "user_code"
DECISION: Final = "decision"
DENY: Final = "deny"


class DevicePages(KeyPages):
    """The pages behind the address that a terminal shows."""

    def code_form(self, visit: Visit) -> Response:
        """Ask for the code. The link that has it fills it in, and does nothing else."""
        if visit.visitor is None or not visit.visitor.members:
            return see_other(sign_in_url(own_path(requested_url(visit.request.scope))))
        return self._code_page(visit, visit.query(CODE))

    def check_code(self, visit: Visit) -> Response:
        """Show the request with that code, and the form of the key that it would get."""
        code = visit.form.one(CODE)
        if visit.visitor is None:
            return see_other(sign_in_url(own_path(with_query("/device", **{CODE: code}))))
        user = visit.visitor.user
        try:
            login = self._services.device_logins.look_up(code, user.id, visit.origin)
        except (Invalid, RateLimited) as refused:
            return self._refused(visit, refused)
        member_visit = self._sessions.visit_of(visit, _chosen(visit))
        member_visit.principal.require(KEYS_WRITE)
        entry = _entry_for(login.request, self._services.keys.catalog)
        return self._form(member_visit, login, entry)

    def start_again(self, visit: MemberVisit) -> Response:
        """Lead back to the code: a decision begins there."""
        return see_other("/device")

    def decide(self, visit: MemberVisit) -> Response:
        """Approve or deny the request."""
        logins, code = self._services.device_logins, visit.form.one(CODE)
        try:
            if visit.form.one(DECISION) == DENY:
                logins.deny(code, visit.user.id, visit.origin)
                denied = "You denied the sign-in. The terminal gets no key."
                return redirect_with_message(visit.keys_url, denied)
            login = logins.look_up(code, visit.user.id, visit.origin)
            return self._approve(visit, login)
        except (Invalid, RateLimited) as refused:
            return self._refused(visit, refused)

    def _approve(self, visit: MemberVisit, login: DeviceLogin) -> Response:
        """Approve, or show the form again with its problems. Raises Invalid if the code has ended meanwhile."""
        visit.principal.require(KEYS_WRITE)
        entry, code = KeyEntry.of(visit.form), visit.form.one(CODE)
        try:
            draft = entry.draft(visit.now(), visit.zone, self._services.keys.catalog)
            self._services.device_logins.approve(visit.principal, code, draft, visit.origin)
        except Invalid as refused:
            if _is_about_code(refused):
                raise
            return self._form(visit, login, entry, key_problems(refused), status=422)
        except LimitReached:
            return self._form(visit, login, entry, status=409)
        approved = "Approved. Go back to your terminal: it gets its key within a few seconds."
        return redirect_with_message(visit.keys_url, approved)

    def _refused(self, visit: Visit, refused: Invalid | RateLimited) -> Response:
        """Show the form for the code again: it is wrong, has ended, or too many were wrong."""
        code = visit.form.one(CODE)
        if isinstance(refused, Invalid):
            visit.log_refusal("device_code", "wrong")
            problem = f"{refused.errors[0].detail}. Check what your terminal shows, or run the command again."
            return self._code_page(visit, code, problem, status=422)
        visit.log_refusal("device_code", "rate_limited")
        response = self._code_page(visit, code, refused.detail, status=429)
        response.headers["retry-after"] = str(refused.retry_after)
        return response

    def _code_page(
        self, visit: Visit, code: str, problem: str = "", *, status: int = 200
    ) -> Response:
        if visit.visitor is None:
            raise SignedOut
        page = DeviceCodePage(
            form_token=visit.form_token,
            person=visit.visitor.user.name,
            user_code=code[:20],
            workspaces=self._workspaces(visit),
            problem=problem,
        )
        return self._render(page, status)

    def _workspaces(self, visit: Visit) -> Sequence[Choice]:
        """Return the workspaces in which the user may create keys, if there is a choice."""
        members, visitor = _able(visit), visit.visitor
        if visitor is None or len(members) < 2:
            return ()
        chosen = visit.form.one("workspace")
        return [
            Choice(id, visitor.workspaces[id].name, chosen=id == chosen)
            for id in (member.workspace_id for member in members)
        ]

    def _form(
        self,
        visit: MemberVisit,
        login: DeviceLogin,
        entry: KeyEntry,
        problems: Mapping[str, str] | None = None,
        *,
        status: int = 200,
    ) -> Response:
        now, keys, asked = visit.now(), self._services.keys, login.request
        quota, policy = self._key_quota(visit, keys.quota(visit.principal)), self._policy(visit)
        page = ApproveDevicePage(
            frame=visit.frame(),
            problems=problems or {},
            description=entry.description,
            expiries=entry.expiries(now, visit.zone, lambda end: allows_end(policy, end, now)),
            shown_at=shown_at(now),
            expires_on=entry.expires_on,
            earliest=today_in(visit.zone, now),
            accesses=entry.accesses(),
            grid=entry.grid(visit.principal, keys.catalog),
            url=f"{visit.workspace_url}/device",
            user_code=visit.form.one(CODE),
            host=asked.host or "",
            agent=login.agent or "",
            address=login.address or "unknown",
            is_same_address=login.address == visit.origin.address,
            started=visit.timestamp(login.created_at),
            asked_description=asked.description or "",
            asked_scopes=list(asked.scopes or ()),
            limit=self._limit_notice(visit, quota),
        )
        return self._render(page, status)


def _able(visit: Visit) -> list[Member]:
    """Return the user's memberships that allow creating keys."""
    members = visit.visitor.members if visit.visitor else []
    return [member for member in members if may(member.role, Permission.MAKE_KEYS)]


def _chosen(visit: Visit) -> Member | None:
    """Return the membership in the chosen workspace; the only one if there is no choice."""
    members, chosen = _able(visit), visit.form.one("workspace")
    if not members:
        raise Forbidden(KEYS_WRITE, "Your role in this workspace doesn't allow creating keys.")
    if len(members) == 1:
        return members[0]
    return next((member for member in members if member.workspace_id == chosen), None)


def _entry_for(asked: DeviceRequest, catalog: ScopeCatalog) -> KeyEntry:
    """Return the form as the terminal's request preselects it: no expiry, and only the access that it asked for."""
    scopes = asked.scopes or Scopes()
    return KeyEntry(
        description=asked.description or (f"Terminal on {asked.host}" if asked.host else ""),
        access=option_for(scopes, catalog),
        scopes=tuple(scopes),
    )


def _is_about_code(refused: Invalid) -> bool:
    return refused.errors[0].pointer == f"/{CODE}"
