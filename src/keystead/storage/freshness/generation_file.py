"""The stamp: one word in a small file beside SQLite's, by which processes know whether what they remember still holds.

What a process read while the word had a value holds for as long as the word has it. A write that may end authority puts
the mark "in doubt" into the word, commits, and puts a fresh value there: the first while it holds SQLite's write lock,
the last under that lock again. While the mark stands everybody reads rows, and it may stand for any time. The argument
is in docs/decisions/0015-verifying-from-memory.md, the model in tests/properties/test_stamp_model.py.

The file is mapped into memory by every process, as SQLite's own `-shm` file is, and needs no more of the machine than
that one: one kernel, and nobody who truncates or removes it under a running server.
"""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from keystead.domain.errors import Unavailable
from keystead.storage.engine.connections import open_existing, sqlite_driver

MARK: Final = 0
"""The word while rows may change. No half of a stamp is zero: what a torn read finds is no stamp either."""
WORD: Final = 3
"""The place of the word. Before it stand the form of the file, and device and inode of the database."""

_FORM: Final = int.from_bytes(b"keystamp", "big")
_SIZE: Final = 8 * (WORD + 1)
_NO_WORDS: Final = memoryview(bytes(_SIZE)).cast("Q")
_HALF: Final = 0xFFFFFFFF
_OPEN: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW

_log = logging.getLogger(__name__)
_Identity = tuple[int, int]


class Stamp:
    """This process's view of the word of one database. Where there is no file, the mark stands."""

    def __init__(self, database: Path) -> None:
        """Opens nothing yet. `database` is SQLite's file, by whatever links it is named."""
        self._database = database.resolve()
        self._path = self._database.with_name(f"{self._database.name}-stamp")
        self._own: _Identity | None = None
        self._mapped: _Identity | None = None
        self._shut_out = False
        self._given_up = False
        self._warned = False
        self._one_at_a_time = threading.Lock()
        self._connection: Any = None
        self.words = _NO_WORDS

    @property
    def in_doubt(self) -> bool:
        """Whether nothing that was read before holds."""
        return self.words[WORD] == MARK

    def attach(self) -> None:
        """For who remembers: finds the file, or makes it. Nothing, while somebody writes: the next call will do it."""
        if self._mapped is not None or self._given_up:
            return
        with self._lock_at_once() as locked:
            if locked:
                self._follow(make=True)
                self._renew()

    def enter(self) -> None:
        """A write holds the lock: finds the file, and puts a fresh stamp where a writer that died left the mark."""
        self._follow(make=False)
        if self.in_doubt:
            self._renew()

    def doubt(self) -> None:
        """A write that holds the lock is about to change rows: the mark. Unavailable where it may not be put."""
        if self._shut_out:
            raise Unavailable("The stamp beside the database cannot be written.")
        if self._mapped is not None:
            self.words[WORD] = MARK

    def settle(self) -> None:
        """A write has ended: takes the mark away, under the lock. Who holds that now will do it at their own end."""
        if self._mapped is None or not self.in_doubt:
            return
        with self._lock_at_once() as locked:
            if locked:
                self._renew()

    def close(self) -> None:
        """Lets go of the file, which stays."""
        with self._one_at_a_time:
            self.words, self._mapped = _NO_WORDS, None
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # --- under the lock ---

    def _renew(self) -> None:
        """A fresh stamp: nobody is between mark and commit. Another database's file has another lock, and is let be."""
        if self._is_ours():
            self.words[WORD] = _fresh()

    def _is_ours(self) -> bool:
        return tuple(self.words[1:WORD]) == self._own

    def _follow(self, *, make: bool) -> None:
        """Maps the file that bears the name now; the one that bore it before is left with the mark in it, for good."""
        database = _identity(self._database)
        self._own = self._own or database
        if database is None or database != self._own:
            self._leave()
            self._warn("the database was replaced under this process, or moved away")
            return
        found = _identity(self._path)
        if found is None or found != self._mapped:
            self._leave()
            self._shut_out = found is not None and not self._map()
        if make and not self._shut_out and not self._is_ours():
            self._leave()
            self._make(database)

    def _leave(self) -> None:
        if self._mapped is not None:
            self.words[WORD] = MARK
            self.words, self._mapped = _NO_WORDS, None

    def _map(self) -> bool:
        """Whether the file could be opened; mapped is only what has the form of a stamp."""
        try:
            file = os.open(self._path, _OPEN)
        except OSError as error:
            self._give_up(f"{self._path} cannot be opened: {error.strerror}")
            return False
        try:
            status = os.fstat(file)
            if status.st_size == _SIZE:
                words = memoryview(mmap.mmap(file, _SIZE)).cast("Q")
                if words[0] == _FORM:
                    self.words, self._mapped = words, (status.st_dev, status.st_ino)
        finally:
            os.close(file)
        return True

    def _make(self, database: _Identity) -> None:
        words = memoryview(bytearray(_SIZE)).cast("Q")
        words[0], words[1], words[2] = _FORM, *database
        try:
            _write_file(self._path, bytes(words), like=self._database)
        except OSError as error:
            self._give_up(f"{self._path} cannot be made: {error.strerror}")
            return
        self._map()

    # --- the lock ---

    @contextmanager
    def _lock_at_once(self) -> Iterator[bool]:
        """Whether SQLite's write lock could be had without a wait."""
        with self._one_at_a_time:
            locked = self._take_lock()
            try:
                yield locked
            finally:
                if locked:
                    self._connection.execute("ROLLBACK")

    def _take_lock(self) -> bool:
        try:
            if self._connection is None:
                self._connection = open_existing(
                    self._database, timeout=0, isolation_level=None, check_same_thread=False
                )
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite_driver.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if not name.startswith("SQLITE_BUSY"):
                self._give_up(f"the database cannot be locked ({name})")
            return False
        return True

    def _give_up(self, reason: str) -> None:
        self._given_up = True
        self._warn(reason)

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("every verification reads its row: %s", reason)


def is_stamp(word: int) -> bool:
    """Whether it can have been put there as a stamp: not the mark, and not torn between the mark and a stamp."""
    return bool(word & _HALF and word >> 32)


def _fresh() -> int:
    """A stamp that was never there before."""
    while not is_stamp(word := int.from_bytes(os.urandom(8), "big")):
        pass
    return word


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _write_file(path: Path, content: bytes, *, like: Path) -> None:
    """Puts a whole file in place, with the rights of the other one, and its owner where root may give it away."""
    file, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        status = like.stat()
        os.fchmod(file, status.st_mode & 0o777)
        if os.geteuid() == 0:
            os.fchown(file, status.st_uid, status.st_gid)
        os.write(file, content)
    finally:
        os.close(file)
    Path(draft).replace(path)
