"""The four gateways, each with the configuration that `keystead gateway` prints for it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final

import pytest

from keystead.operation.gateways import Address, Setup, parse_routes, render
from tests.support.postgres import wait_until
from tests.support.processes import die_with_parent
from tests.support.raw_http import ask
from tests.support.server_process import HOST, free_port

DEPLOY: Final = Path(__file__).parents[2] / "docs" / "guides" / "deploy.md"
BESIDE: Final = Path(sys.executable).parent
PLACES: Final = os.pathsep.join([str(BESIDE), os.environ.get("PATH", os.defpath), "/usr/sbin"])
ROUTES: Final = ("/documents=documents:read", "/imports=documents:write", "/account=any")
"""The routes of the guide's files."""
ORIGIN: Final = "https://app.example.com"


@dataclass(frozen=True)
class Gateway:
    """One product: the files that the guide ships for it, the first being what it is started with."""

    name: str
    files: tuple[str, ...]
    command: tuple[str, ...]
    program: str

    @property
    def program_path(self) -> str | None:
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
EACH: Final = [
    pytest.param(gateway, id=gateway.name, marks=() if gateway is NGINX else pytest.mark.slow)
    for gateway in ALL
]
"""All of them; the quick run of the tests takes nginx alone."""
_UNCHECKED: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_UNCHECKED.check_hostname, _UNCHECKED.verify_mode = False, ssl.CERT_NONE
_USER: Final = "user root; " if os.geteuid() == 0 else ""
_NGINX: Final = f"{_USER}daemon off; worker_processes 1; pid nginx.pid; error_log stderr warn;"


def setup(
    port: int, keysteads: Sequence[int], application: int, routes: Sequence[str] = ROUTES
) -> Setup:
    """Return the guide's configuration with other ports."""
    return Setup(
        public_url="https://keys.example.com",
        listen=Address(HOST, port),
        keysteads=[Address(HOST, each) for each in keysteads],
        application=Address(HOST, application),
        routes=parse_routes(routes),
        origins=[ORIGIN],
    )


@contextmanager
def running(
    gateway: Gateway,
    folder: Path,
    keystead: int | Sequence[int],
    application: int,
    change: Callable[[str], str] = str,
    routes: Sequence[str] = ROUTES,
) -> Iterator[int]:
    """Run the gateway over that Keystead and that application; yields its port. Skips if its program is missing.

    Traefik takes one Keystead. `change` is what else is done to a file.
    """
    port = free_port()
    servers = [keystead] if isinstance(keystead, int) else keystead
    with running_setup(gateway, folder, setup(port, servers, application, routes), change):
        yield port


@contextmanager
def running_setup(
    gateway: Gateway, folder: Path, gateway_setup: Setup, change: Callable[[str], str] = str
) -> Iterator[None]:
    """Run the gateway with that configuration."""
    if gateway.program_path is None:
        pytest.skip(f"no {gateway.program} on this machine")
    for name in gateway.files:
        (folder / name).write_text(change(placed(render(name, gateway_setup), folder)))
    with started(gateway, folder) as process:
        wait_until(lambda: _listens(process, gateway_setup, folder), f"{gateway.name} listens")
        yield


def placed(configuration: str, folder: Path) -> str:
    """Return the configuration with nginx's own files in a folder of the test."""
    inside = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy"))
    return configuration.replace("/var/log/nginx", str(folder)).replace(
        "\nhttp {\n", f"\nhttp {{ {inside}\n"
    )


@contextmanager
def deployed(folder: Path, keystead: int, change: Callable[[str], str] = str) -> Iterator[int]:
    """Run nginx before Keystead as the guide to deployment shows it, without its certificate; yields its port."""
    if NGINX.program_path is None:
        pytest.skip("no nginx on this machine")
    (shown,) = re.findall(r"```nginx\n(.*?)```", DEPLOY.read_text(), re.DOTALL)
    port = free_port()
    shown = re.sub(r"\n *ssl_.*", "", shown).replace("127.0.0.1:8080", f"{HOST}:{keystead}")
    shown = change(shown.replace("listen 443 ssl", f"listen {HOST}:{port}"))
    (folder / "nginx.conf").write_text(
        placed(f"events {{}}\nhttp {{\naccess_log off;\n{shown}}}\n", folder)
    )
    with started(NGINX, folder):
        wait_until(lambda: _answers(port), "nginx answers")
        yield port


def _answers(port: int) -> bool:
    with suppress(OSError, HTTPException):
        return bool(ask(port, "/healthz").status)
    return False


@contextmanager
def started(gateway: Gateway, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the gateway with the files in a folder of its own; kill its process at the end."""
    assert gateway.program_path is not None
    values = {"{file}": str(folder / gateway.files[0]), "{folder}": str(folder), "{nginx}": _NGINX}
    command = [
        gateway.program_path,
        *(values.get(part, _filled(part, values)) for part in gateway.command),
    ]
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


def _filled(part: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        part = part.replace(name, value)
    return part


def _listens(process: subprocess.Popen[bytes], gateway_setup: Setup, folder: Path) -> bool:
    if process.poll() is not None:
        output = (folder / "output").read_text()[-2000:]
        raise RuntimeError(f"the gateway ended with {process.returncode}: {output}")
    # Traefik listens before it has read its routes.
    with suppress(OSError, HTTPException):
        return _status(gateway_setup) != 404
    return False


def _status(gateway_setup: Setup) -> int:
    """Return the status of a request without a key to the first route."""
    path = f"{gateway_setup.routes[0].prefix}/"
    if not gateway_setup.certificate:
        return ask(gateway_setup.listen.port, path).status
    line = HTTPSConnection(HOST, gateway_setup.listen.port, timeout=20, context=_UNCHECKED)
    try:
        line.request("GET", path)
        return line.getresponse().status
    finally:
        line.close()
