"""A database with its schema, its tenants, and the documents service over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import pytest

from keystead.domain.documents import CollectionDraft, Push
from keystead.domain.events import Event
from keystead.domain.principals import Principal, operator
from keystead.services.documents import Documents
from keystead.services.events import Events
from keystead.services.workspaces import Workspaces
from keystead.storage.database import Database
from tests.support.clocks import ManualClock
from tests.support.postgres import PostgresServer
from tests.support.row_security import installed, installed_database, server_url

_numbers = count(1)


@dataclass(frozen=True)
class Store:
    """One database. Its clock moves only when it is set."""

    database: Database
    clock: ManualClock
    documents: Documents
    workspaces: Workspaces

    def tenant(self, plan: str = "scale", **limits: int | None) -> Principal:
        """Create a workspace on a plan, with limits of its own. Returns a principal with full access."""
        workspace = self.workspaces.create(f"Workspace {next(_numbers)}", plan_id=plan)
        tenant = operator("tests", workspace.id)
        self.limit(tenant, plan, limits)
        return tenant

    def limit(self, tenant: Principal, plan: str, limits: Mapping[str, int | None]) -> None:
        """Set other limits for a workspace."""
        self.workspaces.set_plan(tenant.workspace_id, plan, limits)

    def shelf(self, push: Push | None = None, name: str = "docs") -> Principal:
        """Create a workspace with one collection that contains these documents. Returns its tenant."""
        tenant = self.tenant()
        self.documents.create_collection(tenant, CollectionDraft(name))
        self.documents.push(tenant, name, push or Push())
        return tenant

    def events(self, tenant: Principal) -> list[Event]:
        """Return the events of collections and documents, oldest first."""
        page = Events(self.database).list(tenant, limit=200).items
        return [e for e in reversed(page) if e.target.type == "collection"]


@contextmanager
def opened(
    request: pytest.FixtureRequest, folders: pytest.TempPathFactory, engine: str
) -> Iterator[Store]:
    """Open a store on an empty database of that engine, for the lifetime of the requesting fixture."""
    if engine == "sqlite":
        with _store(f"sqlite:///{folders.mktemp('store') / 'keystead.db'}") as store:
            yield store
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = installed_database(server)
    with _store(server_url(server, name)) as store:
        yield store
    server.drop_database(name)


@contextmanager
def _store(url: str) -> Iterator[Store]:
    database, clock = Database(url), ManualClock()
    try:
        installed(url)
        yield Store(database, clock, Documents(database, clock), Workspaces(database, clock))
    finally:
        database.close()
