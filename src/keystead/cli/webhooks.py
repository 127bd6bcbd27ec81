"""`keystead webhooks`: see, make, test and delete webhooks of a server, and what was sent; with a key's token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter

from keystead.cli import render, shapes
from keystead.cli.options import Cursor, Json, Limit, gather
from keystead.cli.outcome import Exit, Failure, forbid_core_dumps
from keystead.cli.server import Server, connected
from keystead.cli.shapes import Shape, moment

if TYPE_CHECKING:
    from keystead.client import CreatedWebhook

app = App(name="webhooks", help="See, make, test and delete webhooks, and what was sent to them.")

USUAL: Final = Server()
Id = Annotated[str, Parameter(help="The webhook's id, wh_....")]
Events = Annotated[tuple[str, ...], Parameter(name="--event", negative=())]


@app.command(name="list")
def list_(
    *, limit: Limit = None, cursor: Cursor = None, server: Server = USUAL, json: Json = False
) -> None:
    """List webhooks, newest first."""
    with connected(server) as client:

        def fetch(size: int, after: str | None) -> tuple[list[Shape], str | None]:
            page = client.webhooks.page(limit=size, cursor=after)
            return [shapes.answered(one) for one in page.items], page.next_cursor

        found, after = gather(fetch, limit, cursor)
    if json:
        render.print_json(shapes.listed(found, after))
        return
    rows = (
        (one["id"], one["name"], one["url"], " ".join(one["events"]), one["status"])
        for one in found
    )
    render.print_table(("ID", "NAME", "URL", "EVENTS", "STATUS"), rows)


@app.command
def create(
    name: str, url: str, /, *, event: Events, server: Server = USUAL, json: Json = False
) -> None:
    """Make a webhook, and print its signing secret: once, alone on standard output.

    Parameters
    ----------
    name
        For people.
    url
        Where events are sent.
    event
        A type of events to send, such as key.revoked; once for each. `*` is all.
    """
    forbid_core_dumps()
    with connected(server) as client:
        _hand_over(client.webhooks.create(name, url, events=event), json)


@app.command
def rotate(id: Id, /, *, server: Server = USUAL, json: Json = False) -> None:
    """Give a webhook a fresh signing secret, and print it; for 24 hours the old one signs too."""
    forbid_core_dumps()
    with connected(server) as client:
        _hand_over(client.webhooks.rotate_secret(id), json)


@app.command(name="test")
def send_test(id: Id, /, *, server: Server = USUAL, json: Json = False) -> None:
    """Send a test event; `deliveries` tells what came of it."""
    with connected(server) as client:
        sent = shapes.answered(client.webhooks.test(id))
    if json:
        render.print_json(sent)
    else:
        render.print_line(sent["id"])


@app.command
def delete(
    id: Id,
    /,
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    server: Server = USUAL,
) -> None:
    """Delete a webhook with its deliveries, for good.

    Parameters
    ----------
    yes
        Do it without asking, as scripts must.
    """
    with connected(server) as client:
        if not yes:
            _ask(client.webhooks.get(id).name)
        client.webhooks.delete(id)
    render.note(f"Deleted {id}.")


@app.command
def deliveries(
    id: Id,
    /,
    *,
    status: Literal["pending", "delivered", "failed"] | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    server: Server = USUAL,
    json: Json = False,
) -> None:
    """List what was sent to a webhook and what waits, newest first.

    Parameters
    ----------
    status
        Only deliveries of this status.
    """
    with connected(server) as client:

        def fetch(size: int, after: str | None) -> tuple[list[Shape], str | None]:
            page = client.deliveries.page(id, status=status, limit=size, cursor=after)
            return [shapes.answered(one) for one in page.items], page.next_cursor

        found, after = gather(fetch, limit, cursor)
    if json:
        render.print_json(shapes.listed(found, after))
        return
    render.print_table(("ID", "EVENT", "STATUS", "TRIES", "LAST", "NEXT"), map(_row, found))


@app.command
def redeliver(
    delivery_id: Annotated[str, Parameter(help="The delivery's id, dlv_....")],
    /,
    *,
    server: Server = USUAL,
    json: Json = False,
) -> None:
    """Send a delivery again, whatever came of it."""
    with connected(server) as client:
        sent = shapes.answered(client.deliveries.redeliver(delivery_id))
    if json:
        render.print_json(sent)
    else:
        render.print_line(sent["id"])


def _row(delivery: Shape) -> tuple[str, ...]:
    tries = delivery["attempts"]
    last = str(tries[-1]["error"] or tries[-1]["status"]) if tries else render.NOTHING
    upcoming = render.at(moment(delivery["next_attempt_at"]), render.NOTHING)
    kind, status = delivery["event_type"], delivery["status"]
    return delivery["id"], kind, status, str(len(tries)), last, upcoming


def _hand_over(made: CreatedWebhook, json: bool) -> None:
    """Prints the secret, once. Where it cannot be printed nobody has it: the message says what to do."""
    told = shapes.answered(made)
    secret = told.pop("secret").reveal()
    try:
        if json:
            render.print_json(told | {"secret": secret})
        else:
            render.print_line(secret)
        render.flush()
    except OSError:
        raise Failure(
            f"The secret could not be written and is lost; `keystead webhooks rotate {made.id}`."
        ) from None
    if not json:
        render.note(f'{made.id}: "{made.name}", {made.url}.')
        render.note("The secret is shown this once. Give it to what verifies the signatures.")


def _ask(name: str) -> None:
    """Failure unless a person at the terminal agrees."""
    if not render.has_person():
        raise Failure("Deleting is final; --yes does it without a question.", Exit.USAGE)
    if not render.confirmed(f'Delete "{name}" and what was sent to it for good?'):
        raise Failure("Nothing was deleted.")
