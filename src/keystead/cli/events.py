"""`keystead events`: the audit log of a workspace, on this machine or at a server."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from cyclopts import App

from keystead.cli import render
from keystead.cli.installation import WorkspaceName, opened
from keystead.cli.options import ANYWHERE, Cursor, Flag, Json, Limit, Where, gather
from keystead.cli.outcome import Exit, Failure
from keystead.cli.server import gather_pages, with_events
from keystead.domain.ids import EventId

if TYPE_CHECKING:
    from keystead.client import Event
    from keystead.domain.events import InstallationEvent

app = App(name="events", help="Show the audit log: changes, who made them, when and from where.")


@app.default
@app.command(name="list")
def list_(
    *,
    installation: Flag = False,
    type: str | None = None,
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
        Show the events of the installation itself, on this machine: credentials, plans, deleted workspaces.
    type
        Only events of this type, such as key.revoked.
    """
    if installation:
        events, after = _of_installation(where, workspace, type, limit, cursor)
    else:
        with with_events(where, workspace) as source:
            events, after = gather_pages(partial(source.page, type=type), limit, cursor)
    if json:
        render.print_json_list(events, after)
        return
    render.print_table(("WHEN", "TYPE", "BY", "ABOUT", "FROM", "MORE"), _rows(events))
    if after:
        render.note("There are more events: use a higher --limit.")


def _of_installation(
    where: Where, workspace: str | None, type: str | None, limit: int | None, cursor: str | None
) -> tuple[list[Event], str | None]:
    if workspace is not None or type is not None or where.url is not None:
        raise Failure(
            "--installation can't be combined with --workspace, --type or --url.", Exit.USAGE
        )
    with opened(where.place) as installation:
        events = installation.services.events

        def fetch(size: int, before: str | None) -> tuple[list[Event], str | None]:
            page = events.of_installation(limit=size, before=before and EventId(before))  # type: ignore[arg-type]
            return list(map(_event_of, page.items)), page.next

        return gather(fetch, limit, cursor)


def _event_of(record: InstallationEvent) -> Event:
    """Return an event of the installation, which has no origin, as the SDK has those of workspaces."""
    from keystead.client.results import Actor, Event, Target

    actor, target = record.actor, record.target
    return Event(
        id=record.id,
        type=record.type,
        occurred_at=record.occurred_at,
        actor=Actor(actor.kind, actor.id, actor.name),
        target=Target(target.type, target.id),
        address=None,
        request_id=None,
        data=record.data,
    )


def _rows(events: Iterable[Event]) -> Iterable[tuple[str, ...]]:
    for event in events:
        when = f"{event.occurred_at:%Y-%m-%d %H:%M:%S} UTC"
        address = event.address or render.NOTHING
        yield when, event.type, event.actor.name, event.target.id, address, _data(event)


def _data(event: Event) -> str:
    """Return the event's data on one line: text as it is, everything else as JSON."""
    pairs = (
        f"{name}={value if isinstance(value, str) else json_text.dumps(value)}"
        for name, value in event.data.items()
    )
    return " ".join(pairs)
