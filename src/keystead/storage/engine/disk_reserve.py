"""Disk space kept next to the embedded database, so that access can be revoked when there is no other space left."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from keystead.domain.errors import DiskFull

RESERVE_BYTES: Final = 1024 * 1024
"""A revocation needs some 50 KiB of SQLite's write-ahead log, which starts over after each: this is enough for any."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class DiskReserve:
    """A file of zeros. Revoking writes may use its space; the others wait until the file is whole again."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-reserve")

    def fill(self) -> None:
        """Make the reserve whole, before a write that can be refused. DiskFull if there is no space for it."""
        if self._size() == RESERVE_BYTES:
            return
        if self._free() < 2 * RESERVE_BYTES:
            raise DiskFull("The database has no room left.")
        try:
            self._write()
        except OSError as error:
            if error.errno in _FULL:
                self.release()
                raise DiskFull("The database has no room left.") from None

    def release_if_needed(self) -> bool:
        """Release the reserve to a revoking write if there is no other space. Returns whether it was released."""
        if self._free() >= RESERVE_BYTES:
            return False
        self.release()
        return True

    def release(self) -> None:
        """Empty the reserve."""
        with suppress(OSError):
            os.truncate(self._path, 0)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _free(self) -> int:
        """Return the free bytes; if they cannot be read, enough: SQLite then reports what is wrong with the place."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return 2 * RESERVE_BYTES
        return disk.f_bavail * disk.f_frsize

    def _write(self) -> None:
        # Written, not truncated to its length: a sparse file would reserve nothing.
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            missing = RESERVE_BYTES
            while missing:
                missing -= os.write(descriptor, bytes(missing))
        finally:
            os.close(descriptor)
