"""Creating and revoking a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import PlainTextResponse, Response

from keystead.developer_area.keys.contexts import NewKeyPage, RevokeKeyPage
from keystead.developer_area.keys.forms import (
    KeyEntry,
    key_problems,
    shown_at,
)
from keystead.developer_area.keys.list_state import ListState
from keystead.developer_area.keys.pages import FAMILY, LIKE, KeyPages, carried_query
from keystead.developer_area.keys.rows import (
    consequence_of,
    revoke_consequence,
    selected_keys,
    were,
)
from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.forms import form_once, new_nonce
from keystead.developer_area.web.labels import plural
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
        entry = KeyEntry.like(key, visit.now(), visit.zone, keys.catalog)
        return self._form(visit, entry, inexact=entry.inexact(visit.principal, keys.catalog))

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
        key = self._managed_key(visit)
        family = self._services.key_lists.family(visit.principal, key)
        return self._revoke_page(visit, key, family, whole=bool(visit.query(FAMILY)))

    def revoke(self, visit: MemberVisit) -> Response:
        """Revoke a key, or its family, and show the list.

        A key in use requires its last four characters, a family with one in use the number of its keys.
        """
        key, now, whole = self._managed_key(visit), visit.now(), bool(visit.form.one(FAMILY))
        family = self._services.key_lists.family(visit.principal, key)
        ending = family if whole and key.family else [key]
        required = _confirmation(key, family if whole else ())
        typed = visit.form.one(CONFIRMATION).strip()
        if any(is_in_use(each, now) for each in ending) and typed != required:
            what = "these keys" if len(ending) > 1 else "this key"
            mismatch = "That doesn't match. " if typed else ""
            problem = f"{mismatch}Type {required} to revoke {what}."
            return self._revoke_page(visit, key, family, problem, whole=whole)
        self._services.keys.revoke(visit.principal, key.id, visit.origin, family=whole)
        quota = self._key_quota(visit, self._services.keys.quota(visit.principal))
        url = ListState.carried(visit).url(visit.keys_url)
        revoked = were(len(ending)) if len(ending) > 1 else f"“{key.description}” was"
        return redirect_with_message(url, f"{revoked} revoked. {quota.text}.")

    def _form(
        self,
        visit: MemberVisit,
        entry: KeyEntry,
        problems: Mapping[str, str] | None = None,
        *,
        inexact: str = "",
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
            inexact=inexact,
            options=entry.options,
            quota=quota,
            limit=self._limit_notice(visit, quota),
            once=new_nonce(),
        )
        return self._render(page, status)

    def _revoke_page(
        self,
        visit: MemberVisit,
        key: ApiKey,
        family: Sequence[ApiKey],
        problem: str = "",
        *,
        whole: bool,
    ) -> Response:
        """Ask before revoking a key or, if `whole`, its unrevoked family."""
        now, others = visit.now(), sum(each.id != key.id for each in family)
        chosen = family if whole else ()
        ending = [each for each in chosen or [key] if each.revoked_at is None]
        in_use = sum(is_in_use(each, now) for each in ending)
        page = RevokeKeyPage(
            frame=visit.frame(),
            key=self._row(visit, key),
            consequence=consequence_of(in_use)
            if len(chosen) > 1
            else revoke_consequence((chosen or [key])[0], now),
            family=selected_keys(chosen, now),
            others=plural(others, "other key") if others else "",
            confirmation=_confirmation(key, chosen) if in_use else "",
            problem=problem,
            url=f"{visit.keys_url}/{key.id}/revoke{carried_query(visit)}" if ending else None,
            back_url=self._back_url(visit, key),
        )
        return self._render(page, 422 if problem else 200)


def _confirmation(key: ApiKey, family: Sequence[ApiKey]) -> str:
    """Return what must be typed to revoke a key, or a family."""
    return str(len(family)) if family else key.hint[-4:]
