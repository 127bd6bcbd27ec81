"""The files of a push: named ones and those in named folders, without excluded ones."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import Final

from keystead.client.errors import InvalidValue

MARKDOWN: Final = frozenset({".md", ".markdown"})
TEXT: Final = frozenset({".txt", ".text"})
LINES: Final = frozenset({".jsonl", ".ndjson"})


@dataclass(frozen=True, slots=True)
class Found:
    """A file to push: its path, its name below the base folder, its size in bytes."""

    path: Path
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file or line that is not pushed, and why."""

    source: str
    detail: str


@dataclass
class Search:
    """The result of a search: files, refused files, and the numbers of files of other types and of excluded ones."""

    files: list[Found]
    refused: list[RefusedFile]
    others: int = 0
    excluded: int = 0


@dataclass(frozen=True, slots=True)
class _Base:
    """The folder that names are relative to, and its exclusions."""

    folder: Path
    exclusions: Exclusions

    def name(self, path: Path) -> str:
        """Return the path below the folder. Raises InvalidValue for one outside it."""
        try:
            return _absolute(path).relative_to(self.folder).as_posix()
        except ValueError:
            raise InvalidValue(f"{path} is not below the root {self.folder}.") from None


def find_files(
    paths: Sequence[Path], root: Path | None = None, exclude: Sequence[str] = ()
) -> Search:
    """Return the files to push: named files, and files of known types in named folders.

    Names are relative to `root`, else to the named folder or the named file's folder. `exclude` and that folder's
    `.keysteadignore` contain patterns of names to leave out.
    """
    search = Search([], [])
    for path in paths:
        folder = _absolute(root or (path if path.is_dir() else path.parent))
        base = _Base(folder, Exclusions([*exclude, *patterns_of(folder)]))
        if path.is_dir():
            _walk(path, base, search)
        elif base.exclusions.cover(name := base.name(path)):
            search.excluded += 1
        else:
            _consider(path, name, None, search)
    return search


def _walk(root: Path, base: _Base, search: Search) -> None:
    def is_excluded(path: Path, is_folder: bool = False) -> bool:
        excluded = base.exclusions.cover(base.name(path), is_folder=is_folder)
        search.excluded += excluded
        return excluded

    def unreadable(error: OSError) -> None:
        search.refused.append(RefusedFile(str(error.filename), f"can't be read: {error.strerror}"))

    for folder, folders, names in os.walk(root, onerror=unreadable):
        here = Path(folder)
        shown = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in shown if not is_excluded(here / name, is_folder=True)]
        for name in folders:
            if (here / name).is_symlink():
                detail = "is a link to a folder; name the folder to push it"
                search.refused.append(RefusedFile(str(here / name), detail))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = here / name
            if path.suffix.lower() not in MARKDOWN | TEXT | LINES:
                search.others += 1
            elif not is_excluded(path):
                _consider(path, base.name(path), root, search)


def _consider(path: Path, name: str, root: Path | None, search: Search) -> None:
    """Add the file or the reason to refuse it. A link in a searched folder (`root`) must not lead out of it."""
    try:
        status = path.stat()
        inside = root is None or not path.is_symlink() or _is_below(path, root)
    except OSError as error:
        search.refused.append(RefusedFile(str(path), f"can't be read: {error.strerror}"))
        return
    if not stat.S_ISREG(status.st_mode):
        search.refused.append(RefusedFile(str(path), "is not a file"))
    elif not inside:
        search.refused.append(RefusedFile(str(path), "is a link to a file outside the folder"))
    else:
        search.files.append(Found(path, name, status.st_size))


def _absolute(path: Path) -> Path:
    """Return the path without dots but with its links: a document keeps the name that the user sees."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _is_below(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


IGNORE_FILE: Final = ".keysteadignore"
_PART: Final = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?\]?[^\]/]{0,200}\]|.", re.DOTALL)
_WILD: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Exclusions:
    """Patterns for paths below a folder, written as in .gitignore.

    Without a slash, a pattern matches a name at any depth; with a slash, a path below the folder; with a slash at its
    end, only folders. `*` and `?` don't match a slash, `**` does.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile the patterns. Raises InvalidValue for one that begins with `!`, which would include files again."""
        self._patterns = [_compiled(pattern) for pattern in patterns]

    def cover(self, name: str, *, is_folder: bool = False) -> bool:
        """Return whether the path, or a folder above it, is excluded."""
        parts = name.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        return self._match(name, is_folder) or any(self._match(folder, True) for folder in above)

    def _match(self, name: str, is_folder: bool) -> bool:
        return any(
            (is_folder or not folders_only) and pattern.fullmatch(name)
            for pattern, folders_only in self._patterns
        )


def patterns_of(folder: Path) -> list[str]:
    """Return the patterns of a folder's `.keysteadignore`, if it has one. Raises InvalidValue if it can't be read."""
    file = folder / IGNORE_FILE
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidValue(f"Can't read {file}: {why}.") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _compiled(pattern: str) -> tuple[re.Pattern[str], bool]:
    if pattern.startswith("!"):
        raise InvalidValue(f"The pattern {pattern} can't begin with !: patterns only exclude.")
    path = pattern.rstrip("/")
    anywhere = "" if "/" in path else "(?:.*/)?"
    return re.compile(anywhere + "".join(_parts(path.lstrip("/"))), re.DOTALL), pattern != path


def _parts(path: str) -> Iterator[str]:
    for part in _PART.findall(path):
        if part in _WILD:
            yield _WILD[part]
        elif len(part) > 1:
            # fnmatch returns `(?s:[...])\Z` and handles reversed ranges, which `re` refuses.
            translated = translate(part.replace("[^", "[!", 1))
            yield f"(?!/){translated.removeprefix('(?s:').rpartition(')')[0]}"
        else:
            yield re.escape(part)
