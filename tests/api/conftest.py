"""Worlds for a whole run: every test makes tenants of its own in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api_client import ApiInstallation, Tenant, open_api
from tests.support.row_security import installed_database, server_url


@pytest.fixture(scope="session")
def sqlite_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiInstallation]:
    """The API over SQLite."""
    with open_api(f"sqlite:///{tmp_path_factory.mktemp('api') / 'keystead.db'}") as api:
        yield api


@pytest.fixture(scope="session")
def postgresql_api(request: pytest.FixtureRequest) -> Iterator[ApiInstallation]:
    """The API over PostgreSQL."""
    server = request.getfixturevalue("postgres")
    name = installed_database(server)
    with open_api(server_url(server, name)) as api:
        yield api
    server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest) -> ApiInstallation:
    """The API over SQLite, then over PostgreSQL: for what touches storage."""
    found: ApiInstallation = request.getfixturevalue(f"{request.param}_api")
    return found


@pytest.fixture
def tenant(api: ApiInstallation) -> Tenant:
    """A workspace without limits, on each engine."""
    return api.tenant()


@pytest.fixture
def quick(sqlite_api: ApiInstallation) -> Tenant:
    """A workspace without limits, on SQLite: for what does not touch storage."""
    return sqlite_api.tenant()
