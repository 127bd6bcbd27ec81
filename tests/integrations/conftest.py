"""One server with keys in every state, on each engine, and a guard in each mode."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keystead.integrations import Guard, connect
from keystead.integrations.remote import Remote
from tests.installations import ENGINES, fresh_url
from tests.integrations.world import World, world_on
from tests.serving import serving


@pytest.fixture(scope="session", params=ENGINES)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A running server on each engine."""
    with (
        fresh_url(request, tmp_path_factory, request.param) as url,
        serving(url) as server,
        world_on(server) as world,
    ):
        yield world


@pytest.fixture(scope="session", params=["in process", "remote"])
def guard(request: pytest.FixtureRequest, world: World) -> Iterator[Guard]:
    """A guard over the server's database, or over the server."""
    server = world.server
    if request.param == "remote":
        guard: Guard = Remote(server.base_url, world.service_token)
    else:
        guard = connect(server.database_url, data=server.data, public_url=server.base_url)
    yield guard
    guard.close()
