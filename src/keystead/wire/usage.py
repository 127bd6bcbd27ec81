"""Reports of use: by day, by key, and by workspace and day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Self

from keystead.domain.usage import UseCount
from keystead.wire.schema import NextCursor, Resource, member

_Day = Annotated[date, member("The day (UTC). Days without any use are absent.", "2026-11-30")]


class Usage(Resource):
    """The numbers of requests."""

    requests: Annotated[int, member("Accepted requests, introspections included.", 1204)]
    refused: Annotated[
        int,
        member(
            "Refused requests whose token was genuine: expired, revoked, suspended, without the scope, or too fast.",
            3,
        ),
    ]


class DayUsage(Usage):
    """The requests of one day."""

    day: _Day

    @classmethod
    def of(cls, day: date, use: UseCount) -> Self:
        """Return the shape of the domain's value."""
        return cls(day=day, requests=use.requests, refused=use.refused)


class DayUsageList(Resource):
    """The days of a period with any use, oldest first."""

    items: list[DayUsage]
    next_cursor: Annotated[None, member("Always null: the list has a single page.")]

    @classmethod
    def of(cls, days: Mapping[date, UseCount]) -> Self:
        """Return the shape of the service's value."""
        return cls(items=[DayUsage.of(day, use) for day, use in days.items()], next_cursor=None)


class KeyUsage(Usage):
    """The requests of one key in a period."""

    key: Annotated[str, member("The key's id.", "key_02tcRIyrxLXTR81B3dqdOx")]


class KeyUsageList(Resource):
    """A page of the keys with any use, newest key first."""

    items: list[KeyUsage]
    next_cursor: NextCursor


class WorkspaceUsage(Usage):
    """The requests of one workspace on one day."""

    workspace: Annotated[str, member("The workspace's id.", "ws_02tcRIyrxLXTR81B3dqdOx")]
    day: _Day


class WorkspaceUsageList(Resource):
    """A page of the days of workspaces with any use, newest day first."""

    items: list[WorkspaceUsage]
    next_cursor: NextCursor
