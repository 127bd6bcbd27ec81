"""Rotating and editing a key."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

from starlette.responses import Response

from keystead.developer_area.keys.contexts import EditKeyPage, RotateKeyPage
from keystead.developer_area.keys.forms import (
    EditEntry,
    earliest_day,
    once_of,
    problems_of,
    shown_at,
)
from keystead.developer_area.keys.shared import KeyDesk
from keystead.developer_area.sign_in.session import Acting, Visit
from keystead.developer_area.web.contexts import Choice
from keystead.developer_area.web.forms import Form, made_from
from keystead.developer_area.web.navigation import see_other
from keystead.developer_area.web.times import moment
from keystead.domain.errors import (
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
    Rotation,
    earlier,
    has_passed,
    plan_rotation,
    require_manager,
)

REFUSED = (KeyExpired, KeyRevoked, RotationInProgress, WouldWiden, LimitReached)
"""What a sentence on the page answers."""


class KeyChanges:
    """The pages that change a key."""

    def __init__(self, desk: KeyDesk) -> None:
        self._desk = desk

    def ask_to_rotate(self, visit: Visit) -> Response:
        """When the old key is to end."""
        acting, key = self._managed(visit)
        return self._rotation(visit, acting, key)

    def rotate(self, visit: Visit) -> Response:
        """The successor, its token shown in this answer alone; or the choices again, and why."""
        acting, key = self._managed(visit)
        keys = self._desk.services.keys
        try:
            overlap, once = chosen_overlap(visit.form), once_of(visit.form)
            created = keys.rotate(
                acting.principal, key.id, overlap=overlap, origin=visit.origin, once=once
            )
        except Invalid:
            problem = "When the old key ends must be chosen."
            return self._rotation(visit, acting, key, problem=problem, status=422)
        except IdempotencyMismatch:
            used = "This form has rotated the key already. Its new key is in the list."
            return self._rotation(visit, acting, key, used, status=409)
        except REFUSED as refused:
            return self._rotation(visit, acting, key, refusal_of(refused), status=409)
        ended = keys.get(acting.principal, key.id)
        return self._desk.created(
            visit, acting, created, fate_of_the_old(ended, keys.now(), acting.zone)
        )

    def ask_to_edit(self, visit: Visit) -> Response:
        """A key's attributes, to be changed."""
        acting, key = self._managed(visit)
        return self._attributes(visit, acting, key, EditEntry.of_key(key))

    def edit(self, visit: Visit) -> Response:
        """Writes what was changed, and goes on to the key's page; or the form again, with what is wrong."""
        acting, key = self._managed(visit)
        entry = EditEntry.of_form(visit.form)
        keys = self._desk.services.keys
        try:
            changed = keys.update(
                acting.principal,
                key.id,
                entry.patch(keys.now(), acting.zone),
                visit.origin,
                made_from(visit.form),
            )
        except ChangedMeanwhile:
            current = keys.get(acting.principal, key.id)
            return self._attributes(visit, acting, current, entry, is_older=True, status=409)
        except Invalid as refused:
            return self._attributes(visit, acting, key, entry, problems_of(refused), status=422)
        except REFUSED as refused:
            said = refusal_of(refused)
            return self._attributes(visit, acting, key, entry, refusal=said, status=409)
        saved = "?saved=yes" if changed != key else ""
        return see_other(f"{acting.keys_url}/{key.id}{saved}")

    def _managed(self, visit: Visit) -> tuple[Acting, ApiKey]:
        """Who acts, and the key that they may change. Forbidden."""
        acting = self._desk.acting(visit, to_change=True)
        key = self._desk.key(visit, acting)
        require_manager(acting.principal, key)
        return acting, key

    def _rotation(
        self,
        visit: Visit,
        acting: Acting,
        key: ApiKey,
        refusal: str = "",
        *,
        problem: str = "",
        status: int = 200,
    ) -> Response:
        now = self._desk.now()
        try:
            planned = self._planned(acting, key, now)
        except REFUSED as refused:
            planned, refusal = None, refusal_of(refused)
        ends = None if planned is None else planned.successor.expires_at
        page = RotateKeyPage(
            frame=self._desk.frame(visit, acting),
            key=self._desk.row(acting, key, now),
            refusal=refusal,
            problem=problem,
            once=secrets.token_urlsafe(16),
            overlaps=overlap_choices(key, now, acting.zone) if planned else (),
            successor_expires=None if ends is None else moment(ends, now, acting.zone),
            keys_url=acting.keys_url,
        )
        return self._desk.render(page, status)

    def _planned(self, acting: Acting, key: ApiKey, now: datetime) -> Rotation | None:
        """The rotation, as far as a look can tell whether it would be refused."""
        before = self._desk.services.keys.predecessor(acting.principal, key.id)
        if before is not None and before.status(now) is KeyStatus.ACTIVE:
            raise RotationInProgress(
                f"The key {before.hint} before it still works for a while; revoke that one first."
            )
        return plan_rotation(key, timedelta(), UNSET, acting.principal, now)

    def _attributes(
        self,
        visit: Visit,
        acting: Acting,
        key: ApiKey,
        entry: EditEntry,
        problems: Mapping[str, str] | None = None,
        *,
        refusal: str = "",
        is_older: bool = False,
        status: int = 200,
    ) -> Response:
        now = self._desk.now()
        alive = key.status(now) is KeyStatus.ACTIVE
        page = EditKeyPage(
            frame=self._desk.frame(visit, acting),
            key=self._desk.row(acting, key, now),
            version=key.version,
            differences=entry.differences(key, now, acting.zone) if is_older else None,
            refusal=refusal,
            problems=problems or {},
            description=entry.description,
            expiries=entry.expiries(key, now, acting.zone) if alive else (),
            shown_at=shown_at(now),
            expires_on=entry.expires_on,
            earliest=earliest_day(now, acting.zone),
            accesses=entry.accesses(key),
            scopes=entry.scope_choices(key, self._desk.services.keys.catalog),
        )
        return self._desk.render(page, status)


OVERLAP: Final = "overlap"
_OVERLAPS: Final[Mapping[str, tuple[str, timedelta]]] = {
    "now": ("Now", timedelta()),
    "hour": ("In 1 hour", timedelta(hours=1)),
    "day": ("In 24 hours", timedelta(hours=24)),
    "week": ("In 7 days", timedelta(days=7)),
}


def overlap_choices(key: ApiKey, now: datetime, zone: tzinfo) -> Sequence[Choice]:
    """The choices, each with the exact instant: never later than the key's own expiry."""
    return [
        Choice(value, text, _hint(key, span, now, zone))
        for value, (text, span) in _OVERLAPS.items()
    ]


def chosen_overlap(form: Form) -> timedelta:
    """What was chosen. Invalid where nothing was."""
    found = _OVERLAPS.get(form.one(OVERLAP))
    if found is None:
        raise Invalid.field("/overlap_seconds", "must be chosen")
    return found[1]


def fate_of_the_old(key: ApiKey, now: datetime, zone: tzinfo) -> str:
    """What becomes of a key that was rotated."""
    if key.revoked_at is not None or key.expires_at is None or has_passed(key.expires_at, now):
        return f"The old key {key.hint} has stopped working."
    ends = moment(key.expires_at, now, zone)
    return f"The old key {key.hint} stops working {ends.relative}: {ends.exact}."


def refusal_of(error: KeysteadError) -> str:
    """Why a key was not changed, in a sentence for people."""
    if isinstance(error, LimitReached):
        return (
            "Too many rotated keys still work beside their successors."
            " Let this one end now, or revoke one of those first."
        )
    return error.detail


def _hint(key: ApiKey, span: timedelta, now: datetime, zone: tzinfo) -> str:
    if not span:
        return "what uses it stops at once, until it has the new key"
    ends = earlier(key.expires_at, now + span)
    exact = moment(ends, now, zone).exact
    return f"until {exact}" if ends == now + span else f"at its own expiry already: {exact}"
