"""`keystead documents push`: push files and folders into a collection of a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from keystead.cli import render
from keystead.cli.documents.options import Collection
from keystead.cli.options import Flag, Json, Texts, Yes
from keystead.cli.outcome import Exit, Failure
from keystead.cli.server import DEFAULT_SERVER, Server, client_errors, connected

if TYPE_CHECKING:
    from keystead.client import Client, FolderPush, FolderReport, RefusedFile


def push(
    paths: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    collection: Collection,
    create_collection: Flag = False,
    delete_missing: Flag = False,
    dry_run: Flag = False,
    root: Path | None = None,
    exclude: Texts = (),
    encoding: str = "utf-8",
    link: str | None = None,
    modified: Flag = False,
    yes: Yes = False,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> int:
    """Push files and folders: Markdown (.md), text (.txt), JSON lines (.jsonl).

    A document's id is made of the file's path below the folder. Its title is the
    front matter's, else the first heading. Each line of JSON is a document of its own:
    {"id": ..., "text": ...}. Repeating a push changes nothing. What can't be pushed
    is reported line by line, and the exit code is 1; the rest is pushed.

    Parameters
    ----------
    paths
        Files, and folders to search for files; hidden ones are skipped.
    create_collection
        Create the collection if it does not exist.
    delete_missing
        Delete the collection's documents that are not in this push, excluded ones too. Only for whole folders,
        and only if everything in them could be pushed.
    dry_run
        Only show what would be pushed, without contacting a server.
    root
        Make ids of the paths below this folder, so that a file gets the same id alone and with its folder.
    exclude
        Leave out files and folders that match this pattern, written like .gitignore's; repeatable. So does a
        .keysteadignore in the folder, a pattern a line.
    encoding
        Encoding of Markdown and text files, such as cp1252. JSON lines are always UTF-8.
    link
        Give each document a URL: this one, followed by the file's path.
    modified
        Store the time of each file's last change in the document's attributes.
    """
    from keystead.client import FolderPush

    with client_errors():
        files = FolderPush(
            *paths,
            root=root,
            exclude=exclude,
            encoding=encoding,
            link=link,
            modified=modified,
            on_refused=None if json else _note_refused,
        )
        if delete_missing:
            files.require_whole()
    if files.is_empty:
        why = (
            "Everything there is excluded"
            if files.excluded
            else "No .md, .txt or .jsonl file there"
        )
        raise Failure(f"There is nothing to push. {why}.")
    if dry_run:
        return _rehearse(files, collection, json)
    with connected(server) as client:
        try:
            _push_all(client, files, collection, create_collection, silent=json)
            if delete_missing:
                _delete_missing(client, files, collection, yes)
        finally:
            if files.is_sent or files.report.pushed:
                _print_report(files, collection, json)
            if files.report.pushed and not files.is_sent:
                render.note(
                    "The push stopped here. Run the same command again to push the rest;"
                    " documents already pushed stay unchanged."
                )
    if not json:
        _note_what_is_next(files.report, deletes=delete_missing)
    return Exit.REFUSED if files.report.refused else Exit.DONE


def _push_all(
    client: Client, files: FolderPush, collection: str, create: bool, *, silent: bool
) -> None:
    from keystead.client import NotFound

    try:
        with render.progress("Pushing", files.size, silent=silent) as advance:
            client.documents.push_folder(collection, files, create=create, advance=advance)
    except NotFound:
        raise Failure(
            f"There is no collection {collection}. Use --create-collection to create it."
        ) from None


def _rehearse(files: FolderPush, collection: str, json: bool) -> int:
    """Read everything and print what would be pushed."""
    count = size = requests = 0
    for batch in files.batches():
        requests += 1
        count += len(batch)
        size += sum(document.size for document in batch)
    refused = files.report.refused
    if json:
        counts = {"documents": count, "bytes": size, "batches": requests}
        render.print_json({"collection": collection, **counts, "refused": _plain(refused)})
    else:
        render.print_line(
            f"{collection}: {render.counted(count, 'document')} ({size / 1024:,.0f} KiB) would be pushed"
            f" in {render.counted(requests, 'batch', 'batches')}; {len(refused):,} refused."
        )
        _note_others(files)
    return Exit.REFUSED if refused else Exit.DONE


def _delete_missing(client: Client, files: FolderPush, collection: str, yes: bool) -> None:
    """Delete the collection's other documents, unless a part of the push failed or it was empty."""
    if files.report.refused:
        return
    if not files.ids:
        raise Failure("Nothing was deleted: this push has no documents, so all would be missing.")
    missing = client.documents.missing(collection, files)
    if missing and not yes:
        count = render.counted(len(missing), "document")
        what = f"{count} of {collection} not in this push"
        render.require_confirmation(
            f"Delete {what}?", f"This deletes {what}.", "Nothing was deleted."
        )
    client.documents.delete_missing(collection, files, missing)


def _note_refused(refused: RefusedFile) -> None:
    render.note(f"{refused.source}: {refused.detail}.")


def _note_what_is_next(report: FolderReport, *, deletes: bool) -> None:
    """After a partial push, explain what the same command will do, and how to fix the rest."""
    count = len(report.refused)
    if not count:
        return
    what, them = render.counted(count, "document"), "it" if count == 1 else "them"
    not_deleted = " Nothing was deleted." if deletes else ""
    then = "pushes what is new"
    if deletes:
        then += ", then deletes what is missing or excluded"
    render.note(
        f"{what} could not be pushed.{not_deleted} Fix {them}, or leave {them} out with --exclude, then run the command"
        f" again: it {then}."
    )


def _print_report(files: FolderPush, collection: str, json: bool) -> None:
    report = files.report
    names = ("created", "updated", "unchanged", "deleted")
    counts = {name: getattr(report, name) for name in names}
    if json:
        refused = _plain(report.refused)
        render.print_json({"collection": collection, **counts, "refused": refused})
        return
    parts = [f"{count:,} {name}" for name, count in counts.items() if count or name != "deleted"]
    if report.refused:
        parts.append(f"{len(report.refused):,} refused")
    render.print_line(f"{collection}: {', '.join(parts)}.")
    _note_others(files)


def _note_others(files: FolderPush) -> None:
    if files.others:
        render.note(f"Skipped {render.counted(files.others, 'file')} of an unsupported type.")
    if files.excluded:
        skipped = render.counted(files.excluded, "file or folder", "files or folders")
        render.note(f"Excluded {skipped}.")


def _plain(refused: Sequence[RefusedFile]) -> list[dict[str, str]]:
    return [asdict(each) for each in refused]
