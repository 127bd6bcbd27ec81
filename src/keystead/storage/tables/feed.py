"""The feed's positions of events: given once, under one lock, and read in their order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Integer, Select, Table, bindparam, cast, func, select, update

from keystead.domain.events import Origin, Target
from keystead.domain.feed import INSTALLATION, START, FeedEvent, NewEvent
from keystead.domain.ids import WorkspaceId
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import LIMIT, actor_of, upsert
from keystead.storage.schema.tables import events, installation_events, watermarks
from keystead.storage.tables.key_lifecycle import find_watermark
from keystead.storage.tables.workspaces import is_deleted

LAST: Final = "feed"
"""The watermark at the last position that was given."""
EXPIRED: Final = "feed expired"
"""The watermark at the last position whose event was deleted at the end of its retention."""

_UNPLACED: Final = Query(
    select(events.c.workspace_id, events.c.sequence, events.c.id, events.c.occurred_at)
    .where(
        events.c.position.is_(None),
        events.c.workspace_id.not_in(bindparam("without", expanding=True)),
    )
    .order_by(events.c.id)
    .limit(LIMIT)
)
_UNPLACED_OF_INSTALLATION: Final = Query(
    select(installation_events.c.id, installation_events.c.occurred_at)
    .where(installation_events.c.position.is_(None))
    .order_by(installation_events.c.id)
    .limit(LIMIT)
)
_PLACE: Final = (
    update(events)
    .where(
        events.c.workspace_id == bindparam("of_workspace"),
        events.c.sequence == bindparam("of_sequence"),
        # Not "is null": for that PostgreSQL may walk the index of all events without a position.
        func.coalesce(events.c.position, 0) == 0,
    )
    .values(position=bindparam("next_position"))
)
_PLACE_OF_INSTALLATION: Final = (
    update(installation_events)
    .where(installation_events.c.id == bindparam("of_id"), installation_events.c.position.is_(None))
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
_COLUMNS: Final = (
    *("id", "type", "occurred_at"),
    *("actor_kind", "actor_id", "actor_name"),
    *("target_type", "target_id"),
    "data",
)
"""The columns that both tables of events have."""


def _next(table: Table, *more: Any) -> Select[Any]:
    return (
        select(table.c.position, *(table.c[name] for name in _COLUMNS), *more)
        .where(table.c.position > bindparam("after"), table.c.position <= bindparam("until"))
        .order_by(table.c.position)
        .limit(LIMIT)
    )


_PAGE: Final = _next(events, events.c.workspace_id, events.c.address, events.c.request_id).where(
    ~is_deleted(events.c.workspace_id)
)
_PAGE_OF_INSTALLATION: Final = _next(installation_events)
_NTH: Final = Query(
    select(events.c.position)
    .where(events.c.position > bindparam("after"))
    .order_by(events.c.position)
    .offset(cast(bindparam("places", type_=Integer), Integer))
    .limit(1)
)

Placed = tuple[int, FeedEvent]
"""An event and its position."""


def lock_feed(tx: Tx, now: datetime) -> int:
    """Lock the feed until the end of the transaction, and return the last position that was given.

    It is the transaction's first statement: the next one sees all that earlier owners of the lock have placed.
    """
    row = {"name": LAST, "mark": _mark(START), "moved_at": now}
    return int(tx.execute(_LOCK[tx.dialect.name], row).scalar_one())


def unplaced_events(tx: Tx, but: Collection[WorkspaceId], limit: int) -> list[NewEvent]:
    """Return at most `limit` events without a position of workspaces, and as many of the installation.

    They are the oldest ones, so that events of before the feed, of which there may be any number, get their positions
    by time: retention deletes in that order. Of the workspaces in `but` there are none.
    """
    rows = _UNPLACED.all(tx, {"without": list(but), "limit": limit})
    found = [NewEvent(*row) for row in rows]
    if INSTALLATION not in but:
        own = _UNPLACED_OF_INSTALLATION.all(tx, {"limit": limit})
        found += [NewEvent(INSTALLATION, 0, *row) for row in own]
    return found


def place_events(tx: Tx, ordered: Sequence[NewEvent], first: int, now: datetime) -> None:
    """Give these events the positions from `first` on, unless they have one.

    The caller holds the lock of `lock_feed`.
    """
    placed = list(enumerate(ordered, first))
    of_workspaces = [
        {"of_workspace": new.workspace_id, "of_sequence": new.sequence, "next_position": position}
        for position, new in placed
        if new.workspace_id != INSTALLATION
    ]
    of_installation = [
        {"of_id": new.id, "next_position": position}
        for position, new in placed
        if new.workspace_id == INSTALLATION
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
    return [_placed(*row) for row in page.all(tx, values)]


def installation_events_between(
    tx: Tx, after: int, until: int, *, limit: int, type: str | None = None
) -> list[Placed]:
    """Return at most `limit` of the installation's own events behind `after`, up to `until`."""
    values = {"after": after, "until": until, "limit": limit, "type": type}
    page = _page_of_installation(type is not None)
    return [_placed(*row) for row in page.all(tx, values)]


@cache
def _page(of_workspace: bool, of_type: bool) -> Query:
    page = _PAGE
    if of_workspace:
        page = page.where(events.c.workspace_id == bindparam("workspace"))
    if of_type:
        page = page.where(events.c.type == bindparam("type"))
    return Query(page)


def _placed(
    position: int,
    id: str,
    type: str,
    occurred_at: datetime,
    actor_kind: str,
    actor_id: str,
    actor_name: str,
    target_type: str,
    target_id: str,
    data: Mapping[str, object],
    workspace_id: WorkspaceId | None = None,
    address: str | None = None,
    request_id: str | None = None,
) -> Placed:
    actor = actor_of(actor_kind, actor_id, actor_name)
    target, origin = Target(target_type, target_id), Origin(address, request_id)
    event = FeedEvent(workspace_id, id, type, occurred_at, actor, target, origin, data)
    return position, event


@cache
def _page_of_installation(of_type: bool) -> Query:
    page = _PAGE_OF_INSTALLATION
    if of_type:
        page = page.where(installation_events.c.type == bindparam("type"))
    return Query(page)


def _mark(position: int) -> str:
    # All of the same length, so that the texts have the order of the numbers.
    return f"{position:018}"
