"""The page of one key: what it is, how it is used, who calls with it, and what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.responses import Response

from keystead.developer_area.key_chart import chart_of, first_day
from keystead.developer_area.key_story import caller_row, event_row
from keystead.developer_area.keys.contexts import KeyPage
from keystead.developer_area.keys.shared import KeyDesk
from keystead.developer_area.sign_in.session import Acting, Visit
from keystead.developer_area.web.contexts import Link
from keystead.domain.events import Event, EventType
from keystead.domain.keys import ApiKey, KeyStatus

_EVENTS: Final = 20
_JUST_NOW: Final = timedelta(minutes=1)


class KeyDetail:
    """The page of one key."""

    def __init__(self, desk: KeyDesk) -> None:
        self._desk = desk

    def show(self, visit: Visit) -> Response:
        """All about the key that the path names."""
        acting = self._desk.acting(visit)
        key, now = self._desk.key(visit, acting), self._desk.now()
        services, principal = self._desk.services, acting.principal
        today = now.astimezone(UTC).date()
        uses = services.usage.per_day(principal, key.id, first_day(today))
        callers = [
            (c.caller.reason, caller_row(c, now, acting.zone))
            for c in services.usage.callers(principal, key.id)
        ]
        happened = services.events.list(principal, target_id=key.id, limit=_EVENTS)
        page = KeyPage(
            frame=self._desk.frame(visit, acting),
            message=_message(visit, acting, happened.items, now),
            keys_url=acting.keys_url,
            key=self._desk.row(acting, key, now),
            predecessor=self._predecessor(acting, key),
            after_end=key.status(now) is not KeyStatus.ACTIVE,
            chart=chart_of(uses, today),
            callers=[row for reason, row in callers if reason is None],
            refused=[row for reason, row in callers if reason is not None],
            events=[event_row(e, acting, now) for e in happened.items],
            more_events=happened.next is not None,
        )
        return self._desk.render(page)

    def _predecessor(self, acting: Acting, key: ApiKey) -> Link | None:
        before = self._desk.services.keys.predecessor(acting.principal, key.id)
        return None if before is None else Link(before.hint, f"{acting.keys_url}/{before.id}")


def _message(visit: Visit, acting: Acting, happened: Sequence[Event], now: datetime) -> str:
    """That it was saved, told from what happened: a made-up address announces nothing."""
    if not visit.query("saved") or not happened:
        return ""
    latest = happened[0]
    own = latest.type is EventType.KEY_UPDATED and latest.actor.id == acting.principal.id
    return "Saved." if own and now - latest.occurred_at < _JUST_NOW else ""
