"""`keystead documents list`, `show`, `search` and `delete`, at a server."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from keystead.cli import render
from keystead.cli.documents.options import Collection, Id
from keystead.cli.options import Cursor, Json, Limit, Yes
from keystead.cli.server import DEFAULT_SERVER, Server, connected, gather_pages

_OPERATORS: Final = re.compile(r'"|\*|(?:^|\s)[-+]\w|\w:\w|\b(?:AND|OR|NOT)\b')
"""What other search engines give a meaning."""


def list_(
    *,
    collection: Collection,
    limit: Limit = None,
    cursor: Cursor = None,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """List the documents of a collection, newest first."""
    with connected(server) as client:
        page = partial(client.documents.page, collection)
        items, after = gather_pages(page, limit, cursor)
    if json:
        render.print_json_list(items, after)
        return
    rows = ((item.id, item.title, item.url or "", render.at(item.updated_at)) for item in items)
    render.print_table(("ID", "TITLE", "URL", "UPDATED"), rows)


def show(
    id: Id, /, *, collection: Collection, server: Server = DEFAULT_SERVER, json: Json = False
) -> None:
    """Show a document with its text."""
    with connected(server) as client:
        document = client.documents.get(collection, id)
    if json:
        render.print_json(document)
        return
    fields = {
        "id": document.id,
        "title": document.title,
        "url": document.url or render.NOTHING,
        "created": render.at(document.created_at),
        "updated": render.at(document.updated_at),
    }
    fields |= {f"attribute {name}": str(value) for name, value in document.attributes.items()}
    render.print_fields({render.inert(name): value for name, value in fields.items()})
    render.print_line("")
    for line in document.text.splitlines():
        render.print_line(line)


def delete(
    id: Id, /, *, collection: Collection, yes: Yes = False, server: Server = DEFAULT_SERVER
) -> None:
    """Delete a document. This can't be undone."""
    with connected(server) as client:
        if not yes:
            what = f"{id} of {collection}"
            render.require_confirmation(
                f"Delete {what}? This can't be undone.",
                f"This deletes {what}.",
                "Nothing was deleted.",
            )
        client.documents.delete(collection, id)
    render.note(f"Deleted {id} of {collection}.")


def search(
    words: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    collection: Collection,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=200))] = 20,
    cursor: Cursor = None,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Search a collection, best matches first, each with a part of its text.

    All words must occur; from two letters on, the last may be the start of a word.

    Parameters
    ----------
    words
        1-10 words.
    limit
        The largest number of documents to show.
    """
    query = " ".join(words)
    with connected(server) as client:
        page = client.documents.search(collection, query, limit=limit, cursor=cursor)
    if json:
        more = {"total": page.total, "total_exact": page.total_exact}
        render.print_json_list(page.items, page.next_cursor, **more)
        return
    rows = ((item.id, item.title, item.snippet, render.at(item.updated_at)) for item in page.items)
    render.print_table(("ID", "TITLE", "TEXT", "UPDATED"), rows)
    least = "" if page.total_exact else "at least "
    total = render.counted(page.total, "document")
    render.note(f"Showing {len(page.items)} of {least}{total} with all of these words.")
    if not page.total and _OPERATORS.search(query):
        render.note("Only letters and digits count: quotes, operators and wildcards mean nothing.")
