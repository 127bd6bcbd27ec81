"""One server with keys in every state, on each engine, and a guard in each mode."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keystead.integrations import Guard, connect
from keystead.integrations.remote import Remote
from tests.support.callers import ServerWithKeys, server_with_keys
from tests.support.installations import ENGINES, fresh_url
from tests.support.server_process import serving


@pytest.fixture(scope="session", params=ENGINES)
def api_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerWithKeys]:
    """A running server on each engine."""
    with (
        fresh_url(request, tmp_path_factory, request.param) as url,
        serving(url) as server,
        server_with_keys(server) as api_server,
    ):
        yield api_server


@pytest.fixture(scope="session", params=["in process", "remote"])
def guard(request: pytest.FixtureRequest, api_server: ServerWithKeys) -> Iterator[Guard]:
    """A guard over the server's database, or over the server."""
    server = api_server.server
    if request.param == "remote":
        guard: Guard = Remote(server.base_url, api_server.service_token)
    else:
        guard = connect(server.database_url, data=server.data, public_url=server.base_url)
    yield guard
    guard.close()
