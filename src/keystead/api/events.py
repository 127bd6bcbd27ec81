"""What happened in the workspace."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from keystead.api.listing import Cursor, Limit, next_cursor, page_of
from keystead.api.route import CurrentCall, WorkspaceRoute, needs
from keystead.domain.errors import InvalidCursor
from keystead.domain.events import EventType
from keystead.domain.scopes import EVENTS_READ
from keystead.wire.resources import Event, EventList

router = APIRouter(prefix="/v1", tags=["events"], route_class=WorkspaceRoute)


@router.get(
    "/events",
    operation_id="events_list",
    summary="See what happened",
    **needs(EVENTS_READ, InvalidCursor),
)
def list_events(
    call: CurrentCall,
    type: Annotated[EventType | None, Query(description="Only events of this type.")] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> EventList:
    """Everything that changed something, newest first: who did what to what, from where, and when."""
    page = page_of(call, int, limit, cursor, type=type)
    found = call.services.events.list(
        call.principal, types=[type] if type else (), limit=page.limit, before=page.after
    )
    return EventList(
        items=[Event.of(event) for event in found.items], next_cursor=next_cursor(page, found.next)
    )
