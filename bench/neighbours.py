"""The effect of one workspace on another: verification and a list, quiet and under its load (E14)."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import count
from multiprocessing.synchronize import Event
from threading import Thread
from typing import Any, Final

from bench.figures import ROUNDS, Figure, Sample, at_most, compared
from bench.servers import database_on
from keystead import bootstrap
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import system
from keystead.domain.scopes import Scopes
from tests.support.server_process import ServerProcess, serving

CONNECTIONS: Final = 8
"""Connections of the other workspace, each sending again as soon as it has its response."""
CALLS: Final = 300
WORKERS: Final = 2
ENGINES: Final = ("SQLite", "PostgreSQL")
QUIET: Final = {"verification": "/v1/whoami", "list of keys": "/v1/keys?limit=50"}


def figures(quick: bool) -> Iterator[Figure]:
    """Measure both engines."""
    for engine in ENGINES:
        yield from figures_of(engine, CALLS // 10 if quick else CALLS)


def figures_of(engine: str, calls: int) -> Iterator[Figure]:
    """Measure median and p99 over HTTP, in rounds of `calls` with and without the other's load.

    AssertionError if a response is missing, or the other's keys show in the quota.
    """
    with database_on(engine) as url, serving(url, workers=WORKERS) as server:
        mine, other = _tokens(server)
        quota = _quota(server, mine)
        for name, path in QUIET.items():
            quiet: list[float] = []
            loaded: list[float] = []
            for _ in range(ROUNDS):
                quiet += _ask(server.port, mine, path, calls)
                with _hammered(server.port, other):
                    loaded += _ask(server.port, mine, path, calls)
            ours, floor = Sample(tuple(loaded)), Sample(tuple(quiet))
            title = f"{name} vs. a workspace that hammers, {engine}"
            yield compared(f"{title}, median", ours.median, "µs", floor.median)
            yield compared(f"{title}, p99", ours.p99, "µs", floor.p99, at_most(2))
        assert _quota(server, mine) == quota


def _quota(server: ServerProcess, token: str) -> Any:
    return server.call("GET", "/v1/plan", token=token).json()


def _tokens(server: ServerProcess) -> tuple[str, str]:
    """Return a key of each of two workspaces with the same plan, the quiet one's first."""
    installation = bootstrap.open_safely(server.settings)
    try:
        services = installation.services
        tokens = []
        for name in ("Quiet", "Loud"):
            owner = system(services.workspaces.create(name, plan_id="scale").id)
            draft = KeyDraft(name, None, Scopes(["*", "keys:write"]))
            for number in range(60):
                services.keys.create(owner, KeyDraft(f"{name} {number}"))
            token = services.keys.create(owner, draft).token
            assert token is not None
            tokens.append(token.reveal())
        return tokens[0], tokens[1]
    finally:
        installation.close()


def _ask(port: int, token: str, path: str, calls: int) -> list[float]:
    """Return how long each of `calls` requests took, in microseconds, one after the other."""
    connection, headers = _connection(port), {"authorization": f"Bearer {token}"}
    taken = []
    for _ in range(calls):
        begun = time.perf_counter_ns()
        _request(connection, "GET", path, headers)
        taken.append((time.perf_counter_ns() - begun) / 1000)
    connection.close()
    return taken


@contextmanager
def _hammered(port: int, token: str) -> Iterator[None]:
    """Start a process that creates keys, lists them and pushes documents, over eight connections."""
    context = multiprocessing.get_context("spawn")
    begun, ended = context.Event(), context.Event()
    loud = context.Process(target=_hammer, args=(port, token, begun, ended), daemon=True)
    loud.start()
    begun.wait(30)
    try:
        yield
    finally:
        ended.set()
        loud.join(30)


def _hammer(port: int, token: str, begun: Event, ended: Event) -> None:
    os.nice(1)
    threads = [
        Thread(target=_go_on, args=(port, token, place, ended)) for place in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join()


def _go_on(port: int, token: str, place: int, ended: Event) -> None:
    connection, headers = _connection(port), {"authorization": f"Bearer {token}"}
    headers["content-type"] = "application/json"
    body = {"name": f"c{os.getpid()}-{place}", "title": "Loud"}
    _request(connection, "POST", "/v1/collections", headers, body)
    for number in count():
        if ended.is_set():
            break
        _request(connection, "POST", "/v1/keys", headers, {"description": f"loud {number}"})
        _request(connection, "GET", "/v1/keys?limit=200", headers)
        text = {"title": f"{number}", "text": "A loud document. " * 60}
        path = f"/v1/collections/{body['name']}/documents/d{number}"
        _request(connection, "PUT", path, headers, text)
    connection.close()


def _connection(port: int) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", port, timeout=30)


def _request(
    connection: HTTPConnection, method: str, path: str, headers: dict[str, str], body: Any = None
) -> None:
    sent = None if body is None else json.dumps(body)
    connection.request(method, path, body=sent, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    if not 200 <= answer.status < 300:
        raise AssertionError(
            f"{method} {path.partition('?')[0]}: {answer.status} {len(content)} bytes"
        )
