"""A real server for tests: `keystead serve` in processes of its own, which never outlive the test."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

import httpx2

from keystead import bootstrap
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, system
from keystead.domain.scopes import Scopes
from keystead.operation.peppers import FILE_NAME, make_peppers
from keystead.settings import Settings
from tests.support.postgres import wait_until
from tests.support.processes import die_with_parent, live, nursery, run_apart
from tests.support.row_security import as_server, installed

HOST: Final = "127.0.0.1"
_PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""A context for clients that never use it: creating one for each takes longer than a request."""


@dataclass
class ServerProcess:
    """One server over one database. `start` may follow `stop` and `kill`: same port, same data."""

    database_url: str
    data: Path
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    scheme: str = "http"
    process: ForkServerProcess | None = None

    @property
    def base_url(self) -> str:
        """The URL at which it serves, e.g. `http://127.0.0.1:41234`."""
        return f"{self.scheme}://{HOST}:{self.port}"

    @property
    def settings(self) -> Settings:
        """Its settings, for opening the installation in this process."""
        return Settings(data=self.data, database=self.database_url, port=self.port)

    @property
    def sign_in_url(self) -> str:
        """The one-time link that it printed last."""
        return str(re.findall(r"http\S+/sign-in\?link=\S+", self.output())[-1])

    def start(self) -> None:
        """Start it and wait until its database answers through it."""
        self.port = self.port or free_port()
        arguments = ("serve", "--port", str(self.port), *self.arguments)
        self.process = nursery().Process(
            target=live, args=(arguments, self._environment(), str(self.data))
        )
        self.process.start()
        wait_until(self.is_ready, "the server is ready")

    def stop(self) -> int:
        """Send SIGTERM, unless it is ending already. Returns its exit code."""
        with suppress(ProcessLookupError):
            self.signal(signal.SIGTERM)
        return self._ended()

    def kill(self) -> None:
        """Send SIGKILL to all its processes at the same time."""
        assert self.process is not None
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._ended()

    def processes(self) -> list[int]:
        """Return the processes that serve, without their parent."""
        assert self.process is not None
        parent = self.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        return [int(process) for process in children.split()]

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the parent, or to all processes as a terminal sends it."""
        assert self.process is not None
        assert self.process.pid is not None
        (os.killpg if group else os.kill)(self.process.pid, number)

    def cli(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the same installation, in a process of its own. Returns what it printed."""
        given = self._environment() | {"KEYSTEAD_URL": self.base_url} | environment
        with tempfile.TemporaryDirectory(prefix="keystead-test-") as folder:
            done = run_apart(arguments, given, Path(folder))
        assert done.code is not None, f"{arguments} did not end"
        return subprocess.CompletedProcess(arguments, done.code, done.output, done.log)

    def popen(
        self, *command: str | Path, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start another program on the same installation, in a process group of its own; the test ends it."""
        with (self.data / "output").open("ab") as output, (self.data / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.data,
                env=self._environment(),
                stdin=stdin,
                stdout=output,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - a test that is killed leaves no server behind
            )

    def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send a request on a connection of its own."""
        bearer = {"authorization": f"Bearer {token}"} if token else {}
        with httpx2.Client(
            base_url=self.base_url, trust_env=False, timeout=60, verify=_PLAIN
        ) as client:
            return client.request(method, path, json=json, headers=bearer | dict(headers or {}))

    def token(
        self, *scopes: str, description: str = "test", principal: Principal | None = None
    ) -> str:
        """Create a key of the first workspace, with full access and `keys:write` by default. Returns its token."""
        installation = bootstrap.open_safely(self.settings)
        try:
            services = installation.services
            creator = principal or system(services.workspaces.first().workspace_id)
            draft = KeyDraft(description, None, Scopes(scopes or ("*", "keys:write")))
            token = services.keys.create(creator, draft).token
            assert token is not None
            return token.reveal()
        finally:
            installation.close()

    def put_on(self, plan: str) -> None:
        """Put the first workspace on a plan: `scale` has no limits."""
        installation = bootstrap.open_safely(self.settings)
        try:
            workspaces = installation.services.workspaces
            workspaces.set_plan(workspaces.first().workspace_id, plan)
        finally:
            installation.close()

    def output(self) -> str:
        """Return its standard output."""
        return (self.data / "output").read_text()

    def log(self) -> str:
        """Return its standard error."""
        return (self.data / "log").read_text()

    def is_ready(self) -> bool:
        """Return whether its database answers through it; RuntimeError if it has ended."""
        if self.process is not None and self.process.exitcode is not None:
            code = self.process.exitcode
            raise RuntimeError(f"the server ended with {code}: {self.log()[-2000:]}")
        with suppress(OSError, HTTPException):
            connection = self._connection()
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            finally:
                connection.close()
        return False

    def _connection(self) -> HTTPConnection:
        if self.scheme == "https":
            unchecked = ssl._create_unverified_context()  # noqa: S323 - a certificate made for the test
            return HTTPSConnection(HOST, self.port, timeout=5, context=unchecked)
        return HTTPConnection(HOST, self.port, timeout=5)

    def _ended(self) -> int:
        assert self.process is not None
        assert self.process.pid is not None
        self.process.join(30)
        code = self.process.exitcode
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.process = None
        assert code is not None, "the server did not end within 30 seconds"
        return code

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")
        }
        place = {"KEYSTEAD_DATA": str(self.data), "KEYSTEAD_DATABASE": self.database_url}
        return kept | place | dict(self.environment)


@contextmanager
def serving(
    database_url: str,
    *,
    workers: int = 1,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    data: Path | None = None,
    scheme: str = "http",
    start: bool = True,
) -> Iterator[ServerProcess]:
    """Run a server on a free port over that database, which gets its schema first; kill its processes at the end.

    The data folder is the SQLite file's own, or a fresh one, unless `data` says which.
    """
    with tempfile.TemporaryDirectory(prefix="keystead-test-") as fresh:
        folder = data or _folder_of(database_url) or Path(fresh)
        own = (*arguments, "--workers", str(workers))
        server = ServerProcess(
            as_server(database_url), folder, own, environment or {}, scheme=scheme
        )
        begin(server.settings)
        try:
            if start:
                server.start()
            yield server
        finally:
            if server.process is not None:
                server.kill()


def begin(settings: Settings) -> None:
    """Leave what `keystead migrate` leaves, unless it is there: place, schema, row security, pepper."""
    bootstrap.make_place(settings)
    installed(settings.database_url)
    if bootstrap.find_peppers(settings) is None:
        make_peppers(settings.data / FILE_NAME)


def free_port() -> int:
    """Return a port that is free, below those that the system assigns to outgoing connections: it stays free."""
    while True:
        port = secrets.choice(range(20_000, 32_000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def _folder_of(database_url: str) -> Path | None:
    if not database_url.startswith("sqlite:///"):
        return None
    return Path(database_url.removeprefix("sqlite:///")).parent
