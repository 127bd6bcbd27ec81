"""Rotating and editing a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from starlette.responses import Response

from keystead.developer_area.keys.contexts import EditKeyPage, RotateKeyPage
from keystead.developer_area.keys.forms import (
    EditEntry,
    key_problems,
    shown_at,
)
from keystead.developer_area.keys.list_state import ListState
from keystead.developer_area.keys.pages import KeyPages, is_from_key_page
from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Choice
from keystead.developer_area.web.forms import Form, form_once, form_version, new_nonce
from keystead.developer_area.web.navigation import see_other
from keystead.domain.errors import (
    AgainstPolicy,
    ChangedMeanwhile,
    IdempotencyMismatch,
    Invalid,
    KeyExpired,
    KeyRevoked,
    KeysteadError,
    LimitReached,
    RotationInProgress,
    WouldWiden,
)
from keystead.domain.keys import (
    UNSET,
    ApiKey,
    KeyStatus,
    earlier,
    has_passed,
)
from keystead.domain.rotations import Rotation, plan_rotation
from keystead.domain.time_zones import today_in

_REFUSALS = (
    KeyExpired,
    KeyRevoked,
    RotationInProgress,
    WouldWiden,
    LimitReached,
    AgainstPolicy,
)
"""Errors that the page explains in a sentence."""
OVERLAP: Final = "overlap"
_OVERLAPS: Final[Mapping[str, tuple[str, timedelta]]] = {
    "now": ("Immediately", timedelta()),
    "hour": ("In 1 hour", timedelta(hours=1)),
    "day": ("In 24 hours", timedelta(hours=24)),
    "week": ("In 7 days", timedelta(days=7)),
}


class KeyChanges(KeyPages):
    """The pages that rotate and edit a key."""

    def rotate_form(self, visit: MemberVisit) -> Response:
        """Ask when the old key expires."""
        return self._rotate_page(visit, self._managed_key(visit))

    def rotate(self, visit: MemberVisit) -> Response:
        """Rotate a key and show the successor's token once, or show the form again with the reason."""
        key, keys = self._managed_key(visit), self._services.keys
        try:
            overlap, once = _chosen_overlap(visit.form), form_once(visit.form)
            created = self._services.rotations.rotate(
                visit.principal, key.id, overlap=overlap, origin=visit.origin, once=once
            )
        except IdempotencyMismatch:
            used = "This form has already rotated the key. Its new key is in the list."
            return self._rotate_page(visit, key, used, status=409)
        except AgainstPolicy as refused:
            return self._rotate_page(visit, key, _refusal_text(refused), status=422)
        except Invalid:
            problem = "Choose when the old key stops working."
            return self._rotate_page(visit, key, problem=problem, status=422)
        except _REFUSALS as refused:
            return self._rotate_page(visit, key, _refusal_text(refused), status=409)
        old = keys.get(visit.principal, key.id)
        return self._created(visit, created, ListState.carried(visit), _old_key_text(old, visit))

    def edit_form(self, visit: MemberVisit) -> Response:
        """Show the form with a key's attributes."""
        key = self._managed_key(visit)
        return self._edit_page(visit, key, EditEntry.of_key(key, visit.zone))

    def edit(self, visit: MemberVisit) -> Response:
        """Save the attributes and show the key, or show the form again with its problems."""
        key, keys = self._managed_key(visit), self._services.keys
        entry = EditEntry.of_form(visit.form)
        try:
            patch = entry.patch(key, visit.now(), visit.zone, keys.catalog)
            changed = keys.update(
                visit.principal, key.id, patch, visit.origin, form_version(visit.form)
            )
        except ChangedMeanwhile:
            current = keys.get(visit.principal, key.id)
            return self._edit_page(visit, current, entry, is_outdated=True, status=409)
        except Invalid as refused:
            return self._edit_page(visit, key, entry, key_problems(refused), status=422)
        except _REFUSALS as refused:
            refusal = _refusal_text(refused)
            return self._edit_page(visit, key, entry, refusal=refusal, status=409)
        url = self._back_url(visit, key)
        if changed == key:
            return see_other(url)
        if not is_from_key_page(visit):
            url = ListState.carried(visit).changed_url(visit.keys_url, key.id)
        return redirect_with_message(url, f"“{changed.description}” was saved.")

    def _rotate_page(
        self,
        visit: MemberVisit,
        key: ApiKey,
        refusal: str = "",
        *,
        problem: str = "",
        status: int = 200,
    ) -> Response:
        now = visit.now()
        try:
            rotation = self._preview(visit, key, now)
        except _REFUSALS as refused:
            rotation, refusal = None, _refusal_text(refused)
        page = RotateKeyPage(
            frame=visit.frame(),
            key=self._row(visit, key),
            refusal=refusal,
            problem=problem,
            once=new_nonce(),
            overlaps=_overlap_choices(key, now, visit) if rotation else (),
            successor_expires=visit.timestamp(rotation.successor.expires_at) if rotation else None,
            back_url=self._back_url(visit, key),
        )
        return self._render(page, status)

    def _preview(self, visit: MemberVisit, key: ApiKey, now: datetime) -> Rotation:
        """Return the rotation, or raise what would refuse it as far as a read can show."""
        predecessor = self._services.keys.predecessor(visit.principal, key.id)
        if predecessor is not None and predecessor.status(now) is KeyStatus.ACTIVE:
            raise RotationInProgress(
                f"Its predecessor {predecessor.hint} still works. Revoke that key first."
            )
        return plan_rotation(key, timedelta(), UNSET, visit.principal, self._policy(visit), now)

    def _edit_page(
        self,
        visit: MemberVisit,
        key: ApiKey,
        entry: EditEntry,
        problems: Mapping[str, str] | None = None,
        *,
        refusal: str = "",
        is_outdated: bool = False,
        status: int = 200,
    ) -> Response:
        now, catalog = visit.now(), self._services.keys.catalog
        is_active = key.status(now) is KeyStatus.ACTIVE
        page = EditKeyPage(
            frame=visit.frame(),
            problems=problems or {},
            description=entry.entered.description,
            expiries=entry.expiries(key, visit, self._policy(visit)) if is_active else (),
            shown_at=shown_at(now),
            expires_on=entry.entered.expires_on,
            earliest=today_in(visit.zone, now),
            accesses=entry.accesses(key, catalog),
            grid=entry.grid(key, catalog),
            options=entry.entered.options,
            key=self._row(visit, key),
            version=key.version,
            differences=entry.differences(key, visit, catalog) if is_outdated else None,
            refusal=refusal,
            back_url=self._back_url(visit, key),
        )
        return self._render(page, status)


def _overlap_choices(key: ApiKey, now: datetime, visit: MemberVisit) -> Sequence[Choice]:
    """Return the overlaps with the exact time of each: never later than the key's own expiry."""
    return [
        Choice(value, text, _overlap_hint(key, overlap, now, visit))
        for value, (text, overlap) in _OVERLAPS.items()
    ]


def _overlap_hint(key: ApiKey, overlap: timedelta, now: datetime, visit: MemberVisit) -> str:
    if not overlap:
        return "Anything using it breaks until you deploy the new key."
    end = earlier(key.expires_at, now + overlap)
    exact = visit.timestamp(end).exact
    return f"until {exact}" if end == now + overlap else f"at its own expiry: {exact}"


def _chosen_overlap(form: Form) -> timedelta:
    if form.one(OVERLAP) not in _OVERLAPS:
        raise Invalid.field("/overlap_seconds", "must be chosen")
    return _OVERLAPS[form.one(OVERLAP)][1]


def _old_key_text(key: ApiKey, visit: MemberVisit) -> str:
    """Return what happens to a rotated key."""
    end = key.expires_at
    if key.revoked_at is not None or end is None or has_passed(end, visit.now()):
        return f"The old key {key.hint} has stopped working."
    expiry = visit.timestamp(end)
    return f"The old key {key.hint} stops working {expiry.relative}: {expiry.exact}."


def _refusal_text(error: KeysteadError) -> str:
    if isinstance(error, LimitReached):
        return (
            "Too many rotated keys still work in addition to their successors."
            " Let this one stop immediately, or revoke one of those first."
        )
    if isinstance(error, AgainstPolicy):
        return (
            "Keys must expire by this workspace's policy, and it doesn't say when."
            " Set an expiry for this key first."
        )
    return error.detail
