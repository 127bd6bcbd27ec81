"""The route of events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from keystead.api.route import (
    CurrentCall,
    Cursor,
    Limit,
    WorkspaceRoute,
    needs,
    next_cursor,
    page_of,
)
from keystead.domain.errors import InvalidCursor
from keystead.domain.events import EventType
from keystead.domain.scopes import EVENTS_READ
from keystead.wire.resources import Event, EventList

router = APIRouter(prefix="/v1", tags=["events"], route_class=WorkspaceRoute)


@router.get("/events", summary="List events", **needs(EVENTS_READ, InvalidCursor))
def events_list(
    call: CurrentCall,
    type: Annotated[EventType | None, Query(description="Only events of this type.")] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> EventList:
    """Return the workspace's audit log, newest first: every change, its principal, origin and time."""
    page = page_of(call, int, limit, cursor, type=type)
    rows = call.services.events.list(
        call.principal, types=[type] if type else (), limit=page.limit, before=page.after
    )
    return EventList(
        items=[Event.of(event) for event in rows.items], next_cursor=next_cursor(page, rows.next)
    )
