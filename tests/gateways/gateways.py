"""The four gateways, each with the configuration that the guide ships, unchanged but for its ports."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final

import pytest

from tests.gateways.wire import ask
from tests.nursery import die_with_parent
from tests.postgres import wait_until
from tests.serving import free_port

SHIPPED: Final = Path(__file__).parents[2] / "docs" / "guides" / "gateways"
BESIDE: Final = Path(sys.executable).parent
PLACES: Final = os.pathsep.join([str(BESIDE), os.environ.get("PATH", os.defpath), "/usr/sbin"])
PORTS: Final = re.compile(r"(?<=[: ])(?:8000|8080|9000)\b")
"""Where the shipped files listen, find Keystead, and find the application."""


@dataclass(frozen=True)
class Gateway:
    """One product: the files that the guide ships for it, the first being what it is started with."""

    name: str
    files: tuple[str, ...]
    command: tuple[str, ...]
    program: str

    @property
    def found(self) -> str | None:
        """Where its program is."""
        return shutil.which(self.program, path=PLACES)


NGINX: Final = Gateway(
    "nginx", ("nginx.conf",), ("-c", "{file}", "-p", "{folder}", "-g", "{nginx}"), "nginx"
)
CADDY: Final = Gateway(
    "caddy", ("Caddyfile",), ("run", "--adapter", "caddyfile", "--config", "{file}"), "caddy"
)
TRAEFIK: Final = Gateway(
    "traefik", ("traefik.yml", "traefik-routes.yml"), ("--configFile={file}",), "traefik"
)
ENVOY: Final = Gateway(
    "envoy",
    ("envoy.yaml",),
    ("-c", "{file}", "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn"),
    "envoy",
)
ALL: Final = (NGINX, CADDY, TRAEFIK, ENVOY)
_USER: Final = "user root; " if os.geteuid() == 0 else ""
_NGINX: Final = f"{_USER}daemon off; worker_processes 1; pid nginx.pid; error_log stderr warn;"


@contextmanager
def running(
    gateway: Gateway,
    folder: Path,
    keystead: int | Sequence[int],
    application: int,
    change: Callable[[str], str] = str,
) -> Iterator[int]:
    """The gateway over that Keystead and that application; its port. A skip where its program is not to be had.

    Several servers are put into nginx's list alone, as its guide says. `change` is what else is done to a file.
    """
    if gateway.found is None:
        pytest.skip(f"no {gateway.program} on this machine")
    port = free_port()
    servers = [keystead] if isinstance(keystead, int) else list(keystead)
    real = {"8000": str(port), "8080": str(servers[0]), "9000": str(application)}
    for name in gateway.files:
        text = PORTS.sub(lambda found: real[found[0]], (SHIPPED / name).read_text())
        (folder / name).write_text(change(_listing(text, servers)))
    with started(gateway, folder) as process:
        wait_until(lambda: _listens(process, port, folder), f"{gateway.name} listens")
        yield port


def _listing(text: str, servers: Sequence[int]) -> str:
    """All of several servers in the place of the one."""
    if len(servers) == 1:
        return text
    one = f"server 127.0.0.1:{servers[0]};"
    assert text.count(one) == 1
    return text.replace(one, " ".join(f"server 127.0.0.1:{n} max_fails=0;" for n in servers))


@contextmanager
def started(gateway: Gateway, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The gateway over the files in a folder of its own; its process is gone at the end."""
    assert gateway.found is not None
    named = {"{file}": str(folder / gateway.files[0]), "{folder}": str(folder), "{nginx}": _NGINX}
    command = [gateway.found, *(named.get(part, _filled(part, named)) for part in gateway.command)]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": PLACES, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - a test that is killed leaves no gateway behind
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _filled(part: str, named: dict[str, str]) -> str:
    for name, value in named.items():
        part = part.replace(name, value)
    return part


def _listens(process: subprocess.Popen[bytes], port: int, folder: Path) -> bool:
    if process.poll() is not None:
        told = (folder / "output").read_text()[-2000:]
        raise RuntimeError(f"the gateway ended with {process.returncode}: {told}")
    # Traefik listens before it has read its routes.
    with suppress(OSError, HTTPException):
        return ask(port, "/documents/").status != 404
    return False
