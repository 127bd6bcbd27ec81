"""Changing several keys at the same time: the checked ones, or all that a review lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from keystead.developer_area.keys.contexts import ExpireKeysPage, RevokeKeysPage
from keystead.developer_area.keys.forms import KeyEntry, key_problems, shown_at
from keystead.developer_area.keys.list_state import LIST, ListState
from keystead.developer_area.keys.pages import KeyPages
from keystead.developer_area.keys.rows import consequence_of, selected_keys, were
from keystead.developer_area.keys.views import CONFIRMATION
from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.labels import plural
from keystead.developer_area.web.navigation import with_query
from keystead.developer_area.web.timestamps import relative
from keystead.domain.errors import Invalid
from keystead.domain.ids import KeyId
from keystead.domain.key_hygiene import HygieneFinding, is_in_use
from keystead.domain.key_lists import COUNTED_KEYS
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.time_zones import today_in

CHECKED: Final = "key"
WHOLE: Final = "whole"
IDS: Final = "keys"
_NOTHING: Final = "Select at least one key first."


class SelectedKeys(KeyPages):
    """The questions and the changes of several keys."""

    def revoke_form(self, visit: MemberVisit) -> Response:
        """Ask before revoking the checked keys."""
        keys = [key for key in self._checked(visit) if key.revoked_at is None]
        return self._revoke_page(visit, keys) if keys else _back(visit, _NOTHING)

    def revoke(self, visit: MemberVisit) -> Response:
        """Revoke the keys of the question and show the list. If one is in use, their number is required."""
        keys, now = self._named(visit), visit.now()
        left = [key for key in keys if key.revoked_at is None]
        typed = visit.form.one(CONFIRMATION).strip()
        if any(is_in_use(key, now) for key in left) and typed != str(len(left)):
            problem = f"That doesn't match. Type {len(left)} to revoke these keys."
            return self._revoke_page(visit, left, problem)
        ids = [key.id for key in keys]
        revoked = self._services.keys.revoke_many(visit.principal, ids, visit.origin)
        return _back(visit, f"{were(revoked)} revoked.")

    def expire_form(self, visit: MemberVisit) -> Response:
        """Ask when the checked keys expire."""
        keys = self._active(visit, self._checked(visit))
        return self._expire_page(visit, keys, KeyEntry()) if keys else _back(visit, _NOTHING)

    def expire(self, visit: MemberVisit) -> Response:
        """Set the expiry of the keys of the question and show the list, or show the form again with its problem."""
        keys, entry = self._active(visit, self._named(visit)), KeyEntry.of(visit.form)
        try:
            end = entry.expiry_date(visit.now(), visit.zone)
            ids = [key.id for key in keys]
            changed = self._services.keys.expire_many(visit.principal, ids, end, visit.origin)
        except Invalid as refused:
            return self._expire_page(visit, keys, entry, key_problems(refused))
        return _back(visit, f"{plural(changed, 'key')} will expire {relative(end, visit.now())}.")

    def _checked(self, visit: MemberVisit) -> Sequence[ApiKey]:
        """Return the checked keys, or all of a review. NotFound, Forbidden: see `Keys.select`."""
        whole = visit.query(WHOLE)
        if whole in set(HygieneFinding):
            keys = self._services.key_lists.needing(visit.principal, HygieneFinding(whole))
            ids = [key.id for key in keys if visit.principal.may_manage(key.created_by)]
        else:
            ids = list(dict.fromkeys(map(KeyId, visit.request.query_params.getlist(CHECKED))))
        return self._select(visit, ids)

    def _named(self, visit: MemberVisit) -> Sequence[ApiKey]:
        """Return the keys that the question listed."""
        return self._select(visit, list(dict.fromkeys(map(KeyId, visit.form.one(IDS).split()))))

    def _select(self, visit: MemberVisit, ids: Sequence[KeyId]) -> Sequence[ApiKey]:
        if len(ids) > COUNTED_KEYS:
            raise Invalid.field("/keys", f"must be at most {COUNTED_KEYS:,} keys")
        return self._services.keys.select(visit.principal, ids)

    def _active(self, visit: MemberVisit, keys: Sequence[ApiKey]) -> Sequence[ApiKey]:
        now = visit.now()
        return [key for key in keys if key.status(now) is KeyStatus.ACTIVE]

    def _revoke_page(
        self, visit: MemberVisit, keys: Sequence[ApiKey], problem: str = ""
    ) -> Response:
        now, state = visit.now(), ListState.carried(visit)
        in_use = sum(is_in_use(key, now) for key in keys)
        page = RevokeKeysPage(
            frame=visit.frame(),
            title=f"Revoke {plural(len(keys), 'key')}?",
            consequence=consequence_of(in_use),
            keys=selected_keys(keys, now),
            ids=_ids(keys),
            confirmation=str(len(keys)) if in_use else "",
            problem=problem,
            url=with_query(f"{visit.keys_url}/revoke", **{LIST: str(state)}),
            back_url=state.url(visit.keys_url),
        )
        return self._render(page, 422 if problem else 200)

    def _expire_page(
        self,
        visit: MemberVisit,
        keys: Sequence[ApiKey],
        entry: KeyEntry,
        problems: Mapping[str, str] | None = None,
    ) -> Response:
        now, state = visit.now(), ListState.carried(visit)
        page = ExpireKeysPage(
            frame=visit.frame(),
            title=f"Set an expiry for {plural(len(keys), 'key')}",
            keys=selected_keys(keys, now),
            ids=_ids(keys),
            problems=problems or {},
            expiries=entry.expiries(now, visit.zone, lambda end: end is not None),
            shown_at=shown_at(now),
            expires_on=entry.expires_on,
            earliest=today_in(visit.zone, now),
            url=with_query(f"{visit.keys_url}/expire", **{LIST: str(state)}),
            back_url=state.url(visit.keys_url),
        )
        return self._render(page, 422 if problems else 200)


def _back(visit: MemberVisit, message: str) -> Response:
    return redirect_with_message(ListState.carried(visit).url(visit.keys_url), message)


def _ids(keys: Sequence[ApiKey]) -> str:
    return " ".join(key.id for key in keys)
