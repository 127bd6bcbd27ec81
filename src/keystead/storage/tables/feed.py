"""The feed's positions of events: given once, under one lock, and read in their order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Final

from sqlalchemy import Integer, bindparam, cast, literal, select, update

from keystead.domain.events import Event, InstallationEvent
from keystead.domain.feed import START, NewEvent
from keystead.domain.ids import WorkspaceId
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import LIMIT, upsert
from keystead.storage.schema.tables import events, installation_events, watermarks
from keystead.storage.tables.events import (
    EVENT,
    INSTALLATION_EVENT,
    event_of,
    installation_event_of,
)
from keystead.storage.tables.key_lifecycle import find_watermark

LAST: Final = "feed"
"""The watermark at the last position that was given."""
EXPIRED: Final = "feed expired"
"""The watermark at the last position whose event was deleted at the end of its retention."""

_UNPLACED: Final = Query(
    select(events.c.workspace_id, events.c.sequence, events.c.id, events.c.occurred_at)
    .where(events.c.position.is_(None))
    .order_by(events.c.workspace_id, events.c.sequence)
    .limit(LIMIT)
)
_UNPLACED_OF_INSTALLATION: Final = Query(
    select(
        literal("").label("workspace_id"),
        literal(0).label("sequence"),
        installation_events.c.id,
        installation_events.c.occurred_at,
    )
    .where(installation_events.c.position.is_(None))
    .order_by(installation_events.c.id)
    .limit(LIMIT)
)
_PLACE: Final = (
    update(events)
    .where(
        events.c.workspace_id == bindparam("of_workspace"),
        events.c.sequence == bindparam("of_sequence"),
    )
    .values(position=bindparam("next_position"))
)
_PLACE_OF_INSTALLATION: Final = (
    update(installation_events)
    .where(installation_events.c.id == bindparam("of_id"))
    .values(position=bindparam("next_position"))
)
_LOCK: Final = upsert(
    watermarks,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=[watermarks.c.name], set_={"moved_at": fresh.excluded.moved_at}
    ).returning(watermarks.c.mark),
)
_MOVE: Final = update(watermarks).where(watermarks.c.name == bindparam("of_name"))
_EXPIRE: Final = upsert(
    watermarks,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=[watermarks.c.name],
        set_={"mark": fresh.excluded.mark, "moved_at": fresh.excluded.moved_at},
        where=fresh.excluded.mark > watermarks.c.mark,
    ),
)
_NEXT: Final = (events.c.position > bindparam("after"), events.c.position <= bindparam("until"))
_PAGE: Final = (
    select(events.c.position, *EVENT).where(*_NEXT).order_by(events.c.position).limit(LIMIT)
)
_NTH: Final = Query(
    select(events.c.position)
    .where(events.c.position > bindparam("after"))
    .order_by(events.c.position)
    .offset(cast(bindparam("places", type_=Integer), Integer))
    .limit(1)
)
_OF_INSTALLATION: Final = installation_events.c
_PAGE_OF_INSTALLATION: Final = (
    select(_OF_INSTALLATION.position, *INSTALLATION_EVENT)
    .where(
        _OF_INSTALLATION.position > bindparam("after"),
        _OF_INSTALLATION.position <= bindparam("until"),
    )
    .order_by(_OF_INSTALLATION.position)
    .limit(LIMIT)
)

Placed = tuple[int, Event | InstallationEvent]
"""An event and its position."""


def has_unplaced(tx: Tx) -> bool:
    """Return whether an event has no position yet."""
    return any(query.all(tx, {"limit": 1}) for query in (_UNPLACED, _UNPLACED_OF_INSTALLATION))


def lock_feed(tx: Tx, now: datetime) -> int:
    """Lock the feed until the end of the transaction, and return the last position that was given.

    It is the transaction's first statement: the next one sees all that earlier owners of the lock have placed.
    """
    row = {"name": LAST, "mark": _mark(START), "moved_at": now}
    return int(tx.execute(_LOCK[tx.dialect.name], row).scalar_one())


def unplaced_events(tx: Tx, limit: int) -> list[NewEvent]:
    """Return at most `limit` events without a position of workspaces, and as many of the installation.

    Of each workspace they are the next ones, without gaps.
    """
    values = {"limit": limit}
    rows = [*_UNPLACED.all(tx, values), *_UNPLACED_OF_INSTALLATION.all(tx, values)]
    return [NewEvent(*row) for row in rows]


def place_events(tx: Tx, ordered: Sequence[NewEvent], first: int, now: datetime) -> None:
    """Give these events the positions from `first` on. The caller holds the lock of `lock_feed`."""
    placed = list(enumerate(ordered, first))
    of_workspaces = [
        {"of_workspace": new.workspace_id, "of_sequence": new.sequence, "next_position": position}
        for position, new in placed
        if new.workspace_id
    ]
    of_installation = [
        {"of_id": new.id, "next_position": position}
        for position, new in placed
        if not new.workspace_id
    ]
    for statement, rows in (
        (_PLACE, of_workspaces),
        (_PLACE_OF_INSTALLATION, of_installation),
    ):
        if rows:
            tx.execute(statement, rows)
    moved = {"of_name": LAST, "mark": _mark(placed[-1][0]), "moved_at": now}
    tx.execute(_MOVE, moved)


def note_expired(tx: Tx, position: int, now: datetime) -> None:
    """Note that the event at that position was deleted at the end of its retention."""
    row = {"name": EXPIRED, "mark": _mark(position), "moved_at": now}
    tx.execute(_EXPIRE[tx.dialect.name], row)


def last_position(tx: Tx, name: str) -> int:
    """Return the position of the watermark LAST or EXPIRED."""
    watermark = find_watermark(tx, name)
    return START if watermark is None else int(watermark[0])


def position_behind(tx: Tx, after: int, places: int) -> int | None:
    """Return the position of the event that many places further; None if there are fewer."""
    position: int | None = _NTH.scalar(tx, {"after": after, "places": places - 1})
    return position


def events_between(
    tx: Tx,
    after: int,
    until: int,
    *,
    limit: int,
    workspace_id: WorkspaceId | None = None,
    type: str | None = None,
) -> list[Placed]:
    """Return at most `limit` events of workspaces behind `after`, up to `until`, in the order of the feed."""
    values = {
        "after": after,
        "until": until,
        "limit": limit,
        "workspace": workspace_id,
        "type": type,
    }
    page = _page(workspace_id is not None, type is not None)
    return [(position, event_of(row)) for position, *row in page.all(tx, values)]


def installation_events_between(
    tx: Tx, after: int, until: int, *, limit: int, type: str | None = None
) -> list[Placed]:
    """Return at most `limit` of the installation's own events behind `after`, up to `until`."""
    values = {"after": after, "until": until, "limit": limit, "type": type}
    page = _page_of_installation(type is not None)
    return [(position, installation_event_of(row)) for position, *row in page.all(tx, values)]


@cache
def _page(of_workspace: bool, of_type: bool) -> Query:
    page = _PAGE
    if of_workspace:
        page = page.where(events.c.workspace_id == bindparam("workspace"))
    if of_type:
        page = page.where(events.c.type == bindparam("type"))
    return Query(page)


@cache
def _page_of_installation(of_type: bool) -> Query:
    page = _PAGE_OF_INSTALLATION
    return Query(page.where(_OF_INSTALLATION.type == bindparam("type")) if of_type else page)


def _mark(position: int) -> str:
    # Of one length, so that the texts have the order of the numbers.
    return f"{position:018}"
