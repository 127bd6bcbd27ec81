"""The revocation log: a file outside the database, so that restoring a backup cannot undo a revocation."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from keystead.domain.revocation_log import RevocationEntry, format_entries, parse_entries
from keystead.logger import Logger
from keystead.operation.files import overwrite

FILE_NAME: Final = "endings"

_log = Logger("keystead.revocation_log")


class RevocationLogFile:
    """Acts that revoked access, one per line, in the order in which this server's processes acknowledged them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, endings: Sequence[RevocationEntry]) -> None:
        """Append the acts and sync them. A failed write is logged, not raised: the acts are committed."""
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            try:
                _write(descriptor, format_entries(endings))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            _log.error("revocation log not written", error=error.strerror, acts=len(endings))

    def read(self) -> list[RevocationEntry]:
        """Return all acts; an empty list if there is no file."""
        try:
            return parse_entries(self.path.read_bytes())
        except FileNotFoundError:
            return []

    def settle(self, redone: Iterable[RevocationEntry]) -> None:
        """Rewrite the log after a restore: the acts that it has `redone` lose their sequence numbers.

        Those numbers mean nothing in the restored database. What the restore itself appended keeps
        its numbers, by which another restore of the same backup recognizes it.
        """
        before = dict.fromkeys(redone)
        appended = [ending for ending in self.read() if ending not in before]
        acts = [replace(ending, sequence=0) for ending in before]
        overwrite(self.path, format_entries([*acts, *appended]))


def _write(descriptor: int, lines: bytes) -> None:
    # One write with O_APPEND, so that lines of several processes do not mix.
    if os.write(descriptor, lines) < len(lines):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
