"""What asking Keystead about every request costs a gateway: the guide's nginx with and without asking."""

from __future__ import annotations

import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.figures import ROUNDS, Figure, rates
from bench.load import HOST, Side, always, interleaved
from bench.servers import asking, pin, served, server_and_load
from keystead.operation.gateways import render
from tests.support.gateways import NGINX, setup, started
from tests.support.postgres import wait_until
from tests.support.server_process import free_port

SECONDS: Final = 2.0
CONNECTIONS: Final = 32
ENDLESS: Final = "http { access_log off; keepalive_requests 1000000;"
"""Settings: no log of requests, and no limit of requests per connection."""
APPLICATION: Final = "events {} %s server { listen %s:%d; return 204; } }"


def figures(quick: bool) -> Iterator[Figure]:
    """Measure requests a second through nginx to an idle application; all servers on one core, the load on another."""
    seconds = SECONDS / 4 if quick else SECONDS
    core, load_core = server_and_load()
    with served("SQLite", core) as server, _application(core) as application:
        request = asking(server.token("documents:read")).replace(
            b"/forward-auth/documents:read", b"/documents/"
        )
        with (
            _nginx(server.port, application, core, asks=True) as guarded,
            _nginx(server.port, application, core, asks=False) as alone,
        ):
            sides = {port: Side(port, always(request)) for port in (guarded, alone)}
            measured = interleaved(sides, ROUNDS, seconds, CONNECTIONS, load_core)
            yield rates("nginx asking Keystead vs. nginx alone", measured[guarded], measured[alone])


@contextmanager
def _application(core: int) -> Iterator[int]:
    """Start an application that answers 204."""
    port = free_port()
    with _started(APPLICATION % (ENDLESS, HOST, port), port, core):
        yield port


@contextmanager
def _nginx(keystead: int, application: int, core: int, *, asks: bool) -> Iterator[int]:
    """Start a gateway of the guide; without `asks`, one that does not ask Keystead."""
    port = free_port()
    text = render("nginx.conf", setup(port, [keystead], application))
    text = re.sub(r"\n *(?:access|error)_log /.*", "", text)
    if not asks:
        text = re.sub(r"auth_request /_[^;]*;", "", text)
    with _started(text.replace("http {", ENDLESS, 1), port, core):
        yield port


@contextmanager
def _started(configuration: str, port: int, core: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="keystead-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "nginx.conf").write_text(configuration)
        with started(NGINX, folder) as process:
            wait_until(lambda: _listens(port), "nginx listens")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            for each in (process.pid, *map(int, children.split())):
                pin(each, core)
            yield


def _listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex((HOST, port)) == 0
