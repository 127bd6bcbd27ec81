"""The pages of the activity: who did what, when and from where; and the same as a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from keystead.developer_area.sign_in.session import Acting, Sessions, Visit
from keystead.developer_area.web.contexts import Choice
from keystead.developer_area.web.navigation import workspace_url
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.web.times import moment
from keystead.developer_area.workspace.activity_exports import csv_lines, json_lines
from keystead.developer_area.workspace.contexts import ActivityPage, EventRow, Group
from keystead.developer_area.workspace.event_sentences import NOUNS, noun_of, sentence
from keystead.domain.errors import NotFound
from keystead.domain.events import Event, EventType
from keystead.domain.principals import Principal, PrincipalKind
from keystead.http.paging import read_page
from keystead.services import Services
from keystead.services.paging import Page

_EXPORTED_AT_ONCE: Final = 1_000


class EventPages:
    """What a person sees of the audit log."""

    def __init__(self, services: Services, render: Renderer, sessions: Sessions) -> None:
        self._services = services
        self._render = render
        self._sessions = sessions

    def index(self, visit: Visit) -> Response:
        """One page of events, newest first, of one type or noun or of all."""
        acting, chosen = self._sessions.acting(visit), visit.query("type")
        types = _types(chosen)
        asked = read_page(
            int,
            workspace_id=acting.workspace.id,
            path=visit.request.scope["path"],
            filters={"type": chosen},
            cursor=visit.query("cursor") or None,
        )
        found = self._page(acting.principal, types, asked.limit, asked.after)
        now, url = self._services.keys.now(), f"{workspace_url(acting.workspace.id)}/activity"
        page = ActivityPage(
            frame=self._sessions.frame(visit, acting),
            url=url,
            everything=not chosen,
            groups=_groups(chosen),
            rows=[event_row(event, acting, now) for event in found.items],
            csv_url=_with(f"{url}.csv", chosen),
            json_url=_with(f"{url}.jsonl", chosen),
            first_url=_with(url, chosen) if asked.after is not None else None,
            next_url=None if found.next is None else _with(url, chosen, asked.cursor(found.next)),
        )
        return self._render(page)

    def as_csv(self, visit: Visit) -> Response:
        """All events, or those of the type, as a spreadsheet."""
        return self._export(visit, csv_lines, "csv", "text/csv; charset=utf-8; header=present")

    def as_json_lines(self, visit: Visit) -> Response:
        """All events, or those of the type, for programs."""
        return self._export(visit, json_lines, "jsonl", "application/jsonl")

    def _export(
        self, visit: Visit, lines: Callable[[Iterable[Event]], Iterator[str]], end: str, media: str
    ) -> Response:
        """A file, made while it is sent: a page of events is all that is ever held."""
        acting, types = self._sessions.acting(visit), _types(visit.query("type"))
        first = self._page(acting.principal, types, _EXPORTED_AT_ONCE, None)
        day = self._services.keys.now().date().isoformat()
        name = f"activity-{acting.workspace.id}-{day}.{end}"
        headers = {
            "content-disposition": f'attachment; filename="{name}"',
            "content-type": media,
            "cache-control": "no-store",
        }
        return StreamingResponse(lines(self._all(acting.principal, types, first)), headers=headers)

    def _all(
        self, principal: Principal, types: Sequence[EventType], page: Page[Event, int]
    ) -> Iterator[Event]:
        yield from page.items
        while page.next is not None:
            page = self._page(principal, types, _EXPORTED_AT_ONCE, page.next)
            yield from page.items

    def _page(
        self, principal: Principal, types: Sequence[EventType], limit: int, before: int | None
    ) -> Page[Event, int]:
        return self._services.events.list(principal, types=types, limit=limit, before=before)


def event_row(event: Event, acting: Acting, now: datetime) -> EventRow:
    """`event` as the acting person reads it at `now`."""
    told = sentence(event)
    return EventRow(
        id=event.id,
        type=event.type,
        who="You" if event.actor.id == acting.principal.id else event.actor.name,
        kind=_KINDS[event.actor.kind],
        did=told.did,
        what=told.what,
        what_url=_target_url(event, workspace_url(acting.workspace.id)),
        more=told.more,
        at=moment(event.occurred_at, now, acting.zone),
        address=event.origin.address or "",
        request_id=event.origin.request_id or "",
    )


_KINDS: Final[Mapping[PrincipalKind, str]] = {
    PrincipalKind.KEY: "API key",
    PrincipalKind.MEMBER: "",
    PrincipalKind.OPERATOR: "operator",
    PrincipalKind.SYSTEM: "automatic",
}


def _target_url(event: Event, base: str) -> str | None:
    """Where the thing is, if it is where it was."""
    if event.target.type == "key":
        return f"{base}/keys/{event.target.id}"
    if event.target.type == "collection" and event.type != EventType.COLLECTION_DELETED:
        return f"{base}/collections/{event.target.id}"
    return None


def _types(chosen: str) -> Sequence[EventType]:
    """The types that a type or a noun names; none for all. NotFound for what names none."""
    types = [t for t in EventType if chosen in {t.value, noun_of(t)}]
    if chosen and not types:
        raise NotFound
    return types


def _groups(chosen: str) -> Sequence[Group]:
    return [
        Group(words, [Choice(noun, f"{words}: all", "", noun == chosen), *_choices(noun, chosen)])
        for noun, words in NOUNS.items()
    ]


def _choices(noun: str, chosen: str) -> Iterator[Choice]:
    for event_type in EventType:
        if noun_of(event_type) == noun:
            words = event_type.replace(".", " ").replace("_", " ").capitalize()
            yield Choice(event_type, words, "", event_type == chosen)


def _with(url: str, chosen: str, cursor: str = "") -> str:
    said = {"type": chosen, "cursor": cursor}
    used = urlencode({name: value for name, value in said.items() if value})
    return f"{url}?{used}" if used else url
