"""The journal of endings: a file apart from the database, which a restored backup does not take back."""

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

_log = Logger("keystead.journal")


class Journal:
    """Acts that took authority away, one a line, in the order in which this server's processes acknowledged them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, endings: Sequence[RevocationEntry]) -> None:
        """On disk when this returns. What cannot be written is said in the log: the acts themselves are done."""
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            try:
                _write(descriptor, format_entries(endings))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            _log.error("journal not written", error=error.strerror, acts=len(endings))

    def read(self) -> list[RevocationEntry]:
        """All of it; nothing where there is no file."""
        try:
            return parse_entries(self.path.read_bytes())
        except FileNotFoundError:
            return []

    def settle(self, redone: Iterable[RevocationEntry]) -> None:
        """After a restore: keep the acts that it has `redone`, whose numbers say nothing of the new database.

        What the restore itself has appended keeps its numbers, by which another restore of the same backup knows it.
        """
        before = dict.fromkeys(redone)
        appended = [one for one in self.read() if one not in before]
        acts = [replace(one, sequence=0) for one in before]
        overwrite(self.path, format_entries([*acts, *appended]))


def _write(descriptor: int, lines: bytes) -> None:
    """In one write, so that lines of several processes do not mix."""
    if os.write(descriptor, lines) < len(lines):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
