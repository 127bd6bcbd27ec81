"""The gateways and applications that customers put between clients and keys: real nginx, and the middleware.

Each application is a server in processes of its own, as a customer's is: granian, with one process.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from keystead.http.asgi import Answer, App, Receive, Scope, Send, send_answer
from keystead.integrations import connect
from keystead.integrations.asgi import KeysteadMiddleware
from keystead.operation.server.serving import Address, serve
from keystead_prove.servers.connection import NO_ANSWER, Connection
from tests.support.gateways import NGINX, running
from tests.support.postgres import wait_until
from tests.support.processes import die_with_parent, nursery
from tests.support.server_process import HOST, ServerProcess, free_port

NEEDED: Final = "documents:write"
"""The scope of `/imports/` in the shipped configurations, and of the applications."""


@dataclass(frozen=True)
class Application:
    """An application: with the middleware over the database or server `to`; without `to`, open to everyone.

    `remembers`: seconds for which it caches a verdict of a server.
    """

    to: str | None = None
    data: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    remembers: float = 0.0

    def build(self) -> App:
        """Return its ASGI callable."""
        if self.to is None:
            return _welcome
        guard = connect(self.to, data=self.data, remember_seconds=self.remembers)
        return KeysteadMiddleware(_welcome, guard, NEEDED)


async def _welcome(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send_answer(send, Answer(200, ((b"content-type", b"text/plain"),), b"application"))


@contextmanager
def hosted(application: Application, folder: Path) -> Iterator[str]:
    """Serve it in processes of its own. Yields its URL."""
    port = free_port()
    process = nursery().Process(target=host, args=(application, port, str(folder)))
    process.start()
    url = f"http://{HOST}:{port}"
    try:
        with Connection(url) as line:
            wait_until(lambda: line.get("/").status != NO_ANSWER, "the application answers")
        yield url
    finally:
        assert process.pid is not None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()


def host(application: Application, port: int, folder: str) -> None:
    """Serve it, in a child of the nursery."""
    os.setsid()
    die_with_parent()
    os.chdir(folder)
    for name in [name for name in os.environ if name.startswith("KEYSTEAD_")]:
        del os.environ[name]
    os.environ.update(application.environment)
    with Path("log").open("ab") as log:
        os.dup2(log.fileno(), 2)
    address = Address(HOST, port)
    serve(address, partial(application.build), on_started=lambda: None, may_reload=lambda: True)


@contextmanager
def behind_nginx(
    servers: Sequence[ServerProcess], folder: Path, cached: str | None = None
) -> Iterator[str]:
    """Run nginx with the shipped configuration before an application; it asks these servers. Yields a page's URL.

    `cached`: how long nginx caches verdicts, which the shipped configuration does not.
    """
    folders = {name: folder / name for name in ("behind", "nginx")}
    for place in folders.values():
        place.mkdir()
    ports = [server.port for server in servers]
    with hosted(Application(), folders["behind"]) as url:
        behind = int(url.rpartition(":")[2])
        change = partial(_remembering, seconds=cached) if cached else str
        with running(NGINX, folders["nginx"], ports, behind, change) as port:
            yield f"http://{HOST}:{port}/imports/a"


@contextmanager
def with_middleware(server: ServerProcess, folder: Path) -> Iterator[str]:
    """Serve an application in another process that opens that server's database itself. Yields a page's URL."""
    folder.mkdir(exist_ok=True)
    application = Application(server.database_url, server.data, server.environment)
    with hosted(application, folder) as url:
        yield f"{url}/reports"


def _remembering(configuration: str, seconds: str) -> str:
    """Inject the fault: nginx caches Keystead's verdicts, which say not to."""
    fault = (
        "proxy_cache answers; proxy_cache_key $http_authorization$uri; proxy_cache_valid 200 "
        f"{seconds}; proxy_ignore_headers Cache-Control Expires;"
    )
    place = "proxy_pass http://keystead/forward-auth/$keystead_scope;"
    zone = "proxy_cache_path cache keys_zone=answers:1m;"
    assert place in configuration
    return configuration.replace(place, f"{place} {fault}").replace("http {", f"http {{ {zone}", 1)
