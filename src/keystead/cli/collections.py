"""`keystead collections`: the collections of a workspace, at a server."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from keystead.cli import render
from keystead.cli.options import Cursor, Flag, Json, Limit, Yes
from keystead.cli.server import DEFAULT_SERVER, Server, connected, gather_pages

app = App(name="collections", help="List, create and delete collections of documents.")

Name = Annotated[str, Parameter(help="The collection's name.")]


@app.command(name="list")
def list_(
    *,
    limit: Limit = None,
    cursor: Cursor = None,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """List collections, newest first."""
    with connected(server) as client:
        items, after = gather_pages(client.collections.page, limit, cursor)
    if json:
        render.print_json_list(items, after)
        return
    rows = (
        (item.name, item.title, str(item.documents), render.at(item.created_at)) for item in items
    )
    render.print_table(("NAME", "TITLE", "DOCUMENTS", "CREATED"), rows)


@app.command
def create(
    name: Name, /, *, title: str | None = None, server: Server = DEFAULT_SERVER, json: Json = False
) -> None:
    """Create a collection.

    Parameters
    ----------
    title
        The title to display. Default: the name.
    """
    with connected(server) as client:
        collection = client.collections.create(name, title)
    if json:
        render.print_json(collection)
    else:
        render.note(f"Created {name}.")


@app.command
def delete(
    name: Name, /, *, documents: Flag = False, yes: Yes = False, server: Server = DEFAULT_SERVER
) -> None:
    """Delete a collection. This can't be undone.

    Parameters
    ----------
    documents
        Delete its documents too. Default: the collection must be empty.
    """
    with connected(server) as client:
        if documents and not yes:
            count = client.collections.get(name).documents
            what = f"{name} and its {render.counted(count, 'document')}"
            render.require_confirmation(
                f"Delete {what}? This can't be undone.",
                f"This deletes {what}.",
                "Nothing was deleted.",
            )
        client.collections.delete(name, documents=documents)
    render.note(f"Deleted {name}.")
