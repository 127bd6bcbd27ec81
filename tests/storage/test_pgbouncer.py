"""Through PgBouncer in transaction mode: one connection to PostgreSQL serves many, a transaction at a time (R52)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from keystead.domain.errors import Unavailable
from keystead.domain.verification import Verified
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.row_security.diff import SERVER_ROLE
from tests.support.installations import SandboxInstallation, sandbox_on
from tests.support.pgbouncer import PgBouncer, pgbouncer
from tests.support.postgres import DEADLINE_SECONDS, PostgresServer
from tests.support.row_security import installed_database, server_url
from tests.support.tenant_rows import fill, interleave


@pytest.fixture(scope="module")
def pooler(postgres: PostgresServer) -> Iterator[PgBouncer]:
    """A PgBouncer with two connections for each database."""
    with pgbouncer(postgres, SERVER_ROLE) as running:
        yield running


@pytest.fixture(scope="module")
def url(postgres: PostgresServer, pooler: PgBouncer) -> Iterator[str]:
    """The URL of a migrated database through it."""
    name = installed_database(postgres)
    with closing(Database(server_url(postgres, name))) as direct:
        fill(direct)
    yield pooler.url(server_url(postgres, name))
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def pooled(url: str) -> Iterator[SandboxInstallation]:
    """An installation on that database."""
    with sandbox_on(url) as sandbox:
        yield sandbox


def test_many_share_two_connections(pooled: SandboxInstallation) -> None:
    """Forty threads create, verify, list and revoke over two connections: each sees its own workspace alone."""
    tenants = [pooled.tenant() for _ in range(8)]

    def one(number: int) -> bool:
        """Retry for as long as the time for a connection or a lock runs out: that is refused without effect."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            with suppress(Unavailable):
                return go_round(number)
        return False

    def go_round(number: int) -> bool:
        tenant = tenants[number % len(tenants)]
        created = pooled.key(tenant, f"key {number}")
        lived = isinstance(pooled.verify(created), Verified)
        pooled.services.keys.revoke(tenant, created.key.id)
        own = {key.workspace_id for key in pooled.keys(tenant)} == {tenant.workspace_id}
        return lived and own and pooled.verdict(created) == "revoked"

    with ThreadPoolExecutor(40) as pool:
        assert all(pool.map(one, range(80)))


def test_no_workspace_is_left_behind(
    url: str, pooled: SandboxInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any other transaction on the connection, the next one sees its own workspace alone."""
    interleave(url, 1_000, monkeypatch)


def test_a_connection_begins_without_settings(url: str) -> None:
    """Time-outs and time zone are in force all the same, as the role's settings."""
    with closing(Database(url)) as database, database.read_across(Purpose.SERVER) as tx:
        query = "SELECT name, setting FROM pg_settings WHERE name IN ('lock_timeout', 'statement_timeout', 'TimeZone')"
        settings = {row.name: row.setting for row in tx.exec_driver_sql(query)}
    assert settings == {"lock_timeout": "5000", "statement_timeout": "20000", "TimeZone": "UTC"}


def test_the_url_has_to_say_so(url: str) -> None:
    """Without the parameter in the URL the pooler refuses, and the error explains the fix."""
    with (
        closing(Database(url.partition("?")[0])) as database,
        pytest.raises(Unavailable, match="pgbouncer=true"),
    ):
        database.ping()
