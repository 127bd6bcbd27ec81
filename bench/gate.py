"""The gate over HTTP against a bare 204 on the same server: each on one core, the load on another."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from bench.figures import ROUNDS, Figure, Target, at_least, rates
from bench.installations import postgresql
from bench.load import HOST, Side, always, interleaved
from keystead import bootstrap
from keystead.domain.credentials import CredentialKind
from keystead.domain.principals import Actor, PrincipalKind
from tests.support.postgres import wait_until
from tests.support.server_process import ServerProcess, free_port, serving

SECONDS: Final = 2.0
CONNECTIONS: Final = 32
BY: Final = Actor(PrincipalKind.OPERATOR, "bench", "bench")
TARGETS: Final[dict[str, Target | None]] = {
    "SQLite, stamp": at_least(0.85),
    "SQLite, read": None,
    "PostgreSQL, read": at_least(0.45),
}
"""The target of `/forward-auth`; `/introspect` has no target."""


def figures(quick: bool) -> Iterator[Figure]:
    """Measure requests a second of both calls, on each engine, in rounds with those of the bare server."""
    seconds = SECONDS / 4 if quick else SECONDS
    server_core, load_core = server_and_load()
    with application(server_core, "bench.bare") as floor:
        for name, target in TARGETS.items():
            with served(name, server_core) as server:
                token = server.token("documents:read")
                for call, request in (
                    ("forward-auth", asking(token)),
                    ("introspection", introspecting(server, token)),
                ):
                    sides = {
                        "ours": Side(server.port, always(request)),
                        "floor": Side(floor, always(asking(token))),
                    }
                    measured = interleaved(sides, ROUNDS, seconds, CONNECTIONS, load_core)
                    bound = target if call == "forward-auth" else None
                    title = f"{call}, {name}, vs. a bare 204"
                    yield rates(title, measured["ours"], measured["floor"], bound)


def asking(token: str) -> bytes:
    """Return a gateway's request, with its usual fields."""
    fields = (
        f"Host: {HOST}\r\nAuthorization: Bearer {token}\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
        "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n"
    )
    return f"GET /forward-auth/documents:read HTTP/1.1\r\n{fields}\r\n".encode()


def introspecting(server: ServerProcess, token: str) -> bytes:
    """Return a service's request."""
    installation = bootstrap.open_safely(server.settings)
    try:
        _, own = installation.services.credentials.create("bench", BY, CredentialKind.SERVICE)
    finally:
        installation.close()
    body = f"token={token}"
    fields = (
        f"Host: {HOST}\r\nAuthorization: Bearer {own.reveal()}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
    )
    return f"POST /introspect HTTP/1.1\r\n{fields}\r\n{body}".encode()


@contextmanager
def served(name: str, core: int) -> Iterator[ServerProcess]:
    """Start a server with one process on that core, and as much of a database as needed."""
    with ExitStack() as stack:
        environment = {}
        if name.startswith("SQLite"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="keystead-bench-"))
            url = f"sqlite:///{folder}/keystead.db"
            environment["KEYSTEAD_VERIFICATION"] = name.rpartition(" ")[2]
        else:
            postgres = stack.enter_context(postgresql())
            url = postgres.dsn(postgres.create_database())
        server = stack.enter_context(serving(url, environment=environment))
        for process in server.processes():
            pin(process, core)
        yield server


@contextmanager
def application(core: int, module: str, *arguments: str) -> Iterator[int]:
    """Start a bare application on the same server as Keystead's, on that core; yield its port."""
    port = free_port()
    process = subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, "-m", module, str(port), *arguments]
    )
    try:
        wait_until(lambda: _answers(port), f"{module} answers")
        yield port
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 204
    except OSError:
        return False
    finally:
        connection.close()


def server_and_load() -> tuple[int, int]:
    """Return two cores, one for the server and one for the load; the same twice if there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[-1], cores[-2] if len(cores) > 1 else cores[-1]


def pin(process: int, *cores: int) -> None:
    """Pin a process and all its threads to these cores."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)
