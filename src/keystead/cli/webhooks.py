"""`keystead webhooks`: the webhooks of a workspace and their deliveries, at a server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from keystead.cli import render
from keystead.cli.options import Cursor, Json, Limit, Texts, Yes
from keystead.cli.outcome import forbid_core_dumps
from keystead.cli.server import DEFAULT_SERVER, Server, connected, gather_pages

if TYPE_CHECKING:
    from keystead.client import CreatedWebhook, Delivery

app = App(name="webhooks", help="List, create, test and delete webhooks, and see their deliveries.")

Id = Annotated[str, Parameter(help="The webhook's id: wh_....")]


@app.command(name="list")
def list_(
    *,
    limit: Limit = None,
    cursor: Cursor = None,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """List webhooks, newest first."""
    with connected(server) as client:
        items, after = gather_pages(client.webhooks.page, limit, cursor)
    if json:
        render.print_json_list(items, after)
        return
    rows = ((item.id, item.name, item.url, " ".join(item.events), item.status) for item in items)
    render.print_table(("ID", "NAME", "URL", "EVENTS", "STATUS"), rows)


@app.command
def create(
    name: str,
    url: str,
    /,
    *,
    event: Annotated[Texts, Parameter(name="--event")],
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Create a webhook, and print its signing secret, which is shown only once.

    Parameters
    ----------
    name
        The name to display.
    url
        Where to send the events.
    event
        A type of event to send, such as key.revoked; repeatable. `*`: all types.
    """
    forbid_core_dumps()
    with connected(server) as client:
        _print_secret(client.webhooks.create(name, url, events=event), json)


@app.command
def rotate(id: Id, /, *, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Create a new signing secret and print it. The old one also signs for 24 hours."""
    forbid_core_dumps()
    with connected(server) as client:
        _print_secret(client.webhooks.rotate_secret(id), json)


@app.command(name="test")
def send_test(id: Id, /, *, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Send a test event; `deliveries` shows the result."""
    with connected(server) as client:
        _print_delivery(client.webhooks.test(id), json)


@app.command
def delete(id: Id, /, *, yes: Yes = False, server: Server = DEFAULT_SERVER) -> None:
    """Delete a webhook and its deliveries. This can't be undone."""
    with connected(server) as client:
        if not yes:
            name = client.webhooks.get(id).name
            render.require_confirmation(
                f'Delete "{name}" and its deliveries? This can\'t be undone.',
                "Deleting can't be undone.",
                "Nothing was deleted.",
            )
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
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """List a webhook's deliveries, newest first.

    Parameters
    ----------
    status
        Only deliveries of this status.
    """
    with connected(server) as client:
        page = partial(client.deliveries.page, id, status=status)
        items, after = gather_pages(page, limit, cursor)
    if json:
        render.print_json_list(items, after)
        return
    render.print_table(("ID", "EVENT", "STATUS", "TRIES", "LAST", "NEXT"), map(_row, items))


@app.command
def redeliver(
    delivery_id: Annotated[str, Parameter(help="The delivery's id: dlv_....")],
    /,
    *,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Resend a delivery, whatever its status."""
    with connected(server) as client:
        _print_delivery(client.deliveries.redeliver(delivery_id), json)


def _print_delivery(delivery: Delivery, json: bool) -> None:
    if json:
        render.print_json(delivery)
    else:
        render.print_line(delivery.id)


def _row(delivery: Delivery) -> tuple[str, ...]:
    attempts = delivery.attempts
    last = str(attempts[-1].error or attempts[-1].status) if attempts else render.NOTHING
    upcoming = render.at(delivery.next_attempt_at, render.NOTHING)
    return delivery.id, delivery.event_type, delivery.status, str(len(attempts)), last, upcoming


def _print_secret(webhook: CreatedWebhook, json: bool) -> None:
    render.print_secret(
        webhook,
        "secret",
        webhook.secret,
        json,
        recovery=f"create another with `keystead webhooks rotate {webhook.id}`",
        about=f'{webhook.id}: "{webhook.name}", {webhook.url}.',
    )
