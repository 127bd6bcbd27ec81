"""Fixtures of all journeys: a server over each engine, and a second one if a test needs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
