"""The table of keys: which of them, in which order, page by page; and what their owner should look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from keystead.developer_area.key_habits import habit_line, habit_lines
from keystead.developer_area.keys.contexts import HabitLine, KeysPage
from keystead.developer_area.keys.shared import KeyDesk
from keystead.developer_area.redirects import see_other
from keystead.developer_area.sign_in.session import Acting, Visit
from keystead.developer_area.web.contexts import Link, QuotaLine
from keystead.domain.errors import InvalidCursor, NotFound
from keystead.domain.ids import KeyId, is_id
from keystead.domain.key_hygiene import HygieneFinding
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.plans import Quota
from keystead.domain.scopes import KEYS_WRITE
from keystead.domain.token import parse
from keystead.http.paging import Page, read_page

_LONGEST_QUERY: Final = 200


@dataclass(frozen=True, slots=True)
class Show:
    """One choice of keys: the word on its tab, the statuses one after the other, the habit that they have."""

    text: str
    statuses: tuple[KeyStatus, ...]
    habit: HygieneFinding | None = None


_TABS: Final[Mapping[str, Show]] = {
    "": Show("Current", (KeyStatus.ACTIVE, KeyStatus.EXPIRED)),
    "active": Show("Active", (KeyStatus.ACTIVE,)),
    "expired": Show("Expired", (KeyStatus.EXPIRED,)),
    "history": Show("History", (KeyStatus.REVOKED,)),
}
_SHOWS: Final[Mapping[str, Show]] = {
    **_TABS,
    **{habit.value: Show("", (KeyStatus.ACTIVE,), habit) for habit in HygieneFinding},
}


class KeyList:
    """The page of all keys."""

    def __init__(self, desk: KeyDesk) -> None:
        self._desk = desk

    def show(self, visit: Visit) -> Response:
        """The table: active keys first, then expired ones; revoked ones in History."""
        acting = self._desk.acting(visit)
        show, query, page = _asked(visit, acting)
        token = parse(query)
        if token is not None:  # somebody pasted a whole one: out of the address with it
            return see_other(_list_url(acting, show, token.key_id))
        chosen = _SHOWS[show]
        found, position, quota = self._page_of_keys(acting, chosen, query, page)
        now, line = self._desk.now(), self._desk.quota(acting, quota)
        counts = self._desk.services.keys.count_hygiene_findings(acting.principal, quota)
        context = KeysPage(
            frame=self._desk.frame(visit, acting),
            message=self._message(visit, acting, line),
            quota=line,
            limit=self._desk.limit(acting, line, now),
            may_create=acting.principal.scopes.permit(KEYS_WRITE),
            new_url=f"{acting.keys_url}/new",
            keys_url=acting.keys_url,
            habits=habit_lines(counts, acting.keys_url),
            habit=_habit(chosen, counts, acting),
            shows=_tabs(acting, show),
            show=show,
            query=query,
            rows=self._desk.rows(acting, found, now),
            first_url=_list_url(acting, show, query) if page.after else None,
            next_url=position and _list_url(acting, show, query, page.cursor(position)),
        )
        return self._desk.render(context)

    def _page_of_keys(
        self, acting: Acting, show: Show, query: str, asked: Page[str]
    ) -> tuple[list[ApiKey], str | None, Quota]:
        """One page of keys, one status after the other; the position to continue after; the quota.

        A position is the place of the status and the last id, such as `0:key_...`; without an id, the start of it.
        """
        place, before = _position(asked.after, show.statuses)
        found: list[ApiKey] = []
        while True:
            page = self._desk.services.keys.list(
                acting.principal,
                status=show.statuses[place],
                query=query,
                finding=show.habit,
                limit=max(1, asked.limit - len(found)),
                before=before,
            )
            if len(found) == asked.limit:
                return found, f"{place}:" if page.items else None, page.quota
            found += page.items
            if page.next is not None:
                return found, f"{place}:{page.next}", page.quota
            place, before = place + 1, None
            if place == len(show.statuses):
                return found, None, page.quota

    def _message(self, visit: Visit, acting: Acting, quota: QuotaLine) -> str:
        """What has just happened, told from the keys themselves: a made-up address announces nothing."""
        said = visit.query("revoked")
        if not is_id("key", said):
            return ""
        try:
            key = self._desk.services.keys.get(acting.principal, KeyId(said))
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


def _habit(show: Show, counts: Mapping[HygieneFinding, int], acting: Acting) -> HabitLine | None:
    """What is said of the keys that are shown; None where they are not chosen by a habit."""
    if show.habit is None:
        return None
    return habit_line(show.habit, counts.get(show.habit, 0), acting.keys_url)


def _tabs(acting: Acting, shown: str) -> list[Link]:
    return [Link(tab.text, _list_url(acting, show), show == shown) for show, tab in _TABS.items()]
