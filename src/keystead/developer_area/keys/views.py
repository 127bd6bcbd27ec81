"""The page of one key: what it is, how it is used, who calls with it, and what happened to it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from keystead.developer_area.keys.contexts import KeyPage, NewKeyPage, RevokeKeyPage
from keystead.developer_area.keys.forms import (
    KeyEntry,
    earliest_day,
    once_of,
    problems_of,
    shown_at,
)
from keystead.developer_area.keys.rows import (
    caller_row,
    chart_of,
    consequence,
    event_row,
    first_day,
)
from keystead.developer_area.keys.shared import KeyDesk
from keystead.developer_area.sign_in.session import Acting, Visit
from keystead.developer_area.web.contexts import Link
from keystead.developer_area.web.navigation import see_other
from keystead.domain.errors import IdempotencyMismatch, Invalid, LimitReached
from keystead.domain.events import Event, EventType
from keystead.domain.key_hygiene import is_in_use
from keystead.domain.keys import ApiKey, KeyStatus, require_manager

_EVENTS: Final = 20
_JUST_NOW: Final = timedelta(minutes=1)


class KeyDetail:
    """The page of one key."""

    def __init__(self, desk: KeyDesk) -> None:
        self._desk = desk

    def show(self, visit: Visit) -> Response:
        """All about the key that the path names."""
        acting = self._desk.acting(visit)
        key, now = self._desk.key(visit, acting), self._desk.now()
        services, principal = self._desk.services, acting.principal
        today = now.astimezone(UTC).date()
        uses = services.usage.per_day(principal, key.id, first_day(today))
        callers = [
            (c.caller.reason, caller_row(c, now, acting.zone))
            for c in services.usage.callers(principal, key.id)
        ]
        happened = services.events.list(principal, target_id=key.id, limit=_EVENTS)
        page = KeyPage(
            frame=self._desk.frame(visit, acting),
            message=_message(visit, acting, happened.events, now),
            keys_url=acting.keys_url,
            key=self._desk.row(acting, key, now),
            predecessor=self._predecessor(acting, key),
            after_end=key.status(now) is not KeyStatus.ACTIVE,
            chart=chart_of(uses, today),
            callers=[row for reason, row in callers if reason is None],
            refused=[row for reason, row in callers if reason is not None],
            events=[event_row(e, acting, now) for e in happened.events],
            more_events=happened.next is not None,
        )
        return self._desk.render(page)

    def _predecessor(self, acting: Acting, key: ApiKey) -> Link | None:
        before = self._desk.services.keys.predecessor(acting.principal, key.id)
        return None if before is None else Link(before.hint, f"{acting.keys_url}/{before.id}")


def _message(visit: Visit, acting: Acting, happened: Sequence[Event], now: datetime) -> str:
    """That it was saved, told from what happened: a made-up address announces nothing."""
    if not visit.query("saved") or not happened:
        return ""
    latest = happened[0]
    own = latest.type is EventType.KEY_UPDATED and latest.actor.id == acting.principal.id
    return "Saved." if own and now - latest.occurred_at < _JUST_NOW else ""


class KeyMaking:
    """The pages that make a key."""

    def __init__(self, desk: KeyDesk) -> None:
        self._desk = desk

    def ask(self, visit: Visit) -> Response:
        """The form for a new key."""
        acting = self._desk.acting(visit, to_change=True)
        return self._form(visit, acting, KeyEntry())

    def create(self, visit: Visit) -> Response:
        """A new key, its token shown in this answer alone; or the form again, with what is wrong."""
        acting = self._desk.acting(visit, to_change=True)
        entry, once = KeyEntry.of(visit.form), once_of(visit.form)
        keys = self._desk.services.keys
        try:
            created = keys.create(
                acting.principal, entry.draft(keys.now(), acting.zone), visit.origin, once
            )
        except IdempotencyMismatch:
            used = {
                "form": "This form has made a key already. Look it over, and send it again for another one."
            }
            return self._form(visit, acting, entry, used, status=409)
        except Invalid as refused:
            return self._form(visit, acting, entry, problems_of(refused), status=422)
        except LimitReached:
            return self._form(visit, acting, entry, status=409)
        return self._desk.created(visit, acting, created)

    def _form(
        self,
        visit: Visit,
        acting: Acting,
        entry: KeyEntry,
        problems: Mapping[str, str] | None = None,
        *,
        status: int = 200,
    ) -> Response:
        now = self._desk.now()
        line = self._desk.quota(acting)
        page = NewKeyPage(
            frame=self._desk.frame(visit, acting),
            quota=line,
            limit=self._desk.limit(acting, line, now),
            keys_url=acting.keys_url,
            once=secrets.token_urlsafe(16),
            problems=problems or {},
            description=entry.description,
            expiries=entry.expiries(now, acting.zone),
            shown_at=shown_at(now),
            expires_on=entry.expires_on,
            earliest=earliest_day(now, acting.zone),
            accesses=entry.accesses(),
            scopes=entry.scope_choices(acting.principal, self._desk.services.keys.catalog),
        )
        return self._desk.render(page, status)


CONFIRMATION: Final = "confirmation"
_LAST = 4


class KeyEnding:
    """The pages that end a key."""

    def __init__(self, desk: KeyDesk) -> None:
        self._desk = desk

    def ask(self, visit: Visit) -> Response:
        """The question before a key is revoked."""
        acting = self._desk.acting(visit, to_change=True)
        key = self._desk.key(visit, acting)
        require_manager(acting.principal, key)
        return self._question(visit, acting, key)

    def revoke(self, visit: Visit) -> Response:
        """Ends the key, and goes back to the table, which says so. A key in use only after its last four were typed."""
        acting = self._desk.acting(visit, to_change=True)
        key = self._desk.key(visit, acting)
        require_manager(acting.principal, key)
        if is_in_use(key, self._desk.now()) and not _is_confirmed(visit, key):
            problem = (
                f"Nothing was revoked. Type {_confirmation(key)} to revoke a key that is in use."
            )
            return self._question(visit, acting, key, problem)
        self._desk.services.keys.revoke(acting.principal, key.id, visit.origin)
        return see_other(f"{acting.keys_url}?{urlencode({'revoked': key.id})}")

    def _question(self, visit: Visit, acting: Acting, key: ApiKey, problem: str = "") -> Response:
        now = self._desk.now()
        page = RevokeKeyPage(
            frame=self._desk.frame(visit, acting),
            key=self._desk.row(acting, key, now),
            consequence=consequence(key, now),
            confirmation=_confirmation(key) if is_in_use(key, now) else "",
            problem=problem,
            keys_url=acting.keys_url,
        )
        return self._desk.render(page, 422 if problem else 200)


def _confirmation(key: ApiKey) -> str:
    return key.hint[-_LAST:]


def _is_confirmed(visit: Visit, key: ApiKey) -> bool:
    return visit.form.one(CONFIRMATION).strip() == _confirmation(key)
