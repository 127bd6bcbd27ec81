"""The call of the Operator API for the use of all workspaces."""

from __future__ import annotations

from datetime import date
from typing import Final

from keystead.api.calls import OperatorCall
from keystead.api.operations import OPERATOR, PAGED, Operations, Reply, Way
from keystead.api.usage import PERIOD
from keystead.domain.errors import FieldError, InvalidCursor
from keystead.domain.ids import WorkspaceId
from keystead.domain.usage import period_of
from keystead.http.paging import Page, read_page
from keystead.wire.usage import WorkspaceUsage, WorkspaceUsageList

ALL_USAGE: Final = Operations("/operator/v1/usage", "usage", OPERATOR)


@ALL_USAGE.call(
    "GET",
    "",
    "List the use of all workspaces",
    refusals=(InvalidCursor,),
    query=(*PERIOD, *PAGED),
    way=Way.SLOW,
)
def list_usage(
    call: OperatorCall,
    from_: str | None = None,
    to: str | None = None,
    limit: str | None = None,
    cursor: str | None = None,
) -> Reply[WorkspaceUsageList]:
    """Return the requests of each workspace on each day of a period, newest day and newest workspace first.

    The numbers are exact, and those of past days final. Requests of the last two seconds may be missing.
    """
    filters = {"from": from_, "to": to}
    page = read_page(
        str, workspace_id="", path=call.path, filters=filters, limit=limit, cursor=cursor
    )
    reports = call.services.usage_reports
    period = period_of(from_, to, reports.today())
    rows = reports.by_workspace(period, limit=page.limit, before=_position(page))
    items = [
        WorkspaceUsage(workspace=id, day=day, requests=use.requests, refused=use.refused)
        for day, id, use in rows.items
    ]
    last = rows.next and f"{rows.next[0].isoformat()}/{rows.next[1]}"
    return Reply(WorkspaceUsageList(items=items, next_cursor=page.next_cursor(last)))


def _position(page: Page[str]) -> tuple[date, WorkspaceId] | None:
    """Return the day and the workspace to continue behind."""
    if page.after is None:
        return None
    day, _, workspace_id = page.after.partition("/")
    try:
        return date.fromisoformat(day), WorkspaceId(workspace_id)
    except ValueError:  # of a forged cursor
        raise InvalidCursor([FieldError("query:cursor", "is not valid for this list")]) from None
