"""The pages of API keys: see them, create one, revoke one."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from keystead.developer_area import key_rows
from keystead.developer_area.key_form import KeyEntry, once_of, problems_of
from keystead.developer_area.key_rows import key_row
from keystead.developer_area.pages import (
    KeyCreatedBeforePage,
    KeyCreatedPage,
    KeysPage,
    LimitNotice,
    Link,
    NewKeyPage,
    QuotaLine,
    RevokeKeyPage,
)
from keystead.developer_area.render import Renderer
from keystead.developer_area.session import Acting, Sessions, Visit, see_other
from keystead.domain.errors import (
    IdempotencyMismatch,
    Invalid,
    InvalidCursor,
    LimitReached,
    NotFound,
)
from keystead.domain.ids import KeyId, is_id
from keystead.domain.keys import ApiKey, KeyStatus, require_manager
from keystead.domain.plans import Quota
from keystead.domain.scopes import KEYS_WRITE
from keystead.domain.token import parse
from keystead.http.paging import Page, read_page
from keystead.services import Services
from keystead.services.keys import CreatedKey

_SHOWS: Final[Mapping[str, tuple[str, tuple[KeyStatus, ...]]]] = {
    "": ("Current", (KeyStatus.ACTIVE, KeyStatus.EXPIRED)),
    "active": ("Active", (KeyStatus.ACTIVE,)),
    "expired": ("Expired", (KeyStatus.EXPIRED,)),
    "history": ("History", (KeyStatus.REVOKED,)),
}
_LONGEST_QUERY: Final = 200


class KeyPages:
    """What a person does with keys."""

    def __init__(
        self,
        services: Services,
        render: Renderer,
        sessions: Sessions,
        *,
        base_url: str,
        plans_url: str | None,
    ) -> None:
        self._services = services
        self._render = render
        self._sessions = sessions
        self._base_url = base_url
        self._plans_url = plans_url

    def index(self, visit: Visit) -> Response:
        """The table: active keys first, then expired ones; revoked ones in History."""
        acting = self._sessions.acting(visit)
        show, query, page = _asked(visit, acting)
        if (
            token := parse(query)
        ) is not None:  # somebody pasted a whole one: out of the address with it
            return see_other(_list_url(acting, show, token.key_id))
        found, position, quota = self._page_of_keys(acting, _SHOWS[show][1], query, page)
        now, line = self._services.keys.now(), self._quota_line(acting, quota)
        next_url = position and _list_url(acting, show, query, page.cursor(position))
        context = KeysPage(
            frame=self._sessions.frame(visit, acting),
            message=self._message(visit, acting, line),
            quota=line,
            limit=self._limit(acting, line, now),
            may_create=acting.principal.scopes.permit(KEYS_WRITE),
            new_url=f"{acting.keys_url}/new",
            keys_url=acting.keys_url,
            shows=_shows(acting, show),
            show=show,
            query=query,
            rows=[key_row(key, acting, now) for key in found],
            first_url=_list_url(acting, show, query) if page.after else None,
            next_url=next_url,
        )
        return self._render(context)

    def new(self, visit: Visit) -> Response:
        """The form for a new key."""
        acting = self._sessions.acting(visit)
        acting.principal.require(KEYS_WRITE)
        return self._new_page(visit, acting, KeyEntry())

    def create(self, visit: Visit) -> Response:
        """A new key, its token shown in this answer alone; or the form again, with what is wrong."""
        acting = self._sessions.acting(visit)
        acting.principal.require(KEYS_WRITE)
        entry, once = KeyEntry.of(visit.form), once_of(visit.form)
        try:
            draft = entry.draft(self._services.keys.now())
            created = self._services.keys.create(acting.principal, draft, visit.origin, once)
        except IdempotencyMismatch:
            used = {
                "form": "This form has made a key already. Look it over, and send it again for another one."
            }
            return self._new_page(visit, acting, entry, used, status=409)
        except Invalid as refused:
            return self._new_page(visit, acting, entry, problems_of(refused), status=422)
        except LimitReached:
            return self._new_page(visit, acting, entry, status=409)
        return self._created_page(visit, acting, created)

    def ask_to_revoke(self, visit: Visit) -> Response:
        """The question before a key is revoked."""
        acting = self._sessions.acting(visit)
        acting.principal.require(KEYS_WRITE)
        key, now = self._key(visit, acting), self._services.keys.now()
        require_manager(acting.principal, key)
        page = RevokeKeyPage(
            frame=self._sessions.frame(visit, acting),
            key=key_row(key, acting, now),
            consequence=key_rows.consequence(key, now),
            keys_url=acting.keys_url,
        )
        return self._render(page)

    def revoke(self, visit: Visit) -> Response:
        """Ends the key; then back to the table, which says so."""
        acting = self._sessions.acting(visit)
        key = self._services.keys.revoke(
            acting.principal, KeyId(visit.path("key_id")), visit.origin
        )
        return see_other(f"{acting.keys_url}?{urlencode({'revoked': key.id})}")

    def _page_of_keys(
        self, acting: Acting, statuses: Sequence[KeyStatus], query: str, asked: Page[str]
    ) -> tuple[list[ApiKey], str | None, Quota]:
        """One page of keys, one status after the other; the position to continue after; the quota.

        A position is the place of the status and the last id, such as `0:key_...`; without an id, the start of it.
        """
        place, before = _position(asked.after, statuses)
        found: list[ApiKey] = []
        while True:
            page = self._services.keys.list(
                acting.principal,
                status=statuses[place],
                query=query,
                limit=max(1, asked.limit - len(found)),
                before=before,
            )
            if len(found) == asked.limit:
                return found, f"{place}:" if page.keys else None, page.quota
            found += page.keys
            if page.next is not None:
                return found, f"{place}:{page.next}", page.quota
            place, before = place + 1, None
            if place == len(statuses):
                return found, None, page.quota

    def _new_page(
        self,
        visit: Visit,
        acting: Acting,
        entry: KeyEntry,
        problems: Mapping[str, str] | None = None,
        *,
        status: int = 200,
    ) -> Response:
        now = self._services.keys.now()
        line = self._quota_line(acting)
        page = NewKeyPage(
            frame=self._sessions.frame(visit, acting),
            quota=line,
            limit=self._limit(acting, line, now),
            keys_url=acting.keys_url,
            once=secrets.token_urlsafe(16),
            problems=problems or {},
            description=entry.description,
            expiries=entry.expiries(now),
            expires_on=entry.expires_on,
            earliest=(now + timedelta(days=1)).date().isoformat(),
            accesses=entry.accesses(),
            scopes=entry.scope_choices(acting.principal, self._services.keys.catalog),
        )
        return self._render(page, status)

    def _created_page(self, visit: Visit, acting: Acting, created: CreatedKey) -> Response:
        row = key_row(created.key, acting, self._services.keys.now())
        frame = self._sessions.frame(visit, acting)
        if created.token is None:
            page = KeyCreatedBeforePage(frame, row, acting.keys_url, f"{acting.keys_url}/new")
            return self._render(page)
        token = created.token.reveal()
        whoami = shlex.quote(f"{self._base_url}/v1/whoami")
        curl = f'curl -H "Authorization: Bearer {token}" {whoami}'
        return self._render(KeyCreatedPage(frame, row, token, curl, acting.keys_url), 201)

    def _key(self, visit: Visit, acting: Acting) -> ApiKey:
        return self._services.keys.get(acting.principal, KeyId(visit.path("key_id")))

    def _quota_line(self, acting: Acting, quota: Quota | None = None) -> QuotaLine:
        if quota is None:
            quota = self._services.keys.list(acting.principal, limit=1).quota
        return key_rows.quota_line(quota, self._services.plans.get(acting.workspace.plan_id))

    def _limit(self, acting: Acting, quota: QuotaLine, now: datetime) -> LimitNotice | None:
        if not quota.is_full or not acting.principal.scopes.permit(KEYS_WRITE):
            return None
        candidates = self._services.keys.candidates(acting.principal)
        rows = [key_row(key, acting, now) for key in candidates]
        return key_rows.limit_notice(quota, rows, self._plans_url)

    def _message(self, visit: Visit, acting: Acting, quota: QuotaLine) -> str:
        """What has just happened, told from the keys themselves: a made-up address announces nothing."""
        said = visit.query("revoked")
        if not is_id("key", said):
            return ""
        try:
            key = self._services.keys.get(acting.principal, KeyId(said))
        except NotFound:
            return ""
        done = key.revoked_at is not None
        return f"“{key.description}” is revoked. {quota.text}." if done else ""


def _asked(visit: Visit, acting: Acting) -> tuple[str, str, Page[str]]:
    """Which keys are to be shown, what they are searched for, and which page of them."""
    show, query = visit.query("show"), visit.query("query").strip()[:_LONGEST_QUERY]
    if show not in _SHOWS:
        raise NotFound
    page = read_page(
        str,
        workspace_id=acting.workspace.id,
        path=visit.request.scope["path"],
        filters={"show": show, "query": query},
        cursor=visit.query("cursor") or None,
    )
    return show, query, page


def _position(after: str | None, statuses: Sequence[KeyStatus]) -> tuple[int, KeyId | None]:
    place, _, before = (after or "0:").partition(":")
    if place not in map(str, range(len(statuses))):
        raise InvalidCursor
    return int(place), KeyId(before) if before else None


def _list_url(acting: Acting, show: str, query: str = "", cursor: str = "") -> str:
    said = {"show": show, "query": query, "cursor": cursor}
    used = urlencode({name: value for name, value in said.items() if value})
    return f"{acting.keys_url}?{used}" if used else acting.keys_url


def _shows(acting: Acting, shown: str) -> list[Link]:
    return [
        Link(text, _list_url(acting, show), show == shown) for show, (text, _) in _SHOWS.items()
    ]
