"""The feed of all events: the task that gives them their positions, and its pages for the product's backend."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from keystead.domain.events import InstallationEventType
from keystead.domain.feed import FeedPage, NewEvent, in_order, next_position, require_kept
from keystead.domain.ids import WorkspaceId
from keystead.domain.instants import to_microseconds
from keystead.services.isolation import Isolation, OnFailure
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import feed as rows
from keystead.storage.tables.feed import EXPIRED, LAST, Placed

TASK: Final = "place_events"
BATCH: Final = 1_000
SCAN: Final = 5_000
"""Events that a filtered page looks at: a filter that few events pass must not make one request read all of them."""


class Feed:
    """One order of all events. A position is given once, after the commit of the event, and never changes.

    An event gets its number within the workspace when it is written, under the workspace's lock. An order over all
    workspaces would need one lock for all writes, so this one is given afterward, under a lock of its own.
    """

    def __init__(
        self, database: Database, clock: Clock, on_failure: OnFailure | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._isolation = Isolation[WorkspaceId](TASK, clock, on_failure)

    def place(self) -> int:
        """Give positions to all events without one. Returns how many were new.

        Any number of servers may run it. A workspace whose events can't be placed doesn't delay the others'.
        """
        total = 0
        while new := self._new():
            placed = self._place_all(new)
            total += placed
            if not placed or len(new) < BATCH:
                break
        return total

    @retry_on_conflict
    def read(
        self,
        after: int | None = None,
        *,
        limit: int = 50,
        workspace_id: WorkspaceId | None = None,
        type: str | None = None,
    ) -> FeedPage:
        """Return the next events behind the position `after`, in the order of the feed; None begins at the oldest.

        With a filter a page may have fewer events than `limit`, or none, before the end: continue at its `next_after`.

        Raises:
            FeedExpired: Some of the events were deleted at the end of their retention.
        """
        with self._database.read_across(Purpose.OPERATOR) as tx:
            # All reads see one state, so every event up to the last position is in it.
            last, expired = rows.last_position(tx, LAST), rows.last_position(tx, EXPIRED)
            start = expired if after is None else after
            require_kept(start, expired)
            until = last
            if workspace_id is not None or type is not None:
                until = rows.position_behind(tx, start, SCAN) or last
            found = _events(tx, start, until, limit, workspace_id, type)
        placed = sorted(found, key=itemgetter(0))[:limit]
        is_full = len(placed) == limit
        next_after = placed[-1][0] if is_full else max(start, until)
        return FeedPage([event for _, event in placed], next_after)

    @retry_on_conflict
    def _new(self) -> list[NewEvent]:
        with self._database.read_across(Purpose.WORKER) as tx:
            return rows.unplaced_events(tx, self._isolation.held_back(), BATCH)

    def _place_all(self, new: Sequence[NewEvent]) -> int:
        placed = 0

        def place(owners: Sequence[WorkspaceId]) -> None:
            nonlocal placed
            theirs = set(owners)
            events = in_order(event for event in new if event.workspace_id in theirs)
            self._place(events)
            placed += len(events)

        self._isolation.together(list(dict.fromkeys(event.workspace_id for event in new)), place)
        return placed

    @retry_on_conflict
    def _place(self, ordered: Sequence[NewEvent]) -> None:
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            # The lock first. An event that commits later than its neighbors gets a later position, and no reader has
            # gone beyond the last one, which moves in this transaction. Events that another server has placed since
            # they were found keep their positions.
            now = self._clock.now()
            last = rows.lock_feed(tx, now)
            rows.place_events(tx, ordered, next_position(last, to_microseconds(now)), now)


def _events(
    tx: Tx,
    after: int,
    until: int,
    limit: int,
    workspace_id: WorkspaceId | None,
    type: str | None,
) -> list[Placed]:
    found: list[Placed] = []
    is_installations = type in set(InstallationEventType)
    if not is_installations:
        found += rows.events_between(
            tx, after, until, limit=limit, workspace_id=workspace_id, type=type
        )
    if workspace_id is None and (type is None or is_installations):
        found += rows.installation_events_between(tx, after, until, limit=limit, type=type)
    return found
