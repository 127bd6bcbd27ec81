"""The cost of recording each use: verification with and without it, 1,000 keys in use, flushes included."""

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


class _NoUsage(Usage):
    """A substitute that records nothing."""

    def note(self, *_: Any) -> None:
        """Do nothing."""

    def note_refusal(self, *_: Any) -> None:
        """Do nothing."""


def figures(quick: bool) -> Iterator[Figure]:
    """Measure rounds as long as the server waits between two flushes, and one flush.

    If every verification reads its row, the target is that of the whole. If most are cached, the note
    is a large part of what is left, and an upper bound of what it takes of a request.
    """
    seconds = FLUSH_SECONDS / 10 if quick else FLUSH_SECONDS
    for kind, target in (("read", at_least(0.97)), ("stamp", None)):
        with filled(KEYS, verification=kind) as setup:
            with_usage = setup.installation.services.verifier
            parts = (with_usage._lookup, with_usage._peppers, with_usage._clock)
            uses = _NoUsage(setup.installation.database), with_usage._first_uses
            without_usage = Verifier(*parts, *uses, with_usage._cache)
            texts = [token.reveal() for token in setup.tokens]
            sides: tuple[list[float], list[float]] = ([], [])
            for verifier in (with_usage, without_usage):
                _rate(verifier, texts, seconds / 10)
            for _ in range(ROUNDS):
                for verifier, side in zip((with_usage, without_usage), sides, strict=True):
                    side.append(_rate(verifier, texts, seconds))
        name = f"verification ({kind}) with last use tracked, vs. without, {KEYS:,} keys"
        yield rates(name, *sides, target)


def _rate(verifier: Verifier, texts: list[str], seconds: float) -> float:
    """Return verifications in a second of processor time: each key in turn for `seconds`, and the flush.

    Processor time, because a server flushes in parallel, and the disk's share affects neither.
    """
    started, calls = time.process_time(), 0
    while time.process_time() - started < seconds:
        for text in texts:
            verifier.verify(text, "documents:read", address="127.0.0.1", agent="bench")
        calls += len(texts)
    verifier._usage.flush()
    return calls / (time.process_time() - started)
