"""The oldest PostgreSQL that Keystead runs on: every use case works; row_security/test_diff.py runs on it, too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.key_lists import KeyFilter
from keystead.domain.keys import KeyStatus
from keystead.storage.engine.roles import Purpose
from keystead.storage.row_security.diff import server_version
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, sandbox_on
from tests.support.postgres import PostgresServer
from tests.support.row_security import installed_database, server_url
from tests.support.sample_workspace import furnish
from tests.support.server_process import serving


@pytest.fixture(scope="module")
def aged(oldest_postgres: PostgresServer) -> Iterator[SandboxInstallation]:
    """An installation on it."""
    with sandbox_on(server_url(oldest_postgres, installed_database(oldest_postgres))) as sandbox:
        yield sandbox


@pytest.mark.slow
def test_it_is_the_oldest(aged: SandboxInstallation) -> None:
    """Its version is 15."""
    with aged.database.read_across(Purpose.SERVER) as tx:
        assert server_version(tx) == 15


@pytest.mark.slow
def test_a_furnished_house(aged: SandboxInstallation) -> None:
    """Users, keys of every kind, their use, documents and events: everything that pages show can be created."""
    sample = furnish(aged.installation, aged.clock, NOON + timedelta(days=1))
    services = aged.services
    shown = services.keys.list(sample.principal, limit=100).items
    assert len(shown) == len({key.id for key in shown}) > 6
    assert services.plans.use(sample.principal).quotas["api_keys"].used > 3
    assert services.documents.search(sample.principal, "handbook", "matter 7").items
    assert services.events.list(sample.principal, limit=10).items
    assert services.key_lists.page(
        sample.principal, KeyFilter((KeyStatus.ACTIVE,)), 50, None
    ).counts.findings


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
        word: [d.id for d in documents.search(tenant, "docs", word).items]
        for word in ("kestrels", "herons", "weirs")
    }
    assert ids == {"kestrels": ["a"], "herons": [], "weirs": []}


@pytest.mark.slow
def test_a_server_on_it(oldest_postgres: PostgresServer) -> None:
    """A key is created, used and revoked over HTTP; after the revocation's response it is refused."""
    with serving(server_url(oldest_postgres, installed_database(oldest_postgres))) as server:
        response = server.call(
            "POST", "/v1/keys", token=server.token(), json={"description": "x"}
        ).json()
        assert server.call("GET", "/v1/whoami", token=response["token"]).status_code == 200
        gone = server.call("DELETE", f"/v1/keys/{response['id']}", token=server.token())
        assert gone.status_code == 204
        assert server.call("GET", "/v1/whoami", token=response["token"]).status_code == 401
