"""The audit log of a workspace, as a page and as files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final

from starlette.responses import Response, StreamingResponse

from keystead.developer_area.sign_in.session import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Choice, ChoiceGroup
from keystead.developer_area.web.navigation import pager, with_query
from keystead.developer_area.workspace.activity_exports import csv_lines, json_lines
from keystead.developer_area.workspace.contexts import ActivityPage, EventRow
from keystead.developer_area.workspace.event_sentences import NOUNS, noun_of, sentence
from keystead.domain.errors import NotFound
from keystead.domain.events import Event, EventType, event_types
from keystead.domain.principals import Principal, PrincipalKind
from keystead.domain.scopes import ScopeCatalog
from keystead.services.paging import Page

_EXPORT_PAGE: Final = 1_000
_ACTOR_KINDS: Final[Mapping[PrincipalKind, str]] = {
    PrincipalKind.KEY: "API key",
    PrincipalKind.MEMBER: "",
    PrincipalKind.OPERATOR: "operator",
    PrincipalKind.SYSTEM: "automatic",
}


class ActivityPages(WorkspacePages):
    """The pages of the audit log."""

    def index(self, visit: MemberVisit) -> Response:
        """List events, newest first, filtered by a type or noun."""
        type_filter = visit.query("type")
        types, page = _types(type_filter), visit.page(int, type=type_filter)
        events = self._page(visit.principal, types, page.limit, page.after)
        url = f"{visit.workspace_url}/activity"
        context = ActivityPage(
            frame=visit.frame(),
            url=url,
            everything=not type_filter,
            groups=_groups(type_filter, self._services.keys.catalog),
            rows=[_event_row(event, visit) for event in events.items],
            csv_url=with_query(f"{url}.csv", type=type_filter),
            json_url=with_query(f"{url}.jsonl", type=type_filter),
            pages=pager(url, page, events.next, type=type_filter),
        )
        return self._render(context)

    def as_csv(self, visit: MemberVisit) -> Response:
        """Export the filtered events as CSV."""
        return self._export(visit, csv_lines, "csv", "text/csv; charset=utf-8; header=present")

    def as_json_lines(self, visit: MemberVisit) -> Response:
        """Export the filtered events as JSON lines."""
        return self._export(visit, json_lines, "jsonl", "application/jsonl")

    def _export(
        self,
        visit: MemberVisit,
        encode: Callable[[Iterable[Event]], Iterator[str]],
        suffix: str,
        media_type: str,
    ) -> Response:
        """Stream a file. At most one page of events is in memory."""
        principal, types = visit.principal, _types(visit.query("type"))
        # The first page is read before the response starts, so that its errors still get an error page.
        first = self._page(principal, types, _EXPORT_PAGE, None)
        name = f"activity-{visit.workspace.id}-{visit.now().date().isoformat()}.{suffix}"
        headers = {
            "content-disposition": f'attachment; filename="{name}"',
            "content-type": media_type,
            "cache-control": "no-store",
        }
        lines = encode(self._all(principal, types, first))
        return StreamingResponse(self._chunks(visit, lines), headers=headers)

    async def _chunks(self, visit: MemberVisit, lines: Iterator[str]) -> AsyncIterator[str]:
        """Yield the lines in chunks, each of which is made in the workspace's share of slow work."""
        make_chunk = partial(_join_some, lines)
        while chunk := await self._services.execution.run_slow(visit.workspace.id, make_chunk):
            yield chunk

    def _all(
        self, principal: Principal, types: Sequence[EventType], page: Page[Event, int]
    ) -> Iterator[Event]:
        yield from page.items
        while page.next is not None:
            page = self._page(principal, types, _EXPORT_PAGE, page.next)
            yield from page.items

    def _page(
        self, principal: Principal, types: Sequence[EventType], limit: int, before: int | None
    ) -> Page[Event, int]:
        return self._services.events.list(principal, types=types, limit=limit, before=before)


def _join_some(lines: Iterator[str]) -> str:
    """Return the next lines as one text, empty at the end."""
    return "".join(islice(lines, _EXPORT_PAGE))


def _event_row(event: Event, visit: MemberVisit) -> EventRow:
    parts = sentence(event)
    return EventRow(
        id=event.id,
        type=event.type,
        actor="You" if event.actor.id == visit.principal.id else event.actor.name,
        actor_kind=_ACTOR_KINDS[event.actor.kind],
        action=parts.action,
        object=parts.object,
        object_url=_target_url(event, visit),
        details=parts.details,
        at=visit.timestamp(event.occurred_at),
        address=event.origin.address or "",
        request_id=event.origin.request_id or "",
    )


def _target_url(event: Event, visit: MemberVisit) -> str | None:
    """Return the page of the event's target, None if there is no page or it no longer exists."""
    base, has_documents = visit.workspace_url, visit.services.keys.catalog.has_documents
    if event.target.type == "key":
        return f"{base}/keys/{event.target.id}"
    is_collection = event.target.type == "collection" and has_documents
    if is_collection and event.type != EventType.COLLECTION_DELETED:
        return f"{base}/collections/{event.target.id}"
    return None


def _types(type_filter: str) -> Sequence[EventType]:
    """Return the types that a type or noun names, empty for all. NotFound for an unknown name."""
    types = [t for t in EventType if type_filter in {t.value, noun_of(t)}]
    if type_filter and not types:
        raise NotFound
    return types


def _groups(type_filter: str, catalog: ScopeCatalog) -> Sequence[ChoiceGroup]:
    nouns = {noun_of(type) for type in event_types(has_documents=catalog.has_documents)}
    return [
        ChoiceGroup(
            text,
            [Choice(noun, f"{text}: all", "", noun == type_filter), *_choices(noun, type_filter)],
        )
        for noun, text in NOUNS.items()
        if noun in nouns
    ]


def _choices(noun: str, type_filter: str) -> Iterator[Choice]:
    for event_type in EventType:
        if noun_of(event_type) == noun:
            text = event_type.replace(".", " ").replace("_", " ").capitalize()
            yield Choice(event_type, text, "", event_type == type_filter)
