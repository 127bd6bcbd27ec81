"""The oldest PostgreSQL that Keystead runs on: its schema, its row-level security, and everyday use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.row_security.diff import server_version
from tests.storage.row_security.test_diff import (  # noqa: F401 - they run here, too
    fill,
    test_a_purpose_reads_its_own_alone,
    test_deleting_without_where,
    test_each_role_may_what_the_map_says,
    test_reading_without_where,
    test_the_catalogue_is_the_map,
    test_the_past_stays,
    test_the_workspace_never_outlives_its_transaction,
    test_without_a_workspace,
    test_writing_for_another_workspace,
)
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, sandbox_on
from tests.support.postgres import OLDEST, PostgresServer, own_postgres
from tests.support.row_security import installed_database, server_url
from tests.support.sample_workspace import furnish
from tests.support.server_process import serving


@pytest.fixture(scope="module")
def oldest() -> Iterator[PostgresServer]:
    """A PostgreSQL 15; skips if it is not installed."""
    if not (OLDEST / "postgres").exists():
        pytest.skip(f"no PostgreSQL 15 in {OLDEST}: Debian 12 has it as postgresql-15")
    with own_postgres(fsync=False, binaries=OLDEST) as server:
        yield server


@pytest.fixture(scope="module")
def database(oldest: PostgresServer) -> Iterator[Database]:
    """The database of the tests of row-level security, on it."""
    with closing(Database(server_url(oldest, installed_database(oldest)))) as opened:
        fill(opened)
        yield opened


@pytest.fixture(scope="module")
def aged(oldest: PostgresServer) -> Iterator[SandboxInstallation]:
    """An installation on it."""
    with sandbox_on(server_url(oldest, installed_database(oldest))) as sandbox:
        yield sandbox


@pytest.mark.slow
def test_it_is_the_oldest(database: Database) -> None:
    """Its version is 15."""
    with database.read_across(Purpose.SERVER) as tx:
        assert server_version(tx) == 15


@pytest.mark.slow
def test_a_furnished_house(aged: SandboxInstallation) -> None:
    """Users, keys of every kind, their use, documents and events: everything that pages show can be created."""
    sample = furnish(aged.installation, aged.clock, NOON + timedelta(days=1))
    services = aged.services
    shown = services.keys.list(sample.principal, limit=100).items
    assert len(shown) == len({key.id for key in shown}) > 6
    assert services.plans.use(sample.principal).quotas["api_keys"].used > 3
    assert services.documents.search(sample.principal, "handbook", "matter 7")
    assert services.events.list(sample.principal, limit=10).items
    assert sum(services.keys.count_hygiene_findings(sample.principal).values()) > 0


@pytest.mark.slow
def test_search_and_pushes(aged: SandboxInstallation) -> None:
    """Documents are pushed, changed, found by their words, and deleted."""
    tenant, documents = aged.tenant(), aged.services.documents
    documents.create_collection(tenant, CollectionDraft("docs"))
    documents.push(
        tenant, "docs", Push([DocumentDraft("a", "herons"), DocumentDraft("b", "weirs")])
    )
    documents.push(tenant, "docs", Push([DocumentDraft("a", "kestrels")], delete=["b"]))
    ids = {
        word: [d.id for d in documents.search(tenant, "docs", word)]
        for word in ("kestrels", "herons", "weirs")
    }
    assert ids == {"kestrels": ["a"], "herons": [], "weirs": []}


@pytest.mark.slow
def test_a_server_on_it(oldest: PostgresServer) -> None:
    """A key is created, used and revoked over HTTP; after the revocation's response it is refused."""
    with serving(server_url(oldest, installed_database(oldest))) as server:
        response = server.call(
            "POST", "/v1/keys", token=server.token(), json={"description": "x"}
        ).json()
        assert server.call("GET", "/v1/whoami", token=response["token"]).status_code == 200
        gone = server.call("DELETE", f"/v1/keys/{response['id']}", token=server.token())
        assert gone.status_code == 204
        assert server.call("GET", "/v1/whoami", token=response["token"]).status_code == 401
