"""Servers to measure, each on one core: Keystead, and bare applications on the same HTTP server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import psycopg

from bench.installations import postgresql
from bench.load import HOST
from tests.support.postgres import wait_until
from tests.support.row_security import as_owner
from tests.support.server_process import ServerProcess, free_port, serving


@contextmanager
def served(engine: str, core: int) -> Iterator[ServerProcess]:
    """Start a server with one process on that core, and as much of a database as needed."""
    with database_on(engine) as url, serving(url) as server:
        for process in server.processes():
            pin(process, core)
        yield server


@contextmanager
def database_on(engine: str) -> Iterator[str]:
    """Yield the URL of a new database: SQLite's in a folder of its own, or PostgreSQL's on a server of its own."""
    if engine == "SQLite":
        with tempfile.TemporaryDirectory(prefix="keystead-bench-") as folder:
            yield f"sqlite:///{folder}/keystead.db"
    else:
        with postgresql() as postgres:
            yield postgres.dsn(postgres.create_database())


def settle(server: ServerProcess) -> None:
    """Give PostgreSQL the statistics of its new tables, as autovacuum would in time."""
    if server.database_url.startswith("postgresql:"):
        with psycopg.connect(as_owner(server.database_url), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


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


def asking(token: str) -> bytes:
    """Return a gateway's request, with its usual fields."""
    fields = (
        f"Host: {HOST}\r\nAuthorization: Bearer {token}\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
        "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n"
    )
    return f"GET /forward-auth/documents:read HTTP/1.1\r\n{fields}\r\n".encode()
