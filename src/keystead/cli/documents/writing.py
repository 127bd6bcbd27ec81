"""Writing files below one folder, and nowhere else: no link is followed, and each file appears as a whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import BinaryIO, Final, Self

from keystead.cli.outcome import Failure

_CHUNK: Final = 64 * 1024


class Unwritable(Exception):
    """A file that can't be written, and why."""


class TargetFolder:
    """A folder that files are written into. Every step below it opens a folder itself, never a link to one."""

    def __init__(self, root: Path, *, overwrite: bool) -> None:
        """Create the folder if it does not exist. Failure if that is impossible."""
        self._overwrite = overwrite
        self.written = self.unchanged = 0
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise Failure(f"Can't write into {root}: {error.strerror}.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._root)

    def put(self, path: str, content: bytes) -> None:
        """Write a file, unless it has that content. Raises Unwritable."""
        with self.writing(path) as file:
            file.write(content)

    def has_file(self, name: str) -> bool:
        """Return whether the folder itself has a file of that name."""
        with suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=self._root, follow_symlinks=False)
            return stat.S_ISREG(status.st_mode)
        return False

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """Yield a file to write; at the end of the block it becomes the file at `path`. Raises Unwritable."""
        *folders, name = path.split("/")
        try:
            folder = self._open_folder(folders)
        except OSError as error:
            raise Unwritable(f"its folder is a link, a file or closed: {error.strerror}") from None
        temporary = f".keystead-{token_hex(8)}"
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(temporary, flags, 0o666, dir_fd=folder), "w+b") as file:
                yield file
                file.flush()
                if self._is_due(folder, name, file):
                    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            raise Unwritable(f"can't be written: {error.strerror}") from None
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            os.close(folder)

    def _is_due(self, folder: int, name: str, file: BinaryIO) -> bool:
        """Return whether the file must be put in its place, and count it. Raises Unwritable for one in its way."""
        existing = _opened(name, folder)
        if existing is not None:
            with existing:
                if _is_same(existing, file):
                    self.unchanged += 1
                    return False
            if not self._overwrite:
                raise Unwritable("exists and differs: --overwrite replaces it")
        self.written += 1
        return True

    def _open_folder(self, names: list[str]) -> int:
        folder = os.dup(self._root)
        try:
            for name in names:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=folder)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                inner = os.open(name, flags, dir_fd=folder)
                os.close(folder)
                folder = inner
        except OSError:
            os.close(folder)
            raise
        return folder


def _opened(name: str, folder: int) -> BinaryIO | None:
    """Open an existing file, None without one. Raises Unwritable for a link, a folder or a device."""
    try:
        # Without waiting: a pipe would otherwise wait for its writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        opened = os.fdopen(os.open(name, flags, dir_fd=folder), "rb")
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise Unwritable("is a folder") from None
    if stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        return opened
    opened.close()
    raise Unwritable("is not a file")


def _is_same(first: BinaryIO, second: BinaryIO) -> bool:
    if os.fstat(first.fileno()).st_size != os.fstat(second.fileno()).st_size:
        return False
    second.seek(0)
    while part := first.read(_CHUNK):
        if part != second.read(len(part)):
            return False
    return True
