"""Room kept on the disk beside the embedded database, so that authority can be ended where there is no other left."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from keystead.domain.errors import DiskFull

RESERVE_BYTES: Final = 1024 * 1024
"""A revocation needs some 50 KiB of SQLite's journal, which begins anew after each: this is room enough for any."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Reserve:
    """A file that holds nothing. Writes that end authority may have its room; the others wait until it is whole."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-reserve")

    def keep(self) -> None:
        """For a write that can be refused: the reserve is whole. DiskFull where there is no room for it."""
        if self._size() == RESERVE_BYTES:
            return
        if self._free() < 2 * RESERVE_BYTES:
            raise DiskFull("The database has no room left.")
        try:
            self._fill()
        except OSError as error:
            if error.errno in _FULL:
                self.release()
                raise DiskFull("The database has no room left.") from None

    def give(self) -> bool:
        """For a write that ends authority: where there is no other room, it has the reserve's. Whether that is so."""
        if self._free() >= RESERVE_BYTES:
            return False
        self.release()
        return True

    def release(self) -> None:
        """Nothing is kept any more, until there is room again."""
        with suppress(OSError):
            os.truncate(self._path, 0)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _free(self) -> int:
        """Bytes; enough, where that is not to be known: then SQLite says what is wrong with the place."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return 2 * RESERVE_BYTES
        return disk.f_bavail * disk.f_frsize

    def _fill(self) -> None:
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            left = RESERVE_BYTES
            while left:
                left -= os.write(descriptor, bytes(left))
        finally:
            os.close(descriptor)
