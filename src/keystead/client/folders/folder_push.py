"""A push of files and folders: its batches, what is refused, and the results so far. It sends nothing itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

from keystead.client.errors import InvalidValue, Problem, UnexpectedAnswer
from keystead.client.folders.files import Ready, Shaping, read_documents
from keystead.client.folders.found import RefusedFile, find_files
from keystead.client.results import PushReport
from keystead.domain.documents import MAX_PUSH

BATCH_BYTES: Final = 4 * 1024 * 1024
"""The largest batch, well below the API's 10 MiB: it is one transaction, and repeated after a failure."""

_ENTRY: Final = re.compile(r"/upsert/(\d+)(?:/(.*))?")

Batch = Sequence[Ready]


@dataclass
class FolderReport:
    """The results of a push of files so far: the numbers of documents, and what could not be pushed."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    refused: list[RefusedFile] = field(default_factory=list)

    @property
    def pushed(self) -> int:
        """The number of documents that the server has accepted."""
        return self.created + self.updated + self.unchanged

    def add(self, report: PushReport) -> None:
        """Add the report of a batch."""
        self.created += report.created
        self.updated += report.updated
        self.unchanged += report.unchanged
        self.deleted += report.deleted


class FolderPush:
    """The files of a push, found when it is made and read while it is sent, and the report so far."""

    def __init__(
        self,
        *paths: Path | str,
        root: Path | str | None = None,
        exclude: Sequence[str] = (),
        encoding: str = "utf-8",
        link: str | None = None,
        modified: bool = False,
        on_refused: Callable[[RefusedFile], None] | None = None,
    ) -> None:
        """Find the files.

        Args:
            paths: Files, and folders to search for Markdown, text and JSON lines.
            root: The folder that ids are made relative to; by default the named folder.
            exclude: Patterns of files and folders to leave out, written like .gitignore's.
            encoding: The encoding of Markdown and text.
            link: The URL before the path of each document's own.
            modified: Whether to store each file's time of change.
            on_refused: Called with each file or line that can't be pushed; the report lists them too.

        Raises:
            InvalidValue: A pattern, an encoding or a path is unusable.
        """
        _require_encoding(encoding)
        self.report, self.is_sent = FolderReport(), False
        self.ids: dict[str, str] = {}
        self._paths, self._root = list(map(Path, paths)), None if root is None else Path(root)
        self._search = find_files(self._paths, self._root, exclude)
        self._shaping, self._on_refused = Shaping(link, modified, encoding), on_refused
        self.excluded, self.others = self._search.excluded, self._search.others

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found, not even what can't be pushed."""
        return not self._search.files and not self._search.refused

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self._search.files)

    def batches(self, advance: Callable[[int], None] | None = None) -> Iterator[Batch]:
        """Yield the documents in batches, each id once; `advance` gets the size of each file that was read.

        A repeated push starts from the beginning: what an interrupted one had read was perhaps never sent.
        """
        self.report, self.is_sent, self.ids = FolderReport(), False, {}
        yield from batches(unrepeated(self._documents(advance), self.ids, self._refuse))
        self.is_sent = True

    def require_whole(self) -> None:
        """Raise InvalidValue for files or a part of the root: as a whole, all other documents would be missing."""
        for path in self._paths:
            if not path.is_dir():
                raise InvalidValue(
                    f"Deleting what is missing takes folders only: everything but {path} would be deleted."
                )
        root = self._root
        if root is not None and root.resolve() not in [path.resolve() for path in self._paths]:
            raise InvalidValue(
                f"To delete what is missing below a root, name {root} itself:"
                " documents of all other folders would be deleted."
            )

    def without_refused(self, batch: Batch, error: Problem | UnexpectedAnswer) -> list[Batch]:
        """Return what to send instead of a refused batch; the refused documents are reported.

        It is sent in halves if a proxy accepts less than the server would. Raises `error` if it is about the whole.
        """
        if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(batch) > 1:
            middle = len(batch) // 2
            return [batch[:middle], batch[middle:]]
        refused = _refused_entries(error)
        if not refused:
            raise error
        for index, detail in refused.items():
            self._refuse(RefusedFile(batch[index].source, detail))
        rest = [document for index, document in enumerate(batch) if index not in refused]
        return [rest] if rest else []

    def _refuse(self, refused: RefusedFile) -> None:
        self.report.refused.append(refused)
        if self._on_refused is not None:
            self._on_refused(refused)

    def _documents(self, advance: Callable[[int], None] | None) -> Iterator[Ready | RefusedFile]:
        yield from self._search.refused
        for file in self._search.files:
            yield from read_documents(file, self._shaping)
            if advance is not None:
                advance(file.size)


def unrepeated(
    documents: Iterable[Ready | RefusedFile],
    seen: dict[str, str],
    refuse: Callable[[RefusedFile], None],
) -> Iterator[Ready]:
    """Yield the documents, refusing repeated ids and documents that can't be pushed."""
    for document in documents:
        if isinstance(document, RefusedFile):
            refuse(document)
        elif document.id not in seen:
            seen[document.id] = document.source
            yield document
        elif (first := seen[document.id]) != document.source:
            refuse(RefusedFile(document.source, f"has the id {document.id}, like {first}"))


def batches(documents: Iterable[Ready]) -> Iterator[list[Ready]]:
    """Yield the documents in batches of at most 1,000 and about 4 MiB."""
    batch: list[Ready] = []
    size = 0
    for document in documents:
        if batch and (len(batch) == MAX_PUSH or size + document.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += document.size + 1
    if batch:
        yield batch


def _require_encoding(name: str) -> None:
    try:
        "x".encode(name)
    except (LookupError, UnicodeError, ValueError):
        raise InvalidValue(f"Unknown encoding {name}.") from None


def _refused_entries(error: Problem | UnexpectedAnswer) -> dict[int, str]:
    """Return the refused entries of the batch with the reasons; empty if the error is about the whole batch."""
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return {0: "is larger than the server accepts"}
    if not isinstance(error, Problem) or error.code != "invalid":
        return {}
    entries: dict[int, str] = {}
    for fault in error.errors:
        match = _ENTRY.fullmatch(fault.pointer)
        if match is None:
            return {}
        index, detail = int(match[1]), f"{match[2] or 'the document'} {fault.detail}"
        entries[index] = f"{entries[index]}; {detail}" if index in entries else detail
    return entries
