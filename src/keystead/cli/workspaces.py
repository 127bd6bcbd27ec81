"""`keystead workspaces`: make, see, suspend and resume tenants, put them on plans; on this machine or at a server."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import App, Parameter

from keystead.cli import render, shapes
from keystead.cli.options import Cursor, Json, Limit, Where, gather
from keystead.cli.outcome import Exit, Failure
from keystead.cli.shapes import Shape, moment
from keystead.cli.workspace_desks import workspace_desk

app = App(name="workspaces", help="Make, see, suspend and resume workspaces; put them on plans.")

HERE: Final = Where()
UNLIMITED: Final = "unlimited"
Which = Annotated[str, Parameter(help="The workspace, by id or name.")]


@app.command
def create(
    name: str,
    /,
    *,
    plan: str | None = None,
    owner: str | None = None,
    email: str | None = None,
    where: Where = HERE,
    json: Json = False,
) -> None:
    """Make a workspace.

    Parameters
    ----------
    name
        Its name: 1-100 characters.
    plan
        The id of its plan; the smallest without this option.
    owner
        The name of the person who owns it, and may sign in (`keystead sign-in-link`).
    email
        The owner's e-mail address.
    """
    if email is not None and owner is None:
        raise Failure("--email is the owner's: give --owner too.", Exit.USAGE)
    with workspace_desk(where) as desk:
        made = desk.create(name, plan, owner, email)
    _print_made(made, json)


@app.command(name="list")
def list_(
    *,
    query: str = "",
    limit: Limit = None,
    cursor: Cursor = None,
    where: Where = HERE,
    json: Json = False,
) -> None:
    """List workspaces, newest first.

    Parameters
    ----------
    query
        Only workspaces with this in their name, or of exactly this id.
    """
    with workspace_desk(where) as desk:

        def fetch(size: int, after: str | None) -> tuple[list[Shape], str | None]:
            return desk.page(query, size, after)

        found, after = gather(fetch, limit, cursor)
    if json:
        render.print_json(shapes.listed(found, after))
        return
    rows = (
        (one["id"], one["name"], one["plan"], _status(one), render.at(moment(one["created_at"])))
        for one in found
    )
    render.print_table(("ID", "NAME", "PLAN", "STATUS", "CREATED"), rows)
    if after:
        render.note("There are more.")


@app.command
def show(workspace: Which, /, *, where: Where = HERE, json: Json = False) -> None:
    """Show a workspace: its plan, and how much of each limit it uses."""
    with workspace_desk(where) as desk:
        found = desk.get(workspace)
    _print_workspace(found, json)


@app.command
def suspend(workspace: Which, /, *, where: Where = HERE, json: Json = False) -> None:
    """Refuse every key of a workspace, from the next request on, until it is resumed."""
    with workspace_desk(where) as desk:
        changed = desk.suspend(workspace)
    _print_made(changed, json)


@app.command
def resume(workspace: Which, /, *, where: Where = HERE, json: Json = False) -> None:
    """Let the keys of a suspended workspace work again."""
    with workspace_desk(where) as desk:
        changed = desk.resume(workspace)
    _print_made(changed, json)


@app.command(name="plan")
def plan_(
    workspace: Which,
    plan: str,
    /,
    *,
    limit: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    where: Where = HERE,
    json: Json = False,
) -> None:
    """Put a workspace on a plan, with limits of its own where some are given.

    A lowered limit stops creation only: nothing is deleted or revoked.

    Parameters
    ----------
    plan
        The plan's id, as `keystead plans list` shows it.
    limit
        A limit of its own, such as api_keys=20 or documents=unlimited, once for each; they replace those it had.
    """
    own = dict(_limit(text) for text in limit)
    with workspace_desk(where) as desk:
        changed = desk.put_on_plan(workspace, plan, own)
    _print_workspace(changed, json)


def _print_made(workspace: Shape, json: bool) -> None:
    """The workspace after the change; for scripts its id alone on stdout."""
    if json:
        render.print_json(workspace)
        return
    render.print_line(workspace["id"])
    render.note(f"{workspace['name']}: {_status(workspace)}, on the plan {workspace['plan']}.")


def _print_workspace(workspace: Shape, json: bool) -> None:
    if json:
        render.print_json(workspace)
        return
    fields = {
        "id": workspace["id"],
        "name": workspace["name"],
        "status": _status(workspace),
        "created": render.at(moment(workspace["created_at"])),
        "suspended": render.at(moment(workspace["suspended_at"]), render.NOTHING),
        "plan": workspace["plan"],
    }
    render.print_fields(fields | shapes.bounds(workspace["quotas"], workspace["overrides"]))


def _status(workspace: Shape) -> str:
    return "active" if workspace["suspended_at"] is None else "suspended"


def _limit(text: str) -> tuple[str, int | None]:
    name, _, number = text.partition("=")
    if number == UNLIMITED:
        return name, None
    if not (number.isascii() and number.isdecimal()):
        raise Failure(f"--limit is written like api_keys=20 or documents={UNLIMITED}.", Exit.USAGE)
    return name, int(number)
