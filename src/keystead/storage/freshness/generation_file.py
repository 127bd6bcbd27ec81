"""The generation file next to SQLite's: it says whether cached verifications are still valid.

It holds one 8-byte word, the generation. What a process read under a generation is valid while the file has that
generation. A write that may change access overwrites it with INVALID, commits, and publishes a new generation: the
first under SQLite's write lock, the last under that lock again. While it is INVALID every verification reads its row,
for any time. The argument is in docs/decisions/0015-verification-cache.md, the model in
tests/properties/test_generation_model.py.

Every process maps the file into memory, as SQLite does with its own `-shm` file, and with the same conditions: one
kernel, and the file must not be truncated or removed under a running server.
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

INVALID: Final = 0
"""The word while rows may change. Neither half of a generation is zero, so a torn read is not a generation either."""
GENERATION: Final = 3
"""The index of the word. Before it are the file's format, and the device and inode of the database."""

_FORMAT: Final = int.from_bytes(b"keystamp", "big")
_SIZE: Final = 8 * (GENERATION + 1)
_NO_WORDS: Final = memoryview(bytes(_SIZE)).cast("Q")
_HALF: Final = 0xFFFFFFFF
_OPEN: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW

_log = logging.getLogger(__name__)
_Identity = tuple[int, int]


class GenerationFile:
    """This process's view of the generation of one database. Without a file the generation is INVALID."""

    def __init__(self, database: Path) -> None:
        """Open nothing yet. `database` is SQLite's file, by any link to it."""
        self._database = database.resolve()
        self._path = self._database.with_name(f"{self._database.name}-stamp")
        self._own: _Identity | None = None
        self._mapped: _Identity | None = None
        self._is_inaccessible = False
        self._has_given_up = False
        self._has_warned = False
        self._locking = threading.Lock()
        self._connection: Any = None
        self.words = _NO_WORDS

    @property
    def is_invalid(self) -> bool:
        """Whether no earlier read is valid."""
        return self.words[GENERATION] == INVALID

    def open(self) -> None:
        """Map the file for a cache, and create it if there is none. During a write do nothing: call it again."""
        if self._mapped is not None or self._has_given_up:
            return
        with self._try_lock() as locked:
            # Created under the write lock: a writer that found no file cannot invalidate it, so it must have ended.
            if locked:
                self._follow(create=True)
                self._publish()

    def begin_write(self) -> None:
        """Map the current file at the start of a write, under its lock.

        If it is INVALID now, the writer that left it so has committed, rolled back or died: this one has the lock.
        """
        self._follow(create=False)
        if self.is_invalid:
            self._publish()

    def invalidate(self) -> None:
        """Invalidate every earlier read, under the write lock and before rows change. Unavailable if it cannot."""
        if self._is_inaccessible:
            raise Unavailable("The generation file next to the database cannot be written.")
        if self._mapped is not None:
            self.words[GENERATION] = INVALID

    def publish(self) -> None:
        """Publish a new generation after a write, under the lock. If another write has the lock, it will publish."""
        if self._mapped is None or not self.is_invalid:
            return
        with self._try_lock() as locked:
            if locked:
                self._publish()

    def close(self) -> None:
        """Unmap the file, which stays."""
        with self._locking:
            self.words, self._mapped = _NO_WORDS, None
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # --- under the lock ---

    def _publish(self) -> None:
        """Publish a new generation: no writer is between its invalidation and its commit.

        The file of another database, as in a copied folder, is under another lock and is left alone.
        """
        if self._is_own():
            self.words[GENERATION] = _new_generation()

    def _is_own(self) -> bool:
        return tuple(self.words[1:GENERATION]) == self._own

    def _follow(self, *, create: bool) -> None:
        """Map the file that has the name now; the one that had it before is left INVALID permanently."""
        database = _identity(self._database)
        self._own = self._own or database
        if database is None or database != self._own:
            self._unmap()
            self._warn("the database was replaced under this process, or moved away")
            return
        current = _identity(self._path)
        if current is None or current != self._mapped:
            self._unmap()
            self._is_inaccessible = current is not None and not self._map()
        if create and not self._is_inaccessible and not self._is_own():
            self._unmap()
            self._create(database)

    def _unmap(self) -> None:
        if self._mapped is not None:
            self.words[GENERATION] = INVALID
            self.words, self._mapped = _NO_WORDS, None

    def _map(self) -> bool:
        """Map the file if it is a generation file. Returns whether it could be opened."""
        try:
            file = os.open(self._path, _OPEN)
        except OSError as error:
            self._give_up(f"{self._path} cannot be opened: {error.strerror}")
            return False
        try:
            status = os.fstat(file)
            if status.st_size == _SIZE:
                words = memoryview(mmap.mmap(file, _SIZE)).cast("Q")
                if words[0] == _FORMAT:
                    self.words, self._mapped = words, (status.st_dev, status.st_ino)
        finally:
            os.close(file)
        return True

    def _create(self, database: _Identity) -> None:
        words = memoryview(bytearray(_SIZE)).cast("Q")
        words[0], words[1], words[2] = _FORMAT, *database
        try:
            _write_file(self._path, bytes(words), like=self._database)
        except OSError as error:
            self._give_up(f"{self._path} cannot be made: {error.strerror}")
            return
        self._map()

    # --- the lock ---

    @contextmanager
    def _try_lock(self) -> Iterator[bool]:
        """Take SQLite's write lock without waiting, and yield whether it was free."""
        with self._locking:
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
        self._has_given_up = True
        self._warn(reason)

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning("every verification reads its row: %s", reason)


def is_generation(word: int) -> bool:
    """Return whether the word was published: not INVALID, nor torn between INVALID and a generation."""
    return bool(word & _HALF and word >> 32)


def _new_generation() -> int:
    """Return a word that was never published before."""
    while not is_generation(word := int.from_bytes(os.urandom(8), "big")):
        pass
    return word


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _write_file(path: Path, content: bytes, *, like: Path) -> None:
    """Put a whole file in place, with the other one's permissions, and its owner if this process is root."""
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
