"""Which files of the named folders are pushed; hidden files and other kinds aside, none is left out in silence."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARKDOWN: Final = frozenset({".md", ".markdown"})
TEXT: Final = frozenset({".txt", ".text"})
LINES: Final = frozenset({".jsonl", ".ndjson"})


@dataclass(frozen=True, slots=True)
class Found:
    """A file to push: where it is, its path below the folder that was named, its size in bytes."""

    path: Path
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """What is not pushed: a file, or a line of one, and why."""

    source: str
    detail: str


@dataclass
class Search:
    """What was found below the paths that were named: files, faults, and how many files of other kinds."""

    files: list[Found]
    refused: list[Refused]
    others: int = 0


def find_files(paths: Sequence[Path]) -> Search:
    """The files to push: every named file, and those of known kinds in named folders, each folder's own files first."""
    search = Search([], [])
    for path in paths:
        if path.is_dir():
            _walk(path, search)
        else:
            _consider(path, path.name, None, search)
    return search


def _walk(root: Path, search: Search) -> None:
    def unreadable(error: OSError) -> None:
        search.refused.append(Refused(str(error.filename), f"cannot be read: {error.strerror}"))

    for folder, folders, names in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(folder)
        for name in folders:
            if (here / name).is_symlink():
                detail = "is a link to a folder; name it itself to push it"
                search.refused.append(Refused(str(here / name), detail))
        for name in sorted(name for name in names if not name.startswith(".")):
            if (here / name).suffix.lower() in MARKDOWN | TEXT | LINES:
                path = here / name
                _consider(path, path.relative_to(root).as_posix(), root, search)
            else:
                search.others += 1


def _consider(path: Path, name: str, root: Path | None, search: Search) -> None:
    """Takes the file, or tells why not. A link that was named itself may lead anywhere; one that was found, not."""
    try:
        status = path.stat()
        inside = root is None or not path.is_symlink() or _is_below(path, root)
    except OSError as error:
        search.refused.append(Refused(str(path), f"cannot be read: {error.strerror}"))
        return
    if not stat.S_ISREG(status.st_mode):
        search.refused.append(Refused(str(path), "is not a file"))
    elif not inside:
        search.refused.append(Refused(str(path), "is a link to a file outside the folder"))
    else:
        search.files.append(Found(path, name, status.st_size))


def _is_below(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())
