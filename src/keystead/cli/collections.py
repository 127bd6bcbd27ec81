"""`keystead collections`: see, make and delete the collections of a server, with a key's token."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import App, Parameter

from keystead.cli import render, shapes
from keystead.cli.options import Cursor, Json, Limit, gather
from keystead.cli.outcome import Exit, Failure
from keystead.cli.server import Server, connected
from keystead.cli.shapes import Shape, moment

app = App(name="collections", help="See, make and delete collections of documents.")

USUAL: Final = Server()
Name = Annotated[str, Parameter(help="The collection's name.")]


@app.command(name="list")
def list_(
    *, limit: Limit = None, cursor: Cursor = None, server: Server = USUAL, json: Json = False
) -> None:
    """List collections, newest first."""
    with connected(server) as client:

        def fetch(size: int, after: str | None) -> tuple[list[Shape], str | None]:
            page = client.collections.page(limit=size, cursor=after)
            return [shapes.answered(one) for one in page.items], page.next_cursor

        found, after = gather(fetch, limit, cursor)
    if json:
        render.print_json(shapes.listed(found, after))
        return
    rows = (
        (one["name"], one["title"], str(one["documents"]), render.at(moment(one["created_at"])))
        for one in found
    )
    render.print_table(("NAME", "TITLE", "DOCUMENTS", "CREATED"), rows)


@app.command
def create(
    name: Name, /, *, title: str | None = None, server: Server = USUAL, json: Json = False
) -> None:
    """Make a collection.

    Parameters
    ----------
    title
        Its title, for people; the name without this option.
    """
    with connected(server) as client:
        made = shapes.answered(client.collections.create(name, title))
    if json:
        render.print_json(made)
    else:
        render.note(f"Made {name}.")


@app.command
def delete(
    name: Name,
    /,
    *,
    documents: Annotated[bool, Parameter(negative=())] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    server: Server = USUAL,
) -> None:
    """Delete a collection, for good.

    Parameters
    ----------
    documents
        Delete it with the documents in it; without this option only an empty collection goes.
    yes
        Do it without asking, as scripts must.
    """
    with connected(server) as client:
        if documents and not yes:
            _ask(name, client.collections.get(name).documents)
        client.collections.delete(name, documents=documents)
    render.note(f"Deleted {name}.")


def _ask(name: str, count: int) -> None:
    """Failure unless a person at the terminal agrees."""
    if not render.has_person():
        raise Failure(f"{name} holds {count:,} documents; --yes deletes them.", Exit.USAGE)
    if not render.confirmed(f"Delete {name} and its {count:,} documents for good?"):
        raise Failure("Nothing was deleted.")
