"""`keystead events`: the audit log of a workspace, on this machine or at a server."""

from __future__ import annotations

import json as json_text
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from cyclopts import App

from keystead.cli import render, shapes
from keystead.cli.installation import WorkspaceName, acting_on, opened
from keystead.cli.options import ANYWHERE, Cursor, Flag, Json, Limit, Texts, Where, gather
from keystead.cli.outcome import Exit, Failure
from keystead.cli.server import Server, connected, server_of
from keystead.cli.shapes import Shape
from keystead.domain.events import EventType
from keystead.domain.ids import EventId
from keystead.domain.instants import parse_instant

app = App(name="events", help="Show the audit log: changes, who made them, when and from where.")

Fetch = Callable[[int, str | None], tuple[list[Shape], str | None]]


@app.default
@app.command(name="list")
def list_(
    *,
    installation: Flag = False,
    type: Texts = (),
    limit: Limit = 50,
    cursor: Cursor = None,
    workspace: WorkspaceName = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """List events, newest first.

    Parameters
    ----------
    installation
        Show the events of the installation itself, on this machine: credentials of operators and services.
    type
        Only events of this type, such as key.revoked; repeatable on this machine.
    """
    if installation:
        source = _of_installation(where, workspace, type)
    else:
        server = server_of(where)
        source = (
            _local(where, workspace, type) if server is None else _remote(server, workspace, type)
        )
    with source as fetch:
        events, after = gather(fetch, limit, cursor)
    if json:
        render.print_json(shapes.listed(events, after))
        return
    render.print_table(("WHEN", "TYPE", "BY", "ABOUT", "FROM", "MORE"), _rows(events))
    if after:
        render.note("There are more events: use a higher --limit.")


@contextmanager
def _local(where: Where, workspace: str | None, types: Iterable[str]) -> Iterator[Fetch]:

    known = set(EventType)
    if set(types) - known:
        available = ", ".join(EventType)
        raise Failure(f"Unknown type of event. Available: {available}.", Exit.USAGE)
    with opened(where.place) as installation:
        events = installation.services.events
        principal = acting_on(installation.services, workspace)
        selected = [EventType(text) for text in types]

        def fetch(size: int, cursor: str | None) -> tuple[list[Shape], str | None]:
            page = events.list(principal, types=selected, limit=size, before=_sequence(cursor))
            following = None if page.next is None else str(page.next)
            return [shapes.event(event) for event in page.items], following

        yield fetch


@contextmanager
def _of_installation(
    where: Where, workspace: str | None, types: tuple[str, ...]
) -> Iterator[Fetch]:

    if workspace is not None or types or where.url is not None:
        raise Failure(
            "--installation can't be combined with --workspace, --type or --url.", Exit.USAGE
        )
    with opened(where.place) as installation:
        events = installation.services.events

        def fetch(size: int, cursor: str | None) -> tuple[list[Shape], str | None]:
            page = events.of_installation(limit=size, before=cursor and EventId(cursor))  # type: ignore[arg-type]
            return [shapes.installation_event(event) for event in page.items], page.next

        yield fetch


@contextmanager
def _remote(server: Server, workspace: str | None, types: tuple[str, ...]) -> Iterator[Fetch]:
    if workspace is not None:
        raise Failure(
            "--workspace is for this machine's own installation; a token belongs to one workspace.",
            Exit.USAGE,
        )
    if len(types) > 1:
        raise Failure("With a server, use only one --type.", Exit.USAGE)
    with connected(server) as client:

        def fetch(size: int, cursor: str | None) -> tuple[list[Shape], str | None]:
            page = client.events.page(type=types[0] if types else None, limit=size, cursor=cursor)
            return [render.plain(event) for event in page.items], page.next_cursor

        yield fetch


def _sequence(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal()):
        raise Failure("--cursor must be the `next_cursor` of the previous list.", Exit.USAGE)
    return int(cursor)


def _rows(events: Iterable[Shape]) -> Iterable[tuple[str, ...]]:
    for event in events:
        when = f"{parse_instant(event['occurred_at']):%Y-%m-%d %H:%M:%S} UTC"
        address = event["address"] or render.NOTHING
        who, about = event["actor"]["name"], event["target"]["id"]
        yield when, event["type"], who, about, address, _data(event)


def _data(event: Shape) -> str:
    """Return the event's data on one line: text as it is, everything else as JSON."""
    pairs = (
        f"{name}={value if isinstance(value, str) else json_text.dumps(value)}"
        for name, value in event["data"].items()
    )
    return " ".join(pairs)
