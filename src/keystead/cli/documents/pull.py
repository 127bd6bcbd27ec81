"""`keystead documents pull`: write the documents of a collection into a folder."""

from __future__ import annotations

import json as json_text
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from keystead.cli import render
from keystead.cli.documents.options import Collection
from keystead.cli.options import Flag, Json
from keystead.cli.outcome import Exit
from keystead.cli.server import DEFAULT_SERVER, Server, connected

if TYPE_CHECKING:
    from keystead.cli.documents.writing import TargetFolder
    from keystead.client import Client, Document


def pull(
    folder: Path,
    /,
    *,
    collection: Collection,
    link: str | None = None,
    overwrite: Flag = False,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> int:
    """Write the documents of a collection into a folder.

    A document that was pushed from a file is written to its path again; all others
    become lines of documents.jsonl. Pushing the folder afterwards changes nothing.
    With --overwrite, a documents.jsonl that no document needs becomes empty.
    Nothing is deleted, and nothing is written outside the folder.

    Parameters
    ----------
    folder
        The folder; it is created if it does not exist.
    link
        The --link that the documents were pushed with, so that their URLs are made of their paths again.
    overwrite
        Replace files that differ. Default: they are kept and reported, and the exit code is 1.
    """
    from keystead.cli.documents.writing import TargetFolder

    refused: dict[str, str] = {}

    def refuse(path: str, reason: object) -> None:
        refused[path] = str(reason)
        if not json:
            render.note(f"{folder / path}: {reason}.")

    with connected(server) as client, TargetFolder(folder, overwrite=overwrite) as target:
        ids = [document.id for document in client.documents.list(collection)]
        with render.progress("Pulling", len(ids), silent=json) as advance:
            count = _write_all(target, _documents(client, collection, ids, advance), link, refuse)
    counts = {"documents": count, "written": target.written, "unchanged": target.unchanged}
    if json:
        listed = [{"source": path, "detail": detail} for path, detail in refused.items()]
        render.print_json({"collection": collection, **counts, "refused": listed})
    else:
        parts = [f"{target.written:,} written", f"{target.unchanged:,} unchanged"]
        parts += [f"{len(refused):,} refused"] if refused else []
        what = render.counted(count, "document")
        render.print_line(f"{collection}: {what}; files: {', '.join(parts)}.")
    return Exit.REFUSED if refused else Exit.DONE


def _documents(
    client: Client, collection: str, ids: Sequence[str], advance: Callable[[int], None]
) -> Iterator[Document]:
    """Yield the documents, except those that were deleted meanwhile."""
    from keystead.client import NotFound

    for id in ids:
        with suppress(NotFound):
            yield client.documents.get(collection, id)
        advance(1)


def _write_all(
    target: TargetFolder,
    documents: Iterable[Document],
    link: str | None,
    refuse: Callable[[str, object], None],
) -> int:
    """Write each document to its own file, or as a line of the common one. Returns their number."""
    from keystead.cli.documents.placing import LINES_FILE, Placement
    from keystead.cli.documents.writing import Unwritable
    from keystead.client.folders.files import Shaping

    placement, lines, count = Placement(Shaping(link)), None, 0
    try:
        with ExitStack() as stack:
            for document in documents:
                count += 1
                path = placement.path_of(document)
                if path is None:
                    lines = lines or stack.enter_context(target.writing(LINES_FILE))
                    lines.write(_line(document))
                    continue
                try:
                    target.put(path, document.text.encode())
                except Unwritable as error:
                    refuse(path, error)
            if lines is None and target.has_file(LINES_FILE):
                # A push would bring the documents of an earlier pull back.
                stack.enter_context(target.writing(LINES_FILE))
    except Unwritable as error:
        refuse(LINES_FILE, error)
    return count


def _line(document: Document) -> bytes:
    members = {
        "id": document.id,
        "title": document.title,
        "url": document.url,
        "attributes": document.attributes,
        "text": document.text,
    }
    return json_text.dumps(members, ensure_ascii=False).encode() + b"\n"
