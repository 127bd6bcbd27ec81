"""What a verification costs in process, against its floor: with a read of its row, and cached."""

from __future__ import annotations

import hmac
import itertools
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from bench.figures import Figure, at_most, durations, side_by_side
from bench.installations import Ground, filled
from keystead.storage.engine.connections import SQLITE_PRAGMAS, sqlite_driver
from keystead.storage.point_reads.by_id import READ_PRAGMAS
from keystead.storage.schema.tables import api_keys
from keystead.storage.schema.verification_reads import KEY

CALLS = 4_000


def figures(sizes: tuple[int, ...]) -> Iterator[Figure]:
    """Measure median and p99: reading at each size, cached at the first."""
    for size in sizes:
        with filled(size) as ground:
            ours, floor = side_by_side(verification(ground), _bare_read(ground), CALLS)
        yield from durations(f"verification (read), {size:,} keys", ours, floor, at_most(1.5))
    with filled(sizes[0], verification="stamp") as ground:
        ours, floor = side_by_side(verification(ground), _bare_memory(ground), CALLS)
    yield from durations("verification (stamp), remembered", ours, floor, at_most(3.0))


def verification(ground: Ground) -> Callable[[], object]:
    """Verify the next token."""
    verify = ground.installation.services.verifier.verify
    texts = itertools.cycle(_texts(ground))
    return lambda: verify(next(texts), "documents:read", address="127.0.0.1", agent="bench")


def _bare_read(ground: Ground) -> Callable[[], object]:
    """Compute one HMAC, and read the key's row by primary key, as much of it as a verification needs."""
    connection: Any = sqlite_driver.connect(ground.installation.database.url.database)
    for pragma in (*SQLITE_PRAGMAS, *READ_PRAGMAS):
        connection.execute(pragma)
    tokens = itertools.cycle([(token.key_id, token.body()) for token in ground.tokens])
    key = ground.pepper._key
    read_columns = {c.name for c in KEY.rows.selected_columns} & set(api_keys.c.keys())
    columns = ["digest", *sorted({"id", *read_columns} - {"digest"})]
    read = f"SELECT {', '.join(columns)} FROM api_keys WHERE id = ?"

    def floor() -> bool:
        key_id, body = next(tokens)
        row = connection.execute(read, (key_id,)).fetchone()
        return hmac.compare_digest(hmac.digest(key, body, "sha256"), row[0])

    return floor


def _bare_memory(ground: Ground) -> Callable[[], object]:
    """Compute one SHA-256 and look into a dictionary."""
    texts = itertools.cycle(_texts(ground))
    known = {sha256(text.encode()).digest(): text for text in _texts(ground)}
    return lambda: known.get(sha256(next(texts).encode()).digest())


def _texts(ground: Ground) -> list[str]:
    return [token.reveal() for token in ground.tokens]
