"""Pushing and searching many documents over HTTP, by one client: 100,000 of 120 words in one collection."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import quote

from bench.figures import Figure, at_least, at_most, goal
from bench.load import HOST
from bench.rest.calls import ENGINES
from bench.rest.texts import Texts, searches
from bench.servers import served, server_and_load, settle

DOCUMENTS: Final = 100_000
QUICK_DOCUMENTS: Final = 4_000
WORDS: Final = 120
BATCH: Final = 1_000
SHORT_BATCH: Final = 500
SHORT_BATCHES: Final = 20
REPEATED: Final = 11
LAST: Final = 10
"""Batches at the end, whose rate is that of pushing into a full collection."""


def figures(quick: bool) -> Iterator[Figure]:
    """Measure both engines; the goals are absolute, in the column of baselines."""
    core, _ = server_and_load()
    for engine in ENGINES:
        yield from _on(engine, QUICK_DOCUMENTS if quick else DOCUMENTS, core)


def _on(engine: str, documents: int, core: int) -> Iterator[Figure]:
    with served(engine, core) as server:
        server.put_on("scale")
        client = Client(server.port, server.token())
        client.send("POST", "/v1/collections", {"name": "short"})
        client.send("POST", "/v1/collections", {"name": "long"})
        title = f"documents pushed a second, {engine}"
        short = _push_short(client)
        yield goal(f"{title}, {SHORT_BATCH} short ones a batch", short, "/s", at_least(30_000))
        long = _push_long(client, documents)
        name = f"{title}, {BATCH:,} of {WORDS} words a batch, into {documents:,}"
        yield goal(name, long, "/s", at_least(5_000))
        settle(server)
        for kind, query in searches().items():
            path = f"/v1/collections/long/documents?limit=10&query={quote(query)}"
            times = [client.send("GET", path) * 1000 for _ in range(REPEATED)]
            median = statistics.median(times)
            name = f"search of {documents:,} documents, {engine}, {kind}, median"
            yield goal(name, median, "ms", at_most(60))


class Client:
    """One connection, over which requests follow each other."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = HTTPConnection(HOST, port, timeout=60)
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def send(self, method: str, path: str, content: object = None) -> float:
        """Send a request, and return how many seconds its response took."""
        body = None if content is None else json.dumps(content, ensure_ascii=False).encode()
        started = time.perf_counter()
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        taken = time.perf_counter() - started
        assert 200 <= response.status < 300, f"{method} {path}: {response.status} {answer[:200]!r}"
        return taken


def _push_short(client: Client) -> float:
    """Return documents a second: the median of batches."""
    times = []
    for batch in range(SHORT_BATCHES):
        drafts = [
            {"id": f"s{batch}-{n}", "title": f"Short {n}", "text": f"A short text, number {n}"}
            for n in range(SHORT_BATCH)
        ]
        times.append(client.send("POST", "/v1/collections/short/documents/batch", _push(drafts)))
    return SHORT_BATCH / statistics.median(times)


def _push_long(client: Client, documents: int) -> float:
    """Fill the collection. Returns documents a second of the last batches together."""
    texts, times = Texts(WORDS), []
    for begin in range(0, documents, BATCH):
        drafts = [
            {"id": f"d{n}", "title": f"Document {n}", "text": texts.next()}
            for n in range(begin, begin + BATCH)
        ]
        times.append(client.send("POST", "/v1/collections/long/documents/batch", _push(drafts)))
    last = times[-LAST:]
    return BATCH * len(last) / sum(last)


def _push(drafts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"upsert": drafts}
