"""Keystead, an application, and each gateway between the two: real ones, over loopback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateways import EACH, Gateway, running
from tests.support.raw_http import Recorder, Request, Response, application, ask, bearer, recorder
from tests.support.server_process import ServerProcess, serving


@dataclass
class Site:
    """A running gateway, the application behind it, and a key that may only read documents."""

    gateway: Gateway
    port: int
    keystead: ServerProcess
    application: Recorder
    token: str

    def ask(self, path: str, *fields: tuple[str, str], **more: Any) -> Response:
        """Send one request through the gateway."""
        return ask(self.port, path, fields, **more)

    def allowed(self, path: str, *fields: tuple[str, str], **more: Any) -> Request:
        """Send the same with the key, and return it as the application received it."""
        before = len(self.application.requests)
        got = self.ask(path, bearer(self.token), *fields, **more)
        assert (got.status, got.body) == (200, b"application"), got
        (reached,) = self.application.requests[before:]
        return reached

    def request_count(self) -> int:
        """Return how many requests the application has received."""
        return len(self.application.requests)


@pytest.fixture(scope="session")
def keystead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A real server, for all tests that do not stop it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('gateways') / 'keystead.db'}"
    with serving(url) as server:
        server.put_on("scale")
        yield server


@pytest.fixture(scope="session")
def behind() -> Iterator[Recorder]:
    """The application behind the gateways, which records its requests."""
    with recorder(application) as recording:
        yield recording


@pytest.fixture(scope="session")
def reader(keystead: ServerProcess) -> str:
    """The token of a key that may only read documents."""
    return keystead.token("documents:read")


@pytest.fixture(scope="session", params=EACH)
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    keystead: ServerProcess,
    behind: Recorder,
    reader: str,
) -> Iterator[Site]:
    """Each gateway in turn."""
    gateway: Gateway = request.param
    folder: Path = tmp_path_factory.mktemp(gateway.name)
    with running(gateway, folder, keystead.port, behind.port) as port:
        yield Site(gateway, port, keystead, behind, reader)
