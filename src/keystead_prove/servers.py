"""Servers that an experiment started itself, on this machine, and may therefore stop, kill and start again."""

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

from keystead_prove.calls import Refused
from keystead_prove.connection import Line

HOST: Final = "127.0.0.1"
PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections."""
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0


class Own(Protocol):
    """A server that may be stopped, killed and started again; it keeps its address through every start."""

    def start(self) -> None:
        """Starts it, and returns when it is ready."""
        ...

    def stop(self) -> int:
        """SIGTERM; its exit code when it has ended."""
        ...

    def kill(self) -> None:
        """SIGKILL to all its processes at once."""
        ...


@dataclass
class Server:
    """One server, in a process group of its own; its log is in the folder. It keeps its port through every start."""

    command: Sequence[str]
    port: int
    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Starts it, and returns when it is ready. Refused where it does not come up."""
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
        """SIGTERM; its exit code when it has ended."""
        if self.process is None:
            return 0
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL to all its processes at once."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _is_ready(self) -> bool:
        with Line(self.url) as line:
            return line.get("/readyz").status == 200

    def _complaint(self) -> str:
        """What it complained of first."""
        lines = (self.folder / f"log-{self.port}").read_text(errors="replace").splitlines()
        worst = [line for line in lines if '"critical"' in line or line.startswith("keystead:")]
        return (worst or lines or ["it said nothing"])[0][:300]


@contextmanager
def fleet(
    count: int,
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[list[Server]]:
    """So many servers, the first of which is ready before the others begin; they end with the block.

    `command` is completed with `--port` and a free one.
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
    """The command that runs this program with these arguments."""
    return [sys.executable, "-m", "keystead", *arguments]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
