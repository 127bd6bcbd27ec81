"""Making a key: the form, and the answer that shows its token."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from starlette.responses import Response

from keystead.developer_area.keys.contexts import NewKeyPage
from keystead.developer_area.keys.forms import (
    KeyEntry,
    earliest_day,
    once_of,
    problems_of,
    shown_at,
)
from keystead.developer_area.keys.shared import KeyDesk
from keystead.developer_area.sign_in.session import Acting, Visit
from keystead.domain.errors import IdempotencyMismatch, Invalid, LimitReached


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
