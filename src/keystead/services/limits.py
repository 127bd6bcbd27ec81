"""Telling a workspace that a limit of its plan is reached: once an hour for each limit, however often it is met."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Final

from keystead.domain.errors import LimitReached, StorageError
from keystead.domain.events import Act, EventType, Origin, Target
from keystead.domain.ids import WorkspaceId
from keystead.domain.principals import Actor, system
from keystead.services.authorization import Authorization
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events

TOLD_AGAIN_AFTER: Final = timedelta(hours=1)


@contextmanager
def tells_of_limits(
    database: Database, clock: Clock, workspace_id: WorkspaceId, actor: Actor, origin: Origin
) -> Iterator[None]:
    """LimitReached passes through, and leaves an event `limit.reached`.

    In a transaction of its own: the refused one leaves nothing. So it stands around the refused one, not within.
    """
    try:
        yield
    except LimitReached as full:
        with suppress(StorageError):
            _tell(database, clock, workspace_id, full, Act(actor, clock.now(), origin))
        raise


@retry_on_conflict
def _tell(
    database: Database, clock: Clock, workspace_id: WorkspaceId, full: LimitReached, act: Act
) -> None:
    """Looks before it takes the lock: a caller that meets the limit all day long holds up nobody."""
    with database.read(workspace_id) as tx:
        if _was_told(tx, workspace_id, full, act.at):
            return
    # The system writes the event: the refused caller was checked under the lock that refused it.
    with Authorization(database, clock).changing(system(workspace_id), keeps_access=True) as (
        tx,
        _,
        _,
    ):
        if not _was_told(tx, workspace_id, full, act.at):
            target = Target("limit", full.name)
            told = {"limit": full.limit, "used": full.used, "plan": full.plan}
            events.append_event(tx, workspace_id, EventType.LIMIT_REACHED, act, target, told)


def _was_told(tx: Tx, workspace_id: WorkspaceId, full: LimitReached, now: datetime) -> bool:
    newest = events.page_of_events(
        tx, workspace_id, limit=1, types=(EventType.LIMIT_REACHED,), target_id=full.name
    )
    return bool(newest) and now - newest[0].occurred_at < TOLD_AGAIN_AFTER
