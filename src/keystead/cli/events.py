"""`keystead events`: what happened in a workspace, on this machine or at a server."""

from __future__ import annotations

import json as json_text
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Final

from cyclopts import App, Parameter
from cyclopts.validators import Number

from keystead.cli import render, shapes
from keystead.cli.key_desks import refuse_workspace
from keystead.cli.operator import WorkspaceName, acting_on
from keystead.cli.options import Json, Where
from keystead.cli.outcome import Exit, Failure
from keystead.cli.paging import gather
from keystead.cli.server import Server, connected, server_of
from keystead.cli.shapes import Shape, moment

app = App(name="events", help="See what happened: who did what, when, from where.")

HERE: Final = Where()
Fetch = Callable[[int, str | None], tuple[list[Shape], str | None]]


@app.default
@app.command(name="list")
def list_(
    *,
    installation: Annotated[bool, Parameter(negative=())] = False,
    type: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 50,
    cursor: str | None = None,
    workspace: WorkspaceName = None,
    where: Where = HERE,
    json: Json = False,
) -> None:
    """List events, newest first.

    Parameters
    ----------
    installation
        What happened to the installation itself, on this machine: its operators' and services' credentials.
    type
        Only events of this type, such as key.revoked; on this machine it may be given several times.
    limit
        At most so many.
    cursor
        Continue after this: the `next_cursor` of the list before.
    """
    if installation:
        place = _of_installation(where, workspace, type)
    else:
        server = server_of(where)
        place = _here(where, workspace, type) if server is None else _there(server, workspace, type)
    with place as fetch:
        found, after = gather(fetch, limit, cursor)
    if json:
        render.print_json(shapes.listed(found, after))
        return
    render.print_table(("WHEN", "TYPE", "BY", "ABOUT", "FROM", "MORE"), _rows(found))
    if after:
        render.note("There are more: raise --limit.")


@contextmanager
def _here(where: Where, workspace: str | None, types: Iterable[str]) -> Iterator[Fetch]:
    from keystead.cli.installation import opened
    from keystead.domain.events import EventType

    known = set(EventType)
    if set(types) - known:
        there = ", ".join(EventType)
        raise Failure(f"There is no such type; there are {there}.", Exit.USAGE)
    with opened(where.place) as installation:
        events = installation.services.events
        principal = acting_on(installation.services, workspace)
        wanted = [EventType(text) for text in types]

        def fetch(size: int, cursor: str | None) -> tuple[list[Shape], str | None]:
            page = events.list(principal, types=wanted, limit=size, before=_sequence(cursor))
            following = None if page.next is None else str(page.next)
            return [shapes.event(event) for event in page.items], following

        yield fetch


@contextmanager
def _of_installation(
    where: Where, workspace: str | None, types: tuple[str, ...]
) -> Iterator[Fetch]:
    from keystead.cli.installation import opened
    from keystead.domain.ids import EventId

    if workspace is not None or types or where.url is not None:
        raise Failure("--installation goes with none of --workspace, --type and --url.", Exit.USAGE)
    with opened(where.place) as installation:
        events = installation.services.events

        def fetch(size: int, cursor: str | None) -> tuple[list[Shape], str | None]:
            page = events.of_installation(limit=size, before=cursor and EventId(cursor))  # type: ignore[arg-type]
            return [shapes.installation_event(event) for event in page.items], page.next

        yield fetch


@contextmanager
def _there(server: Server, workspace: str | None, types: tuple[str, ...]) -> Iterator[Fetch]:
    refuse_workspace(workspace)
    if len(types) > 1:
        raise Failure("A server is asked for one --type at a time.", Exit.USAGE)
    with connected(server) as client:

        def fetch(size: int, cursor: str | None) -> tuple[list[Shape], str | None]:
            page = client.events.page(type=types[0] if types else None, limit=size, cursor=cursor)
            return [shapes.answered(event) for event in page.items], page.next_cursor

        yield fetch


def _sequence(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal()):
        raise Failure("--cursor is the `next_cursor` of the list before.", Exit.USAGE)
    return int(cursor)


def _rows(events: Iterable[Shape]) -> Iterable[tuple[str, ...]]:
    for event in events:
        when = f"{moment(event['occurred_at']):%Y-%m-%d %H:%M:%S} UTC"
        address = event["address"] or render.NOTHING
        who, about = event["actor"]["name"], event["target"]["id"]
        yield when, event["type"], who, about, address, _told(event)


def _told(event: Shape) -> str:
    """The event's data on one line, texts as they are and all else as JSON."""
    told = (
        f"{name}={value if isinstance(value, str) else json_text.dumps(value)}"
        for name, value in event["data"].items()
    )
    return " ".join(told)
