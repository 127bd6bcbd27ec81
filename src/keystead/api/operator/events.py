"""Calls of the Operator API for events: the feed of all of them, and the audit log of one workspace."""

from __future__ import annotations

from typing import Final

from keystead.api.calls import OperatorCall
from keystead.api.events import EVENTS
from keystead.api.operations import LIMIT, OPERATOR, Operations, Reply, Way, in_query
from keystead.api.operator.keys import for_operators
from keystead.domain.errors import FeedExpired, InvalidCursor
from keystead.domain.events import EventType, InstallationEventType
from keystead.domain.feed import format_position, parse_position
from keystead.domain.ids import WorkspaceId
from keystead.http.paging import read_limit
from keystead.wire.feed import Feed, FeedEvent

WORKSPACE_EVENTS: Final = tuple(for_operators(each, "feed") for each in EVENTS)
FEED: Final = Operations("/operator/v1/events", "feed", OPERATOR)


@FEED.call(
    "GET",
    "",
    "Read the feed",
    refusals=(InvalidCursor, FeedExpired),
    query=(
        in_query(
            "after",
            "The `next_after` of the previous response, whatever its filters were. Omitted: from the oldest event.",
        ),
        in_query("workspace", "Only events of the workspace with this id."),
        in_query("type", "Only events of this type.", EventType | InstallationEventType),
        LIMIT,
    ),
    way=Way.SLOW,
)
def list_feed_events(
    call: OperatorCall,
    after: str | None = None,
    workspace: str | None = None,
    type: EventType | InstallationEventType | None = None,
    limit: str | None = None,
) -> Reply[Feed]:
    """Return the events of all workspaces and of the installation, oldest first, in one order that never changes.

    Continue at `next_after`: no event is skipped, and none comes twice. An event appears within a second of its change.
    No items and the same `next_after` again: there is nothing new. With a filter a page can be empty before that.

    Events are deleted at the end of their retention, and with their workspace. `feed-expired`: events after `after`
    were deleted; continue after the `oldest` of that response.
    """
    page = call.services.feed.read(
        None if after is None else parse_position(after),
        limit=read_limit(limit),
        workspace_id=None if workspace is None else WorkspaceId(workspace),
        type=type,
    )
    items = [FeedEvent.of_feed(event) for event in page.items]
    return Reply(Feed(items=items, next_after=format_position(page.next_after)))
