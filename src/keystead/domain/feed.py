"""The feed: one order of all events, of every workspace and of the installation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from keystead.domain.errors import FeedExpired, FieldError, InvalidCursor
from keystead.domain.events import Origin, Target
from keystead.domain.ids import WorkspaceId
from keystead.domain.principals import Actor

START: Final = 0
"""The position before every event."""

_POSITION: Final = re.compile(r"0|[1-9][0-9]{0,17}")
"""It fits 64 bits, even in a forged `after`."""


INSTALLATION: Final = WorkspaceId("")
"""In the place of a workspace: the installation itself."""


class NewEvent(NamedTuple):
    """An event without a position. The sequence of an event of the installation is 0."""

    workspace_id: WorkspaceId
    sequence: int
    id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An event in the feed. `workspace_id` is None for an event of the installation itself.

    `type`: an EventType or InstallationEventType, or a name that a later version of the server wrote. Such an event
    must not hide all others from a server that is still to be upgraded.
    """

    workspace_id: WorkspaceId | None
    id: str
    type: str
    occurred_at: datetime
    actor: Actor
    target: Target
    origin: Origin
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Events in the order of the feed, and the position to continue after."""

    items: list[FeedEvent]
    next_after: int


def in_order(events: Iterable[NewEvent]) -> list[NewEvent]:
    """Return the events by time, but those of a workspace always by their sequence.

    A workspace's own times can go backwards: the servers' clocks differ a little, and a clock can be set back.
    """
    latest: dict[str, datetime] = {}
    ranked: list[tuple[datetime, NewEvent]] = []
    for event in sorted(events):
        rank = event.occurred_at
        if event.workspace_id != INSTALLATION:
            rank = max(rank, latest.get(event.workspace_id, rank))
            latest[event.workspace_id] = rank
        ranked.append((rank, event))
    return [event for _, event in sorted(ranked)]


def next_position(last: int, now: int) -> int:
    """Return the next free position, after the last one. `now` in microseconds since 1970.

    It rises with time as well, so a database that was restored from an older backup never gives a position again that
    a reader of the feed has seen: that reader would miss the event.
    """
    return max(last + 1, now)


def format_position(position: int) -> str:
    """Return the position as the feed's `after` and `next_after`."""
    return str(position)


def parse_position(text: str) -> int:
    """Return the position in the parameter `after`. Raises InvalidCursor."""
    if not _POSITION.fullmatch(text):
        raise InvalidCursor([FieldError("query:after", "This is not a position of the feed.")])
    return int(text)


def require_kept(after: int, expired: int) -> None:
    """Raise FeedExpired if events after `after` were deleted; `expired` is the last position that was."""
    if after < expired:
        raise FeedExpired(format_position(expired))
