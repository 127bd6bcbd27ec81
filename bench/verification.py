"""What a verification that reads its row costs in process, beside its floor: parse, HMAC, one raw primary-key read."""

from __future__ import annotations

import hmac
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from bench.figures import Figure, durations, side_by_side
from bench.installations import Ground, filled
from keystead.domain.token import Token, parse
from keystead.storage.engines import SQLITE_PRAGMAS, sqlite_driver

CALLS = 4_000


def figures(sizes: tuple[int, ...]) -> Iterator[Figure]:
    """Median and p99 at each size."""
    for size in sizes:
        with filled(size) as ground:
            ours, floor = side_by_side(verification(ground), _floor(ground), CALLS)
        yield from durations(f"verification (read), {size:,} keys", ours, floor)


def verification(ground: Ground) -> Callable[[], object]:
    """One verification of the next of its tokens."""
    verify = ground.installation.services.verifier.verify
    texts = itertools.cycle(_texts(ground.tokens))
    return lambda: verify(next(texts), "documents:read", address="127.0.0.1", agent="bench")


def _floor(ground: Ground) -> Callable[[], object]:
    """What no verification of a stored key can do without."""
    connection: Any = sqlite_driver.connect(ground.installation.database.url.database)
    for pragma in SQLITE_PRAGMAS:
        connection.execute(pragma)
    texts = itertools.cycle(_texts(ground.tokens))
    pepper = ground.pepper

    def floor() -> bool:
        token = parse(next(texts))
        assert token is not None
        read = "SELECT digest FROM api_keys WHERE id = ?"
        row = connection.execute(read, (token.key_id,)).fetchone()
        return hmac.compare_digest(pepper.digest(token.body()), row[0])

    return floor


def _texts(tokens: list[Token]) -> list[str]:
    return [token.reveal() for token in tokens]
