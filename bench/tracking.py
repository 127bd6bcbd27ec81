"""What the note of each use costs: verification with it and without, 1,000 keys in use, flushes included."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from bench.figures import ROUNDS, Figure, at_least, rates
from bench.installations import filled
from keystead.bootstrap.background import FLUSH_SECONDS
from keystead.services.usage import Usage
from keystead.services.verifier import Verifier

KEYS: Final = 1_000


class _Deaf(Usage):
    """Notes nothing."""

    def note(self, *_: Any) -> None:
        """Nothing."""

    def note_refusal(self, *_: Any) -> None:
        """Nothing."""


def figures(quick: bool) -> Iterator[Figure]:
    """Each round as long as the server waits between two flushes, and one flush.

    Where every verification reads its row the target is that of the whole; where most are answered from memory, the
    note is a large part of what is left, and an upper bound of what it takes of a request.
    """
    seconds = FLUSH_SECONDS / 10 if quick else FLUSH_SECONDS
    for kind, target in (("read", at_least(0.97)), ("stamp", None)):
        with filled(KEYS, verification=kind) as ground:
            heard = ground.installation.services.verifier
            parts = (heard._lookup, heard._peppers, heard._clock)
            deaf = Verifier(*parts, _Deaf(ground.installation.database), heard._cache)
            texts = [token.reveal() for token in ground.tokens]
            sides: tuple[list[float], list[float]] = ([], [])
            for verifier in (heard, deaf):
                _rate(verifier, texts, seconds / 10)
            for _ in range(ROUNDS):
                for verifier, side in zip((heard, deaf), sides, strict=True):
                    side.append(_rate(verifier, texts, seconds))
        name = f"verification ({kind}) with last use tracked, beside without, {KEYS:,} keys"
        yield rates(name, *sides, target)


def _rate(verifier: Verifier, texts: list[str], seconds: float) -> float:
    """Verifications in a second of processor time: each key in turn for `seconds`, and the flush of what was noted.

    Of processor time, because a server flushes beside its verifications, and whatever the disk takes meets neither.
    """
    begun, calls = time.process_time(), 0
    while time.process_time() - begun < seconds:
        for text in texts:
            verifier.verify(text, "documents:read", address="127.0.0.1", agent="bench")
        calls += len(texts)
    verifier._usage.flush()
    return calls / (time.process_time() - begun)
