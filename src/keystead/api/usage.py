"""The call for the use of a workspace's keys, and the parameters that all reports of use take."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from keystead.api.calls import Call, page_of
from keystead.api.operations import PAGED, Operations, Reply, Way, in_query
from keystead.domain.errors import InvalidCursor
from keystead.domain.ids import KeyId
from keystead.domain.scopes import KEYS_READ
from keystead.domain.usage import MAX_DAYS, USUAL_DAYS, period_of
from keystead.wire.usage import DayUsageList, KeyUsage, KeyUsageList


class Grouping(StrEnum):
    """What one item of a report is about."""

    DAY = "day"
    KEY = "key"


PERIOD: Final = (
    in_query(
        "from",
        f"The first day (UTC), at most {MAX_DAYS} days including `to`. Omitted: {USUAL_DAYS} days in all.",
        schema={"type": "string", "format": "date"},
    ),
    in_query("to", "The last day. Omitted: today.", schema={"type": "string", "format": "date"}),
)
USAGE: Final = Operations("/v1/usage", "usage")


@USAGE.call(
    "GET",
    "",
    "Get the use of all keys",
    KEYS_READ,
    refusals=(InvalidCursor,),
    query=(*PERIOD, in_query("group_by", "Omitted: `day`.", Grouping), *PAGED),
    way=Way.SLOW,
)
def get_usage(
    call: Call,
    from_: str | None = None,
    to: str | None = None,
    group_by: Grouping = Grouping.DAY,
    limit: str | None = None,
    cursor: str | None = None,
) -> Reply[DayUsageList | KeyUsageList]:
    """Return the requests of all keys in a period, by day or by key.

    The numbers are exact. Requests of the last two seconds may be missing.
    """
    reports, filters = call.services.usage_reports, {"from": from_, "to": to, "by": group_by}
    page = page_of(call, str, limit, cursor, **filters)
    period = period_of(from_, to, reports.today())
    if group_by is Grouping.DAY:
        return Reply(DayUsageList.of(reports.of_workspace(call.principal, period)))
    before = None if page.after is None else KeyId(page.after)
    rows = reports.by_key(call.principal, period, limit=page.limit, before=before)
    items = [
        KeyUsage(key=key_id, requests=use.requests, refused=use.refused)
        for key_id, use in rows.items
    ]
    return Reply(KeyUsageList(items=items, next_cursor=page.next_cursor(rows.next)))
