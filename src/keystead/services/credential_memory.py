"""Credentials that this process has checked, remembered under the stamp as keys are.

Nothing is remembered of a token but its SHA-256, as in `memory`: see docs/decisions/0015-verifying-from-memory.md.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

from keystead.domain.credentials import ActingCredential
from keystead.services.verification_cache import KEPT
from keystead.storage.freshness.generation_file import WORD, Stamp, is_stamp

CAPACITY: Final = 1_000
"""How many are remembered at most; one more, and all are forgotten. A product has a few services, not thousands."""


class _Known(NamedTuple):
    """Counts while the word is `stamp`, from `since` on and before `until`."""

    stamp: int
    since: int
    until: int
    credential: ActingCredential


class CredentialMemory:
    """Remembers who the tokens of checked credentials are of, never who was refused."""

    def __init__(self, stamp: Stamp, capacity: int = CAPACITY) -> None:
        self._stamp = stamp
        self._capacity = capacity
        self._known: dict[bytes, _Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def recall(self, text: str, now: int) -> ActingCredential | None:
        """Whose token that is, as a read that begins now would find; None where this process cannot tell."""
        known = self._known.get(_name(text))
        if known is None or known.stamp != self._stamp.words[WORD]:
            return None
        return known.credential if known.since <= now < known.until else None

    def word(self) -> int:
        """The word, to be read before the row is; kept with what the row led to."""
        word = self._stamp.words[WORD]
        if not is_stamp(word):
            self._stamp.attach()
        return word

    def keep(self, text: str, word: int, credential: ActingCredential, now: int) -> None:
        """Remembers who that is by a row that was read after `word` was, and `now` (microseconds)."""
        if not is_stamp(word):
            return
        if len(self._known) >= self._capacity:
            self._known.clear()
        self._known[_name(text)] = _Known(word, now, now + KEPT, credential)


def _name(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
