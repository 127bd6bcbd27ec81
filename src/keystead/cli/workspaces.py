"""`keystead workspaces`: make, see, suspend and resume tenants, put them on plans; on this machine's database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from keystead.cli import render, shapes
from keystead.cli.operator import account, actor
from keystead.cli.options import Json, Place
from keystead.cli.outcome import Exit, Failure
from keystead.cli.paging import Cursor, Limit, gather

if TYPE_CHECKING:
    from keystead.domain.ids import WorkspaceId
    from keystead.domain.workspaces import Workspace
    from keystead.services import Services

app = App(name="workspaces", help="Make, see, suspend and resume workspaces; put them on plans.")

HERE: Final = Place()
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
    place: Place = HERE,
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
    from keystead.cli.installation import opened

    if email is not None and owner is None:
        raise Failure("--email is the owner's: give --owner too.", Exit.USAGE)
    with opened(place) as installation:
        made = installation.services.workspaces.create(
            name, plan_id=plan, owner=owner, email=email, actor=actor()
        )
    _print_made(made, json)


@app.command(name="list")
def list_(
    *, limit: Limit = None, cursor: Cursor = None, place: Place = HERE, json: Json = False
) -> None:
    """List workspaces, newest first."""
    from keystead.cli.installation import opened
    from keystead.domain.ids import WorkspaceId

    with opened(place) as installation:
        workspaces = installation.services.workspaces

        def fetch(
            size: int, before: WorkspaceId | None
        ) -> tuple[list[Workspace], WorkspaceId | None]:
            page = workspaces.list(limit=size, before=before)
            return page.workspaces, page.next

        found, after = gather(fetch, limit, None if cursor is None else WorkspaceId(cursor))
    if json:
        render.print_json(shapes.listed(map(shapes.workspace, found), after))
        return
    rows = ((w.id, w.name, w.plan_id, _status(w), render.at(w.created_at)) for w in found)
    render.print_table(("ID", "NAME", "PLAN", "STATUS", "CREATED"), rows)
    if after:
        render.note("There are more.")


@app.command
def show(workspace: Which, /, *, place: Place = HERE, json: Json = False) -> None:
    """Show a workspace: its plan, and how much of each limit it uses."""
    from keystead.cli.installation import opened

    with opened(place) as installation:
        services = installation.services
        _print_workspace(services, services.workspaces.named(workspace), json)


@app.command
def suspend(workspace: Which, /, *, place: Place = HERE, json: Json = False) -> None:
    """Refuse every key of a workspace, from the next request on, until it is resumed."""
    from keystead.cli.installation import opened

    with opened(place) as installation:
        workspaces = installation.services.workspaces
        changed = workspaces.suspend(workspaces.named(workspace).id, actor())
    _print_made(changed, json)


@app.command
def resume(workspace: Which, /, *, place: Place = HERE, json: Json = False) -> None:
    """Let the keys of a suspended workspace work again."""
    from keystead.cli.installation import opened

    with opened(place) as installation:
        workspaces = installation.services.workspaces
        changed = workspaces.resume(workspaces.named(workspace).id, actor())
    _print_made(changed, json)


@app.command(name="plan")
def plan_(
    workspace: Which,
    plan: str,
    /,
    *,
    limit: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    place: Place = HERE,
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
    from keystead.cli.installation import opened

    own = dict(_limit(text) for text in limit)
    with opened(place) as installation:
        services = installation.services
        workspace_id = services.workspaces.named(workspace).id
        changed = services.workspaces.set_plan(workspace_id, plan, own, actor())
        _print_workspace(services, changed, json)


def _print_made(workspace: Workspace, json: bool) -> None:
    """The workspace after the change; for scripts its id alone on stdout."""
    if json:
        render.print_json(shapes.workspace(workspace))
        return
    render.print_line(workspace.id)
    render.note(f"{workspace.name}: {_status(workspace)}, on the plan {workspace.plan_id}.")


def _print_workspace(services: Services, workspace: Workspace, json: bool) -> None:
    from keystead.domain.principals import operator

    use = services.plans.use(operator(account(), workspace.id))
    if json:
        render.print_json(shapes.workspace(workspace, quotas=shapes.quotas(use.quotas)))
        return
    fields = {
        "id": workspace.id,
        "name": workspace.name,
        "status": _status(workspace),
        "created": render.at(workspace.created_at),
        "suspended": render.at(workspace.suspended_at, render.NOTHING),
        "plan": f"{use.plan.name} ({use.plan.id})",
    }
    bounds = {
        name.replace(
            "_", " "
        ): f"{quota.used} of {UNLIMITED if quota.limit is None else quota.limit}"
        for name, quota in use.quotas.items()
    }
    render.print_fields(fields | bounds)


def _status(workspace: Workspace) -> str:
    return "active" if workspace.suspended_at is None else "suspended"


def _limit(text: str) -> tuple[str, int | None]:
    name, _, number = text.partition("=")
    if number == UNLIMITED:
        return name, None
    if not (number.isascii() and number.isdecimal()):
        raise Failure(f"--limit is written like api_keys=20 or documents={UNLIMITED}.", Exit.USAGE)
    return name, int(number)
