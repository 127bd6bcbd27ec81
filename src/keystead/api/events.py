"""The call of events."""

from __future__ import annotations

from typing import Final

from keystead.api.calls import Call, page_of
from keystead.api.operations import PAGED, Operations, Reply, in_query
from keystead.domain.errors import InvalidCursor
from keystead.domain.events import EventType
from keystead.domain.scopes import EVENTS_READ
from keystead.wire.resources import Event, EventList

EVENTS: Final = Operations("/v1/events", "events")


@EVENTS.call(
    "GET",
    "",
    "List events",
    EVENTS_READ,
    refusals=(InvalidCursor,),
    query=(in_query("type", "Only events of this type.", EventType), *PAGED),
)
def list_events(
    call: Call,
    type: EventType | None = None,
    limit: str | None = None,
    cursor: str | None = None,
) -> Reply[EventList]:
    """Return the workspace's audit log, newest first: every change, its principal, origin and time."""
    page = page_of(call, int, limit, cursor, type=type)
    rows = call.services.events.list(
        call.principal, types=[type] if type else (), limit=page.limit, before=page.after
    )
    items = [Event.of(event) for event in rows.items]
    return Reply(EventList(items=items, next_cursor=page.next_cursor(rows.next)))
