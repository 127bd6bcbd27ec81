"""What every list shares: its parameters, and the page that they ask for."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import Query
from pydantic import WithJsonSchema

from keystead.api.route import Call
from keystead.http.paging import DEFAULT_LIMIT, MAX_LIMIT, Page, read_page

P = TypeVar("P", str, int)

Limit = Annotated[
    str | None,
    Query(description=f"How many items at most: 1-{MAX_LIMIT}."),
    WithJsonSchema(
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    ),
]
"""As it was sent: what a number is, `read_page` says."""

Cursor = Annotated[
    str | None,
    Query(description="The `next_cursor` of the page before, with the same other parameters."),
    WithJsonSchema({"type": "string"}),
]


def page_of(
    call: Call, kind: type[P], limit: str | None, cursor: str | None, **filters: str | None
) -> Page[P]:
    """The page that a call asks for; `kind` is the type of the list's positions. Invalid or InvalidCursor."""
    return read_page(
        kind,
        workspace_id=call.principal.workspace_id,
        path=call.path,
        filters=filters,
        limit=limit,
        cursor=cursor,
    )


def next_cursor(page: Page[P], following: P | None) -> str | None:
    """The cursor that continues after the position `following`, None at the end."""
    return None if following is None else page.cursor(following)
