"""Memory that a process needs for each token in its cache."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from typing import Final

from bench.figures import Figure, compared
from bench.installations import filled

KEYS: Final = 20_000


def figures(quick: bool) -> Iterator[Figure]:
    """Measure bytes that Python allocates for each, in addition to those of the token's own text."""
    keys = KEYS // 10 if quick else KEYS
    with filled(keys, verification="stamp", sampled=keys) as setup:
        verify = setup.installation.services.verifier.verify
        texts = [token.reveal() for token in setup.tokens]
        verify(texts[0])
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for text in texts[1:]:
            verify(text)
        setup.installation.services.usage.flush()
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    size = len(texts[0].encode())
    yield compared("memory of a remembered token", used / (len(texts) - 1), "bytes", size)
