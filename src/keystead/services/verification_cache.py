"""Tokens that this process has verified, remembered for as long as a read of their rows would find the same.

Nothing is remembered of a token but its SHA-256. Whoever shows a text with that SHA-256 shows the text that passed
before, checksum, HMAC and all: to find another such text is beyond anybody, as it is to find one for a stored digest.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

from keystead.domain.ids import KeyId
from keystead.domain.instants import to_microseconds
from keystead.domain.token import Token
from keystead.domain.verification import DenialReason, Denied, Verification, Verified
from keystead.storage.freshness.generation_file import GENERATION, GenerationFile, is_generation

KEPT: Final = 60_000_000
"""Microseconds after which a row is read again all the same: so long lives what was changed without Keystead."""

CAPACITY: Final = 100_000
"""How many tokens are remembered at most, by some 1.4 KB each."""


class _Known(NamedTuple):
    """What is remembered of a token; it counts while the word is `stamp`, from `since` on and before `until`."""

    stamp: int
    since: int
    until: int
    verified: Verified
    too_narrow: Denied


class Memory:
    """Remembers who verified tokens speak for, never who was refused. Any number of threads may use it."""

    def __init__(self, generation_file: GenerationFile, capacity: int = CAPACITY) -> None:
        self._generation_file = generation_file
        self._half = capacity // 2
        self._young: dict[bytes, _Known] = {}
        self._old: dict[bytes, _Known] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def recall(self, text: str, required: str | None, now: int) -> Verification | None:
        """What a read that begins now would lead to; None where this process cannot tell."""
        name = _name(text)
        known = self._young.get(name) or self._recall_old(name)
        if known is None:
            return None
        stamp, since, until, verified, too_narrow = known
        if stamp != self._generation_file.words[GENERATION] or not since <= now < until:
            return None
        if required is None or verified.principal.scopes.permit(required):
            return verified
        return too_narrow

    def word(self) -> int:
        """The word, to be read before the row is; kept with what the row led to."""
        word = self._generation_file.words[GENERATION]
        if not is_generation(word):
            self._generation_file.open()
        return word

    def keep(self, token: Token, word: int, verdict: Verification, now: int) -> None:
        """Remembers the verdict at `now` (microseconds) on a row that was read after `word` was."""
        if not isinstance(verdict, Verified) or not is_generation(word):
            return
        principal = verdict.principal
        until = now + KEPT
        if principal.expires_at is not None:
            until = min(until, to_microseconds(principal.expires_at))
        too_narrow = Denied(
            DenialReason.INSUFFICIENT_SCOPE, KeyId(principal.id), principal.workspace_id
        )
        self._put(_name(token.reveal()), _Known(word, now, until, verdict, too_narrow))

    def _recall_old(self, name: bytes) -> _Known | None:
        """What was not asked for since the halves were changed; asked for again, it stays."""
        known = self._old.get(name)
        if known is not None:
            self._put(name, known)
        return known

    def _put(self, name: bytes, known: _Known) -> None:
        """When the young half is full it becomes the old one, and what nobody asked for since is forgotten."""
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[name] = known


def _name(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
