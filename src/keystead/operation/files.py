"""Files and folders that only their owner may read, and the refusal of those that others can."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from keystead.operation.faults import ConfigurationError

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
STRANGERS: Final = stat.S_IRWXO | stat.S_IWGRP
"""For the database a reading group is allowed, such as one that makes backups."""


def make_folder(path: Path) -> None:
    """The folder with mode 0700, where there is none yet."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The data folder {path} cannot be made: {error.strerror}."
        ) from None


def make_empty_file(path: Path) -> None:
    """An empty file with mode 0600, where there is none yet: SQLite's other files take over its mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def require_private(path: Path, what: str, forbidden: int = OTHERS) -> None:
    """ConfigurationError where others have one of the `forbidden` rights on an existing file or folder."""
    with suppress(FileNotFoundError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & forbidden:
            kept = mode & ~forbidden
            raise ConfigurationError(
                f"{what} {path} is open to others (mode {mode:04o}); run: chmod {kept:04o} {path}"
            )


def write_once(path: Path, content: bytes) -> bool:
    """A file with mode 0600 that appears whole and synced, or not at all; False where it was there already.

    Of several processes that do this at once, one wins; nothing is ever overwritten.
    """
    with draft_of(path) as draft:
        _write_synced(draft, content)
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
    sync_folder(path.parent)
    return True


def overwrite(path: Path, content: bytes) -> None:
    """Replace the file by one with mode 0600 that appears whole and synced."""
    with draft_of(path) as draft:
        _write_synced(draft, content)
        draft.replace(path)
    sync_folder(path.parent)


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Make an empty file of mode 0600 beside `path`, under a random name; remove what is left of it at the end.

    The name cannot be guessed and the file is always new (O_EXCL): in a folder that others may write to, a file or
    link that somebody has put there is never written through.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    draft = Path(name)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Has the names in the folder on disk, as they are."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
