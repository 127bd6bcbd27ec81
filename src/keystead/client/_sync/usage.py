"""The calls about use: of a workspace's keys, and of all workspaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from keystead.client._sync.sending import Resource
from keystead.client.requests import PAGE_SIZE, Request
from keystead.client.results import DayUsage, KeyUsage, Page

USAGE: Final = "/v1/usage"
ALL_USAGE: Final = "/operator/v1/usage"


class Usage(Resource):
    """The use of the workspace's keys. A period includes both its days; by default it is the 30 days until today."""

    def by_day(self, *, first: date | None = None, last: date | None = None) -> Sequence[DayUsage]:
        """Return the requests of all keys together on each day with any, oldest first."""
        query = {**period(first, last), "group_by": "day"}
        page = self._connection.send(Request("GET", USAGE, query), Page[DayUsage])
        return page.items

    def by_key(self, *, first: date | None = None, last: date | None = None) -> Iterator[KeyUsage]:
        """Yield every key with any requests in the period, newest key first."""
        return self._connection.paginate(_by_key(first, last, PAGE_SIZE), Page[KeyUsage])

    def page_by_key(
        self,
        *,
        first: date | None = None,
        last: date | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[KeyUsage]:
        """Return a page of keys with any requests in the period."""
        return self._connection.send(_by_key(first, last, limit, cursor), Page[KeyUsage])


def period(first: date | None, last: date | None) -> Mapping[str, str | None]:
    """Return the parameters of a period."""
    return {
        "from": None if first is None else first.isoformat(),
        "to": None if last is None else last.isoformat(),
    }


def _by_key(
    first: date | None, last: date | None, limit: int, cursor: str | None = None
) -> Request:
    query = {**period(first, last), "group_by": "key", "limit": str(limit), "cursor": cursor}
    return Request("GET", USAGE, query)


def by_workspace(
    first: date | None, last: date | None, limit: int, cursor: str | None = None
) -> Request:
    """Return the operator's request for a page of workspaces and days."""
    query = {**period(first, last), "limit": str(limit), "cursor": cursor}
    return Request("GET", ALL_USAGE, query)
