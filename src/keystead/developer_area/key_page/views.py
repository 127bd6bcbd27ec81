"""The page of one key, a small dashboard: figures, chart, callers, attributes and history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Final

from starlette.responses import Response

from keystead.developer_area.key_page.charts import (
    Slot,
    chart_of,
    days_until,
    hour_unit,
    hours_until,
)
from keystead.developer_area.key_page.contexts import Callers, KeyPage
from keystead.developer_area.key_page.rows import caller_row, event_row, figures_of
from keystead.developer_area.keys.access import access_of
from keystead.developer_area.keys.contexts import KeyRow
from keystead.developer_area.keys.list_state import FROM, KEY_PAGE, LIST, ListState
from keystead.developer_area.keys.pages import FAMILY, LIKE, KeyPages
from keystead.developer_area.keys.rows import first_use, may_change
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Link
from keystead.developer_area.web.navigation import with_query
from keystead.domain.ids import KeyId
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.scopes import KEYS_WRITE
from keystead.domain.usage import HOURS_A_DAY, KeyCaller, Period

PERIOD: Final = "period"
CALLERS: Final = "callers"
_EVENTS: Final = 20
_BY_HOUR: Final = "24h"
_DAYS: Final = {"7d": 7, "30d": 30}
_PERIODS: Final = {_BY_HOUR: "24 hours", "7d": "7 days", "30d": "30 days"}
_USUAL_PERIOD: Final = "30d"
_OUTCOMES: Final = {"": "All", "accepted": "Accepted", "refused": "Refused"}


class KeyDashboard(KeyPages):
    """The page of one key."""

    def show(self, visit: MemberVisit) -> Response:
        """Show a key: its figures, use, callers, attributes and history."""
        key, now, principal = self._key(visit), visit.now(), visit.principal
        period = visit.query(PERIOD) if visit.query(PERIOD) in _PERIODS else _USUAL_PERIOD
        text = f"the last {_PERIODS[period]}"
        slots = self._slots(visit, key.id, period)
        callers = self._services.usage.callers(principal, key.id)
        history = self._services.events.list(principal, target_id=key.id, limit=_EVENTS)
        is_over = key.status(now) is not KeyStatus.ACTIVE
        by_hour = period == _BY_HOUR
        query = with_query("", **{LIST: str(ListState.carried(visit)), FROM: KEY_PAGE})
        page = KeyPage(
            frame=visit.frame(),
            list_url=ListState.carried(visit).url(visit.keys_url),
            key=self._row(visit, key, query),
            predecessor=self._predecessor(visit, key, query),
            duplicate_url=self._duplicate_url(visit, key),
            family_url=self._family_url(visit, key),
            first_use=first_use(key, now),
            is_over=is_over,
            access=access_of(key.scopes, self._services.keys.catalog),
            cards=figures_of([slot.use for slot in slots], callers, text),
            periods=[
                Link(name, _url(visit, "use", **{PERIOD: value}), value == period)
                for value, name in _PERIODS.items()
            ],
            chart=chart_of(
                "Requests per hour" if by_hour else "Requests per day",
                hour_unit(now, visit.zone) if by_hour else "Day (UTC)",
                slots,
                text,
            ),
            callers=_callers(visit, callers, is_over),
            events=[event_row(event, visit) for event in history.items],
            more_events=history.next is not None,
        )
        return self._render(page)

    def _slots(self, visit: MemberVisit, key_id: KeyId, period: str) -> Sequence[Slot]:
        reports, now = self._services.usage_reports, visit.now()
        if period == _BY_HOUR:
            hours = reports.hours_of_key(visit.principal, key_id, HOURS_A_DAY)
            return hours_until(now, hours, visit.zone)
        today, days = now.astimezone(UTC).date(), _DAYS[period]
        first = today - timedelta(days=days - 1)
        uses = reports.of_key(visit.principal, key_id, Period(first, today))
        return days_until(today, uses, days)

    def _predecessor(self, visit: MemberVisit, key: ApiKey, query: str) -> KeyRow | None:
        old = self._services.keys.predecessor(visit.principal, key.id)
        return None if old is None else self._row(visit, old, query)

    def _family_url(self, visit: MemberVisit, key: ApiKey) -> str | None:
        """Return where the family can be revoked, also after this key was; None if no other key is left."""
        family = self._services.key_lists.family(visit.principal, key)
        if not may_change(key, visit.principal) or all(each.id == key.id for each in family):
            return None
        state = str(ListState.carried(visit))
        url = f"{visit.keys_url}/{key.id}/revoke"
        return with_query(url, **{LIST: state, FROM: KEY_PAGE, FAMILY: "on"})

    def _duplicate_url(self, visit: MemberVisit, key: ApiKey) -> str | None:
        may_create = visit.principal.scopes.permit(KEYS_WRITE)
        return with_query(f"{visit.keys_url}/new", **{LIKE: key.id}) if may_create else None


def _callers(visit: MemberVisit, callers: Sequence[KeyCaller], is_over: bool) -> Callers:
    """Return those of the callers that have the outcome of the URL."""
    rows = [caller_row(caller, visit) for caller in callers]
    refused = [row for row in rows if row.is_refused]
    accepted = [row for row in rows if not row.is_refused]
    shown = {"": rows, "accepted": accepted, "refused": refused}
    has_choice = bool(accepted and refused)
    wanted = visit.query(CALLERS) if has_choice and visit.query(CALLERS) in shown else ""
    filters = [
        Link(
            f"{name} {len(shown[value])}",
            _url(visit, "callers", **{CALLERS: value}),
            value == wanted,
        )
        for value, name in _OUTCOMES.items()
    ]
    note = "These clients still send this key and get 401. Give them another key."
    return Callers(
        rows=shown[wanted],
        filters=filters if has_choice else [],
        nothing="No requests." if is_over else "No requests yet.",
        note=note if is_over and refused else "",
    )


def _url(visit: MemberVisit, fragment: str, **changes: str) -> str:
    """Return the URL of this page with other parameters, at one of its parts."""
    kept = {name: visit.query(name) for name in (LIST, PERIOD, CALLERS)}
    url = f"{visit.keys_url}/{visit.path('key_id')}"
    return f"{with_query(url, **{**kept, **changes})}#{fragment}"
