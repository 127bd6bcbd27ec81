"""The cost of a verification in process, against its floor: with a read of its row, and cached."""

from __future__ import annotations

import hmac
import itertools
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from bench.figures import Figure, at_most, durations, side_by_side
from bench.installations import FilledInstallation, filled
from keystead.storage.engine.connections import SQLITE_PRAGMAS, sqlite_driver
from keystead.storage.point_reads.by_id import READ_PRAGMAS
from keystead.storage.schema.tables import api_keys
from keystead.storage.schema.verification_reads import KEY

CALLS = 4_000


def figures(sizes: tuple[int, ...]) -> Iterator[Figure]:
    """Measure median and p99: reading at each size, cached at the first."""
    for size in sizes:
        with filled(size) as setup:
            ours, floor = side_by_side(verification(setup), _bare_read(setup), CALLS)
        yield from durations(f"verification (read), {size:,} keys", ours, floor, at_most(1.5))
    with filled(sizes[0], verification="stamp") as setup:
        ours, floor = side_by_side(verification(setup), _bare_memory(setup), CALLS)
    yield from durations("verification (stamp), remembered", ours, floor, at_most(3.0))


def verification(setup: FilledInstallation) -> Callable[[], object]:
    """Verify the next token."""
    verify = setup.installation.services.verifier.verify
    texts = itertools.cycle(_texts(setup))
    return lambda: verify(next(texts), "documents:read", address="127.0.0.1", agent="bench")


def _bare_read(setup: FilledInstallation) -> Callable[[], object]:
    """Compute one HMAC, and read the key's row by primary key, as much of it as a verification needs."""
    connection: Any = sqlite_driver.connect(setup.installation.database.url.database)
    for pragma in (*SQLITE_PRAGMAS, *READ_PRAGMAS):
        connection.execute(pragma)
    tokens = itertools.cycle([(token.key_id, token.body()) for token in setup.tokens])
    key = setup.pepper._key
    read_columns = {c.name for c in KEY.rows.selected_columns} & set(api_keys.c.keys())
    columns = ["digest", *sorted({"id", *read_columns} - {"digest"})]
    read = f"SELECT {', '.join(columns)} FROM api_keys WHERE id = ?"

    def floor() -> bool:
        key_id, body = next(tokens)
        row = connection.execute(read, (key_id,)).fetchone()
        return hmac.compare_digest(hmac.digest(key, body, "sha256"), row[0])

    return floor


def _bare_memory(setup: FilledInstallation) -> Callable[[], object]:
    """Compute one SHA-256 and look into a dictionary."""
    texts = itertools.cycle(_texts(setup))
    known = {sha256(text.encode()).digest(): text for text in _texts(setup)}
    return lambda: known.get(sha256(next(texts).encode()).digest())


def _texts(setup: FilledInstallation) -> list[str]:
    return [token.reveal() for token in setup.tokens]
