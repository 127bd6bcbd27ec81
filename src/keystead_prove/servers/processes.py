"""Servers that an experiment has started on this machine, and may stop, kill and start again."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from keystead_prove.servers.calls import Refused
from keystead_prove.servers.connection import Connection

HOST: Final = "127.0.0.1"
PORTS: Final = range(20_000, 32_000)
"""Below the ports of outgoing connections."""
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0


class RestartableServer(Protocol):
    """A server that can be stopped, killed and started again at the same address."""

    def start(self) -> None:
        """Start the server, and wait until it is ready."""
        ...

    def stop(self) -> int:
        """Send SIGTERM, and return the exit code."""
        ...

    def kill(self) -> None:
        """Send SIGKILL to all its processes."""
        ...


@dataclass
class Server:
    """One server in its own process group, with its log in the folder."""

    command: Sequence[str]
    port: int
    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the server's URL."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Start the server, and wait until it is ready. Raises Refused."""
        with (self.folder / f"log-{self.port}").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - this program itself
                self.command,
                cwd=self.folder,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Refused(f"a server did not start: {self._complaint()}")
            time.sleep(0.02)

    def stop(self) -> int:
        """Send SIGTERM, and return the exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """Send SIGKILL to all its processes."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _is_ready(self) -> bool:
        with Connection(self.url) as connection:
            return connection.get("/readyz").status == 200

    def _complaint(self) -> str:
        """Return the first error in its log."""
        lines = (self.folder / f"log-{self.port}").read_text(errors="replace").splitlines()
        worst = [line for line in lines if '"critical"' in line or line.startswith("keystead:")]
        return (worst or lines or ["its log is empty"])[0][:300]


@contextmanager
def start_servers(
    count: int,
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[list[Server]]:
    """Run that many servers on free ports, appending `--port` to the command.

    The first one is ready before the others start.
    """
    servers = []
    try:
        for _ in range(count):
            port = free_port()
            whole = (*command, "--port", str(port))
            servers.append(Server(whole, port, folder, environment or os.environ.copy()))
            servers[-1].start()
        yield servers
    finally:
        for server in servers:
            server.kill()


def keystead(*arguments: str) -> list[str]:
    """Return the command that runs this program."""
    return [sys.executable, "-m", "keystead", *arguments]


def free_port() -> int:
    """Return a free port of this machine."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
