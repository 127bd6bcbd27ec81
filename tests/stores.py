"""A database with its schema, tenants on it, and the documents service over it: what tests of documents stand on."""

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
from tests.clocks import ManualClock
from tests.postgres import Postgres
from tests.walls import installed, installed_database, server_url

_numbers = count(1)


@dataclass(frozen=True)
class Store:
    """One database. Its clock stands still until it is told otherwise."""

    database: Database
    clock: ManualClock
    documents: Documents
    workspaces: Workspaces

    def tenant(self, plan: str = "scale", **limits: int | None) -> Principal:
        """Somebody who may do everything in a new workspace, on a plan, with limits of its own."""
        made = self.workspaces.create(f"Workspace {next(_numbers)}", plan_id=plan)
        tenant = operator("tests", made.id)
        self.limit(tenant, plan, limits)
        return tenant

    def limit(self, tenant: Principal, plan: str, limits: Mapping[str, int | None]) -> None:
        """Other limits for a workspace."""
        self.workspaces.set_plan(tenant.workspace_id, plan, limits)

    def shelf(self, push: Push | None = None, name: str = "docs") -> Principal:
        """The tenant of a new workspace with one collection, and in it what is pushed."""
        tenant = self.tenant()
        self.documents.create_collection(tenant, CollectionDraft(name))
        self.documents.push(tenant, name, push or Push())
        return tenant

    def events(self, tenant: Principal) -> list[Event]:
        """What happened to collections and documents, the oldest first."""
        page = Events(self.database).list(tenant, limit=200).items
        return [e for e in reversed(page) if e.target.type == "collection"]


@contextmanager
def opened(
    request: pytest.FixtureRequest, folders: pytest.TempPathFactory, engine: str
) -> Iterator[Store]:
    """A store on an empty database of that engine, for as long as the fixture that asks for it lives."""
    if engine == "sqlite":
        with _store(f"sqlite:///{folders.mktemp('store') / 'keystead.db'}") as store:
            yield store
        return
    server: Postgres = request.getfixturevalue("postgres")
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
