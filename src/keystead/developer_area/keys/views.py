"""Creating and revoking a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import PlainTextResponse, Response

from keystead.developer_area.keys.contexts import NewKeyPage, RevokeKeyPage
from keystead.developer_area.keys.forms import (
    KeyEntry,
    key_problems,
    shown_at,
)
from keystead.developer_area.keys.list_state import ListState
from keystead.developer_area.keys.pages import FAMILY, LIKE, KeyPages
from keystead.developer_area.keys.rows import revoke_consequence
from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.forms import form_once, new_nonce
from keystead.domain.errors import IdempotencyMismatch, Invalid, LimitReached
from keystead.domain.ids import KeyId
from keystead.domain.key_hygiene import is_in_use
from keystead.domain.keys import ApiKey
from keystead.domain.policies import allows_end
from keystead.domain.scopes import KEYS_WRITE
from keystead.domain.time_zones import end_of_day, today_in

CONFIRMATION: Final = "confirmation"


class KeyViews(KeyPages):
    """The pages that create and revoke a key."""

    def new(self, visit: MemberVisit) -> Response:
        """Show the form of a new key, empty or like another key of the workspace. NotFound."""
        visit.principal.require(KEYS_WRITE)
        if not visit.query(LIKE):
            return self._form(visit, KeyEntry())
        keys = self._services.keys
        key = keys.get(visit.principal, KeyId(visit.query(LIKE)))
        return self._form(visit, KeyEntry.like(key, visit.zone, keys.catalog))

    def create(self, visit: MemberVisit) -> Response:
        """Create a key and show its token once, or show the form again with its problems."""
        visit.principal.require(KEYS_WRITE)
        entry, once = KeyEntry.of(visit.form), form_once(visit.form)
        try:
            draft = entry.draft(visit.now(), visit.zone, self._services.keys.catalog)
            created = self._services.keys.create(visit.principal, draft, visit.origin, once)
        except IdempotencyMismatch:
            used = "This form has already created a key. Check your input, and send it again for another key."
            return self._form(visit, entry, {"form": used}, status=409)
        except Invalid as refused:
            return self._form(visit, entry, key_problems(refused), status=422)
        except LimitReached:
            return self._form(visit, entry, status=409)
        return self._created(visit, created, ListState())

    def expiry(self, visit: MemberVisit) -> Response:
        """Return as text when something expires whose last day is the query's; empty if that isn't a day."""
        try:
            end = end_of_day(visit.query("on"), visit.zone)
        except ValueError:
            return PlainTextResponse("", headers={"cache-control": "no-store"})
        moment = visit.timestamp(end)
        text = f"Until {moment.exact}, {moment.relative}."
        if end <= visit.now():
            text = "That day is over."
        return PlainTextResponse(text, headers={"cache-control": "no-store"})

    def revoke_form(self, visit: MemberVisit) -> Response:
        """Ask before revoking a key."""
        return self._revoke_page(visit, self._managed_key(visit))

    def revoke(self, visit: MemberVisit) -> Response:
        """Revoke a key and show the list. A key in use requires its last four characters."""
        key = self._managed_key(visit)
        if is_in_use(key, visit.now()) and not _is_confirmed(visit, key):
            problem = f"That doesn't match. Type {_confirmation(key)} to revoke this key."
            return self._revoke_page(visit, key, problem)
        family = bool(visit.form.one(FAMILY))
        self._services.keys.revoke(visit.principal, key.id, visit.origin, family=family)
        quota = self._key_quota(visit, self._services.keys.quota(visit.principal))
        url = ListState.carried(visit).url(visit.keys_url)
        return redirect_with_message(url, f"“{key.description}” was revoked. {quota.text}.")

    def _form(
        self,
        visit: MemberVisit,
        entry: KeyEntry,
        problems: Mapping[str, str] | None = None,
        *,
        status: int = 200,
    ) -> Response:
        now, keys, policy = visit.now(), self._services.keys, self._policy(visit)
        quota = self._key_quota(visit, keys.quota(visit.principal))
        page = NewKeyPage(
            frame=visit.frame(),
            problems=problems or {},
            description=entry.description,
            expiries=entry.expiries(now, visit.zone, lambda end: allows_end(policy, end, now)),
            shown_at=shown_at(now),
            expires_on=entry.expires_on,
            earliest=today_in(visit.zone, now),
            accesses=entry.accesses(),
            grid=entry.grid(visit.principal, keys.catalog),
            options=entry.options,
            quota=quota,
            limit=self._limit_notice(visit, quota),
            once=new_nonce(),
        )
        return self._render(page, status)

    def _revoke_page(self, visit: MemberVisit, key: ApiKey, problem: str = "") -> Response:
        now = visit.now()
        page = RevokeKeyPage(
            frame=visit.frame(),
            key=self._row(visit, key),
            consequence=revoke_consequence(key, now),
            confirmation=_confirmation(key) if is_in_use(key, now) else "",
            problem=problem,
            has_family=key.family is not None,
            family_chosen=bool(visit.form.one(FAMILY) or visit.query(FAMILY)),
            back_url=self._back_url(visit, key),
        )
        return self._render(page, 422 if problem else 200)


def _confirmation(key: ApiKey) -> str:
    return key.hint[-4:]


def _is_confirmed(visit: MemberVisit, key: ApiKey) -> bool:
    return visit.form.one(CONFIRMATION).strip() == _confirmation(key)
