"""Memory of a serving process, and of each token in its cache."""

from __future__ import annotations

import gc
import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.figures import Figure, at_most, compared, goal
from bench.installations import filled
from bench.servers import database_on
from tests.support.postgres import wait_until
from tests.support.processes import KEYSTEAD
from tests.support.server_process import free_port, serving

KEYS: Final = 20_000
REQUESTS: Final = 20
PATHS: Final = (
    "/v1/whoami",
    "/v1/plan",
    "/v1/keys",
    "/v1/events",
    "/v1/collections",
    "/forward-auth/any",
    "/sign-in",
    "/openapi.json",
)


def figures(quick: bool) -> Iterator[Figure]:
    """Measure a process that has answered requests of every kind, and a cached token."""
    for engine in ("SQLite", "PostgreSQL"):
        yield _process(engine)
    yield _token(quick)


def _process(engine: str) -> Figure:
    """Return the resident memory of one serving process, pages shared with its parent included.

    The console script starts it: a test's server is a fork of a process that has imported more.
    """
    with database_on(engine) as url, serving(url, start=False) as server:
        token = server.token()
        server.port = free_port()
        parent = server.popen(KEYSTEAD, "serve", "--port", str(server.port))
        try:
            wait_until(server.is_ready, "the server is ready")
            for _ in range(REQUESTS):
                for path in PATHS:
                    assert server.call("GET", path, token=token).status_code == 200, path
            kilobytes = [_resident(child) for child in _children(parent.pid)]
        finally:
            parent.terminate()
            parent.wait(30)
    return goal(f"memory of a serving process, {engine}", max(kilobytes) / 1024, "MB", at_most(95))


def _children(process: int) -> list[int]:
    return [*map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]


def _resident(process: int) -> int:
    """Return the resident memory in KiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"(?m)^VmRSS:\s+(\d+) kB$", status)[0])


def _token(quick: bool) -> Figure:
    """Return the bytes that Python allocates for a token, in addition to those of the token's own text."""
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
    return compared("memory of a remembered token", used / (len(texts) - 1), "bytes", size)
