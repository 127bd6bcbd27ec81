"""`keystead documents`: push files into a collection of a server, and search it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from keystead.cli import render
from keystead.cli.options import Flag, Json, Texts, Yes
from keystead.cli.outcome import Exit, Failure
from keystead.cli.server import DEFAULT_SERVER, Server, connected

if TYPE_CHECKING:
    from keystead.cli.documents.files import Ready, Shaping
    from keystead.cli.documents.found import Refused, Search
    from keystead.cli.documents.pushing import Pusher, Tally

app = App(name="documents", help="Push files into a collection, and search it.")

Collection = Annotated[str, Parameter(name=["--collection", "-c"], help="The collection's name.")]


@app.command
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
    from keystead.cli.documents.files import Shaping
    from keystead.cli.documents.found import find_files
    from keystead.cli.documents.pushing import Pusher, Tally

    if delete_missing:
        _require_whole(paths, root)
    _require_encoding(encoding)
    search = find_files(paths, root, exclude)
    if not search.files and not search.refused:
        why = (
            "Everything there is excluded"
            if search.excluded
            else "No .md, .txt or .jsonl file there"
        )
        raise Failure(f"There is nothing to push. {why}.")
    work = _Work(search, Shaping(link, modified, encoding), Tally(), json)
    if dry_run:
        return _rehearse(work, collection)
    with connected(server) as client:
        pusher = Pusher(client, collection, create_collection, work.tally, work.refuse)
        try:
            _push_all(work, pusher)
        except BaseException:
            if work.tally.pushed:
                _print_tally(work, collection)
                render.note(
                    "The push stopped here. Run the same command again to push the rest;"
                    " documents already pushed stay unchanged."
                )
            raise
        try:
            if delete_missing:
                _delete_missing(work, pusher, yes)
        finally:
            _print_tally(work, collection)
        _note_what_is_next(work, deletes=delete_missing)
    return Exit.REFUSED if work.tally.refused else Exit.DONE


@app.command
def search(
    words: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    collection: Collection,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=200))] = 20,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Search a collection, best matches first.

    All words must occur; from two letters on, the last may be the start of a word.

    Parameters
    ----------
    words
        1-10 words.
    limit
        The largest number of documents to show.
    """
    with connected(server) as client:
        page = client.documents.search(collection, " ".join(words), limit=limit)
    if json:
        more = {"total": page.total, "total_exact": page.total_exact}
        render.print_json_list(page.items, page.next_cursor, **more)
        return
    rows = ((item.id, item.title, item.snippet, render.at(item.updated_at)) for item in page.items)
    render.print_table(("ID", "TITLE", "TEXT", "UPDATED"), rows)
    if len(page.items) < page.total:
        least = "" if page.total_exact else "at least "
        render.note(f"{len(page.items)} of {least}{page.total:,} documents are shown.")


@dataclass(frozen=True)
class _Work:
    """A push: its files, how they become documents, the results so far, and the ids used."""

    search: Search
    shaping: Shaping
    tally: Tally
    json: bool
    seen: dict[str, str] = field(default_factory=dict)

    def refuse(self, refused: Refused) -> None:
        """Report what is not pushed: immediately to a user, or at the end in JSON."""
        self.tally.refused.append(refused)
        if not self.json:
            render.note(f"{refused.source}: {refused.detail}.")

    def batches(self, advance: Callable[[int], None]) -> Iterator[list[Ready]]:
        """Yield the documents of all files in batches, each id once; `advance` gets the size of each file read."""
        from keystead.cli.documents.pushing import batches, unrepeated

        return batches(unrepeated(self._documents(advance), self.seen, self.refuse))

    def _documents(self, advance: Callable[[int], None]) -> Iterator[Ready | Refused]:
        from keystead.cli.documents.files import read_documents

        yield from self.search.refused
        for file in self.search.files:
            yield from read_documents(file, self.shaping)
            advance(file.size)


def _push_all(work: _Work, pusher: Pusher) -> None:
    total = sum(file.size for file in work.search.files)
    with render.progress("Pushing", total, silent=work.json) as advance:
        for batch in work.batches(advance):
            pusher.push(batch)


def _rehearse(work: _Work, collection: str) -> int:
    """Read everything and print what would be pushed."""
    count = size = requests = 0
    for batch in work.batches(lambda _: None):
        requests += 1
        count += len(batch)
        size += sum(document.size for document in batch)
    if work.json:
        counts = {"documents": count, "bytes": size, "batches": requests}
        render.print_json({"collection": collection, **counts, "refused": _refused(work)})
    else:
        render.print_line(
            f"{collection}: {render.counted(count, 'document')} ({size / 1024:,.0f} KiB) would be pushed"
            f" in {render.counted(requests, 'batch', 'batches')}; {len(work.tally.refused):,} refused."
        )
        _note_others(work)
    return Exit.REFUSED if work.tally.refused else Exit.DONE


def _delete_missing(work: _Work, pusher: Pusher, yes: bool) -> None:
    """Delete the collection's other documents, unless a part of the push failed or it was empty."""
    if work.tally.refused:
        return
    if not work.seen:
        raise Failure("Nothing was deleted: this push has no documents, so all would be missing.")
    existing = pusher.client.documents.list(pusher.collection)
    missing = [document.id for document in existing if document.id not in work.seen]
    if missing and not yes:
        count = render.counted(len(missing), "document")
        what = f"{count} of {pusher.collection} not in this push"
        render.require_confirmation(
            f"Delete {what}?", f"This deletes {what}.", "Nothing was deleted."
        )
    pusher.delete(missing)


def _note_what_is_next(work: _Work, *, deletes: bool) -> None:
    """After a partial push, explain what the same command will do, and how to fix the rest."""
    count = len(work.tally.refused)
    if not count or work.json:
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


def _require_whole(paths: list[Path], root: Path | None) -> None:
    """Raise Failure for a push of files or of a part of the root: all other documents would be deleted."""
    for path in paths:
        if not path.is_dir():
            raise Failure(
                f"--delete-missing takes folders only: everything but {path} would be deleted.",
                Exit.USAGE,
            )
    if root is not None and root.resolve() not in [path.resolve() for path in paths]:
        raise Failure(
            f"With --delete-missing and --root, name {root} itself:"
            " documents of all other folders would be deleted.",
            Exit.USAGE,
        )


def _require_encoding(name: str) -> None:
    try:
        "x".encode(name)
    except (LookupError, UnicodeError, ValueError):
        raise Failure(f"--encoding: unknown encoding {name}.", Exit.USAGE) from None


def _print_tally(work: _Work, collection: str) -> None:
    tally = work.tally
    counts = {name: getattr(tally, name) for name in ("created", "updated", "unchanged", "deleted")}
    if work.json:
        render.print_json({"collection": collection, **counts, "refused": _refused(work)})
        return
    parts = [f"{count:,} {name}" for name, count in counts.items() if count or name != "deleted"]
    if tally.refused:
        parts.append(f"{len(tally.refused):,} refused")
    render.print_line(f"{collection}: {', '.join(parts)}.")
    _note_others(work)


def _note_others(work: _Work) -> None:
    if work.search.others:
        render.note(f"Skipped {render.counted(work.search.others, 'file')} of an unsupported type.")
    if work.search.excluded:
        skipped = render.counted(work.search.excluded, "file or folder", "files or folders")
        render.note(f"Excluded {skipped}.")


def _refused(work: _Work) -> list[dict[str, str]]:
    return [asdict(refused) for refused in work.tally.refused]
