"""The cache of verified tokens. An entry counts for as long as a fresh read of its row would return the same.

An entry is found by the SHA-256 of the token, and nothing else of the token is stored. Only the text that was verified
before has that SHA-256, checksum and HMAC included: finding a second one is as hard as finding a token for a stored
digest. See docs/decisions/0015-verification-cache.md.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Final, Generic, TypeVar

from keystead.domain.instants import to_microseconds
from keystead.storage.freshness.generation_file import GENERATION, GenerationFile, is_generation

MAX_AGE: Final = 60_000_000
"""Microseconds an entry lives at most: a row that was changed without Keystead is read again after that."""

CAPACITY: Final = 100_000
"""Entries at most, of about 1.4 KB each."""

V = TypeVar("V")


_Entry = tuple[int, int, int, V]
"""The generation it was read under, the time from which it counts and the time until (microseconds), the value.

A plain tuple, because it is unpacked at every verification.
"""


class VerificationCache(Generic[V]):
    """Values of verified tokens, never of refused ones. Any number of threads may use it.

    Two halves take the place of a linked list of recent use: when the young half is full it becomes the old one, and
    what was not used since in the old one is dropped.
    """

    def __init__(self, file: GenerationFile, capacity: int = CAPACITY) -> None:
        self._file = file
        self._half = capacity // 2
        self._young: dict[bytes, _Entry[V]] = {}
        self._old: dict[bytes, _Entry[V]] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def get(self, token: str, now: int) -> V | None:
        """Return what a read that begins now would lead to, or None if this process can't know it."""
        name = sha256(token.encode("utf-8", "surrogatepass")).digest()
        entry = self._young.get(name) or self._rejuvenate(name)
        if entry is None:
            return None
        generation, since, until, value = entry
        # A revoking write changes the generation before it commits, so an entry that passes here was still true
        # when this call began. A clock that was set back (`since`) says nothing about an entry's age.
        if generation != self._file.words[GENERATION] or not since <= now < until:
            return None
        return value

    def generation(self) -> int:
        """Return the generation to store with a row. Read it before the row.

        In the other order a write between the two would be missed: an old row under a new generation.
        """
        generation = self._file.words[GENERATION]
        if not is_generation(generation):
            self._file.open()
        return generation

    def put(
        self, token: str, generation: int, value: V, now: int, expires_at: datetime | None = None
    ) -> None:
        """Store a value that follows from a row read after `generation` was, at `now` (microseconds)."""
        if not is_generation(generation):
            return
        until = now + MAX_AGE
        if expires_at is not None:
            until = min(until, to_microseconds(expires_at))
        name = sha256(token.encode("utf-8", "surrogatepass")).digest()
        self._insert(name, (generation, now, until, value))

    def _rejuvenate(self, name: bytes) -> _Entry[V] | None:
        entry = self._old.get(name)
        if entry is not None:
            self._insert(name, entry)
        return entry

    def _insert(self, name: bytes, entry: _Entry[V]) -> None:
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[name] = entry
