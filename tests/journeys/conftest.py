"""Fixtures of all journeys: a server over each engine, and a second one if a test needs it; for a module, a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from keystead import bootstrap
from keystead.bootstrap import Installation
from keystead.cli.serve import fresh_link
from tests.support.chromium import chromium, enter, person
from tests.support.postgres import PostgresServer
from tests.support.product import Customer, Product, opened
from tests.support.server_process import ServerProcess, serving


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def product(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """A product with a server, once over each engine."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('product') / 'keystead.db'}"
        with serving(url) as server, opened(server) as product:
            yield product
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    name = postgres.create_database()
    with serving(postgres.dsn(name)) as server, opened(server) as product:
        yield product
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def both_servers(product: Product) -> Iterator[list[ServerProcess]]:
    """The product's server and another one over the same database, as in an installation of two servers."""
    first = product.server
    with serving(first.database_url, data=first.data) as second:
        yield [first, second]


@pytest.fixture
def customer(product: Product) -> Customer:
    """A customer without limits, in a workspace of their own."""
    return product.customer()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server as `keystead serve` starts it, for the module."""
    with serving(f"sqlite:///{tmp_path_factory.mktemp('server') / 'keystead.db'}") as server:
        yield server


@pytest.fixture(scope="module")
def installation(server: ServerProcess) -> Iterator[Installation]:
    """The server's installation, in whose workspace any number of keys can be created."""
    installation = bootstrap.open_safely(server.settings)
    workspace_id = installation.services.workspaces.first().workspace_id
    installation.services.workspaces.set_plan(workspace_id, "scale")
    yield installation
    installation.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of the module's journeys, which `chromium` wants closed before other tests run."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def session(browser: Browser, installation: Installation) -> Any:
    """The cookie of the first workspace's owner, who has signed in."""
    with person(browser) as page:
        enter(page, fresh_link(installation, installation.settings.base_url)[0])
        return page.context.storage_state()
