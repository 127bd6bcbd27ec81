"""`keystead events`: what happened in a workspace, from this machine's own database."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter
from cyclopts.validators import Number

from keystead.cli import render, shapes
from keystead.cli.operator import WorkspaceName, acting_on
from keystead.cli.options import Json, Place
from keystead.cli.outcome import Exit, Failure
from keystead.cli.paging import gather

if TYPE_CHECKING:
    from keystead.domain.events import Event, EventType

app = App(name="events", help="See what happened: who did what, when, from where.")

HERE: Final = Place()


@app.command(name="list")
def list_(
    *,
    type: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 50,
    cursor: int | None = None,
    workspace: WorkspaceName = None,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """List events, newest first.

    Parameters
    ----------
    type
        Only events of this type, such as key.revoked; may be given several times.
    limit
        At most so many.
    cursor
        Continue after this: the `next_cursor` of the list before.
    """
    from keystead.cli.installation import opened

    types = [_type(text) for text in type]
    with opened(place) as installation:
        events = installation.services.events
        principal = acting_on(installation.services, workspace)

        def fetch(size: int, before: int | None) -> tuple[list[Event], int | None]:
            page = events.list(principal, types=types, limit=size, before=before)
            return page.events, page.next

        found, after = gather(fetch, limit, cursor)
    if json:
        following = None if after is None else str(after)
        render.print_json(shapes.listed(map(shapes.event, found), following))
        return
    render.print_table(("WHEN", "TYPE", "BY", "ABOUT", "FROM", "MORE"), _rows(found))
    if after:
        render.note("There are more: raise --limit.")


def _rows(events: Iterable[Event]) -> Iterable[tuple[str, ...]]:
    for event in events:
        when = f"{event.occurred_at:%Y-%m-%d %H:%M:%S} UTC"
        address = event.origin.address or render.NOTHING
        yield when, event.type.value, event.actor.name, event.target.id, address, _told(event)


def _told(event: Event) -> str:
    """The event's data on one line, texts as they are and all else as JSON."""
    told = (
        f"{name}={value if isinstance(value, str) else json_text.dumps(value)}"
        for name, value in event.data.items()
    )
    return " ".join(told)


def _type(text: str) -> EventType:
    from keystead.domain.events import EventType

    try:
        return EventType(text)
    except ValueError:
        raise Failure(
            f"There is no such type; there are {', '.join(EventType)}.", Exit.USAGE
        ) from None
