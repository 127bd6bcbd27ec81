"""`keystead workspaces`: the tenants and their plans, on this machine or at a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from keystead.cli import render
from keystead.cli.options import ANYWHERE, Cursor, Json, Limit, Texts, Where, Yes
from keystead.cli.outcome import Exit, Failure
from keystead.cli.plans import bounds
from keystead.cli.server import WORKSPACE_CALLS, gather_pages, operating, workspace_id_of

if TYPE_CHECKING:
    from keystead.client import ManagedWorkspace, Operator, WorkspaceWithUse

app = App(
    name="workspaces",
    help="Create, list, suspend, export and delete workspaces, and change their plans.",
)

UNLIMITED: Final = "unlimited"
Which = Annotated[str, Parameter(help="The workspace's id or name.")]


@app.command
def create(
    name: str,
    /,
    *,
    plan: str | None = None,
    owner: str | None = None,
    email: str | None = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Create a workspace.

    Parameters
    ----------
    name
        The name to display: 1-100 characters.
    plan
        The plan's id. Default: the smallest plan.
    owner
        The name of the owner, who can sign in (`keystead sign-in-link`).
    email
        The owner's email address.
    """
    if email is not None and owner is None:
        raise Failure("--email is the owner's address: add --owner.", Exit.USAGE)
    with operating(where, *WORKSPACE_CALLS) as operator:
        workspace = operator.workspaces.create(name, plan=plan, owner=owner, email=email)
    _print_change(workspace, json)


@app.command(name="list")
def list_(
    *,
    query: str = "",
    limit: Limit = None,
    cursor: Cursor = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """List workspaces, newest first.

    Parameters
    ----------
    query
        Only workspaces with this text in their name, or with this id.
    """
    with operating(where, *WORKSPACE_CALLS) as operator:
        page = partial(operator.workspaces.page, query=query)
        workspaces, after = gather_pages(page, limit, cursor)
    if json:
        render.print_json_list(workspaces, after)
        return
    rows = (
        (item.id, item.name, item.plan, _status(item), render.at(item.created_at))
        for item in workspaces
    )
    render.print_table(("ID", "NAME", "PLAN", "STATUS", "CREATED"), rows)
    if after:
        render.note("There are more workspaces: use a higher --limit.")


@app.command
def show(workspace: Which, /, *, where: Where = ANYWHERE, json: Json = False) -> None:
    """Show a workspace, its plan, and how much of each limit it uses."""
    with _named(where, workspace) as (operator, id):
        found = operator.workspaces.get(id)
    _print_workspace(found, json)


@app.command
def suspend(workspace: Which, /, *, where: Where = ANYWHERE, json: Json = False) -> None:
    """Refuse all keys of a workspace, from their next request on, until you resume it."""
    with _named(where, workspace) as (operator, id):
        changed = operator.workspaces.suspend(id)
    _print_change(changed, json)


@app.command
def resume(workspace: Which, /, *, where: Where = ANYWHERE, json: Json = False) -> None:
    """Let the keys of a suspended workspace work again."""
    with _named(where, workspace) as (operator, id):
        changed = operator.workspaces.resume(id)
    _print_change(changed, json)


@app.command
def delete(workspace: Which, /, *, yes: Yes = False, where: Where = ANYWHERE) -> None:
    """Delete a suspended workspace with everything in it. This can't be undone."""
    with _named(where, workspace, "deletion:DELETION") as (operator, id):
        if not yes:
            found = operator.workspaces.get(id)
            render.require_confirmation(
                f'Delete "{found.name}" with all its keys, documents and members? This can\'t be undone.',
                "Deleting can't be undone.",
                "Nothing was deleted.",
            )
        operator.workspaces.delete(id)
    render.note("The workspace was deleted. Its data is removed within minutes.")


@app.command
def export(workspace: Which, file: Path, /, *, where: Where = ANYWHERE, json: Json = False) -> None:
    """Write a workspace's data to a new file, as JSON lines without secrets.

    Parameters
    ----------
    file
        The file to create, with mode 0600.
    """
    with _named(where, workspace, "exports:EXPORTS") as (operator, id), _new_file(file) as write:
        lines = operator.workspaces.export(id, write)
    if json:
        render.print_json({"file": str(file), "lines": lines})
    else:
        render.print_line(f"{file}: {render.counted(lines, 'line')}.")


@contextmanager
def _new_file(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Yield what writes to a new private file, which is removed if the block fails."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise Failure(f"Cannot create {path}: {error.strerror}.", Exit.USAGE) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file.write
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@app.command(name="plan")
def plan_(
    workspace: Which,
    plan: str,
    /,
    *,
    limit: Texts = (),
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Put a workspace on a plan, optionally with limits of its own.

    A lowered limit only prevents new resources: nothing is deleted or revoked.

    Parameters
    ----------
    plan
        The plan's id, as `keystead plans list` shows it.
    limit
        A limit of its own, such as api_keys=20 or documents=unlimited; repeatable. Previous ones are removed.
    """
    overrides = dict(_limit(text) for text in limit)
    with _named(where, workspace) as (operator, id):
        changed = operator.workspaces.put_on_plan(id, plan, overrides=overrides)
    _print_workspace(changed, json)


@contextmanager
def _named(where: Where, workspace: str, *calls: str) -> Iterator[tuple[Operator, str]]:
    """Yield the operator's client, and the workspace's id. `calls`: other calls than those of all workspaces."""
    with operating(where, *WORKSPACE_CALLS, *calls) as operator:
        yield operator, workspace_id_of(operator, workspace)


def _print_change(workspace: ManagedWorkspace, json: bool) -> None:
    """Print the changed workspace. Only its id goes to stdout, for scripts."""
    if json:
        render.print_json(workspace)
        return
    render.print_line(workspace.id)
    render.note(f"{workspace.name}: {_status(workspace)}, {workspace.plan} plan.")


def _print_workspace(workspace: WorkspaceWithUse, json: bool) -> None:
    if json:
        render.print_json(workspace)
        return
    fields = {
        "id": workspace.id,
        "name": workspace.name,
        "status": _status(workspace),
        "created": render.at(workspace.created_at),
        "suspended": render.at(workspace.suspended_at, render.NOTHING),
        "plan": workspace.plan,
    }
    render.print_fields(fields | bounds(workspace.quotas, workspace.overrides))


def _status(workspace: ManagedWorkspace) -> str:
    return "active" if workspace.suspended_at is None else "suspended"


def _limit(text: str) -> tuple[str, int | None]:
    name, _, number = text.partition("=")
    if number == UNLIMITED:
        return name, None
    if not (number.isascii() and number.isdecimal()):
        raise Failure(f"--limit must be like api_keys=20 or documents={UNLIMITED}.", Exit.USAGE)
    return name, int(number)
