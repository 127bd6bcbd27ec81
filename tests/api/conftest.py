"""Installations for a whole run: every test creates tenants of its own in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api_client import Tenant, World, open_world
from tests.support.row_security import installed_database, server_url


@pytest.fixture(scope="session")
def sqlite_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The API over SQLite."""
    with open_world(f"sqlite:///{tmp_path_factory.mktemp('api') / 'keystead.db'}") as world:
        yield world


@pytest.fixture(scope="session")
def postgresql_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """The API over PostgreSQL."""
    server = request.getfixturevalue("postgres")
    name = installed_database(server)
    with open_world(server_url(server, name)) as world:
        yield world
    server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest) -> World:
    """The API over SQLite, then over PostgreSQL, for what depends on the database."""
    chosen: World = request.getfixturevalue(f"{request.param}_world")
    return chosen


@pytest.fixture
def tenant(world: World) -> Tenant:
    """A workspace without limits, on each engine."""
    return world.tenant()


@pytest.fixture
def quick(sqlite_world: World) -> Tenant:
    """A workspace without limits, on SQLite, for what does not depend on the database."""
    return sqlite_world.tenant()
