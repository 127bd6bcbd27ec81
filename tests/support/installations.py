"""Whole installations for tests: services over a real database of either engine, with a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import event, func, select, text

from keystead.bootstrap import Installation, open_installation
from keystead.domain.credentials import ActingCredential, CredentialKind
from keystead.domain.digest import Pepper, Peppers
from keystead.domain.events import Event
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.key_lists import KeySelection
from keystead.domain.keys import ApiKey, KeyDraft
from keystead.domain.principals import Principal, operator
from keystead.domain.usage import Period
from keystead.domain.verification import Denied, Verification, Verified
from keystead.services import Services
from keystead.services.key_issuer import CreatedKey
from keystead.settings import Settings
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from tests.support.administrator import read_behind
from tests.support.clocks import NOON, ManualClock
from tests.support.postgres import PostgresServer
from tests.support.row_security import as_server, installed, installed_database, server_url

ENGINES: Final = ("sqlite", "postgresql")
PEPPERS: Final = Peppers(Pepper("p1", bytes(range(100, 132))))
UNLIMITED: Final = "scale"
_numbers = count(1)


@dataclass
class SandboxInstallation:
    """An installation on a database of its own, whose clock stands still; tests keep to workspaces of their own."""

    url: str
    installation: Installation
    clock: ManualClock
    more: list[Installation] = field(default_factory=list)

    @property
    def services(self) -> Services:
        """The use cases."""
        return self.installation.services

    @property
    def database(self) -> Database:
        """The rows."""
        return self.installation.database

    def tenant(self, limit: int | None = None) -> Principal:
        """Create a workspace with room for `limit` keys. Returns a principal with full access."""
        workspace = self.services.workspaces.create(f"W{next(_numbers)}", plan_id=UNLIMITED)
        tenant = operator("tests", workspace.id)
        if limit is not None:
            self.limit(tenant, limit)
        return tenant

    def limit(self, tenant: Principal, limit: int | None) -> None:
        """Set another limit for keys."""
        self.services.workspaces.set_plan(tenant.workspace_id, UNLIMITED, {"api_keys": limit})

    def key(self, tenant: Principal, description: str = "sync", **chosen: Any) -> CreatedKey:
        """Create a key."""
        return self.services.keys.create(tenant, KeyDraft(description, **chosen))

    def caller(self, tenant: Principal, *scopes: str, **chosen: Any) -> Principal:
        """Create a key with those scopes. Returns its principal."""
        return self.principal(self.key(tenant, scopes=scopes, **chosen))

    def principal(self, created: CreatedKey) -> Principal:
        """Return the key's principal."""
        verdict = self.verify(created)
        assert isinstance(verdict, Verified)
        return verdict.principal

    def verify(self, created: CreatedKey, required: str | None = None) -> Verification:
        """Verify its token now."""
        return self.services.verifier.verify(text_of(created), required)

    def verdict(self, created: CreatedKey, required: str | None = None) -> str:
        """Return the verdict as a word: verified, or the reason of the denial."""
        found = self.verify(created, required)
        return str(found.reason) if isinstance(found, Denied) else "verified"

    def used(self, tenant: Principal) -> int:
        """Return how many keys count towards the limit."""
        return self.services.keys.list(tenant, limit=1).quota.used

    def ids(self, tenant: Principal, **filters: Any) -> list[KeyId]:
        """Return the IDs of all keys in a list, page by page."""
        return [key.id for key in self.keys(tenant, **filters)]

    def keys(self, tenant: Principal, *, limit: int = 50, **filters: Any) -> list[ApiKey]:
        """Return all keys of a list, in pages of that size."""
        wanted = KeySelection(**filters)
        page = self.services.keys.list(tenant, wanted, limit=limit)
        found = page.items
        while page.next is not None:
            page = self.services.keys.list(tenant, wanted, limit=limit, after=page.next)
            found += page.items
        return found

    def events(self, tenant: Principal) -> list[Event]:
        """Return all events, oldest first."""
        page = self.services.events.list(tenant, limit=10_000)
        assert page.next is None
        return page.items[::-1]

    def happened(self, tenant: Principal) -> list[str]:
        """Return the types of the events of the workspace's keys, oldest first."""
        return [str(e.type) for e in self.events(tenant) if e.target.type == "key"]

    def flush(self) -> int:
        """Write the noted uses."""
        return self.services.usage.flush()

    def requests(
        self, principal: Principal, key_id: KeyId, since: date | None = None
    ) -> dict[date, int]:
        """Return the accepted requests of a key on each day (UTC) from `since` on, by default from a month ago."""
        last = self.clock.now().date() + timedelta(days=1)
        period = Period(since or last - timedelta(days=30), last)
        use = self.services.usage_reports.of_key(principal, key_id, period)
        return {day: count.requests for day, count in use.items() if count.requests}

    def count(self, table: Any) -> int:
        """Return how many rows a table has."""
        with read_behind(self.database) as tx:
            return tx.execute(select(func.count()).select_from(table)).scalar_one()

    def another(self, peppers: Peppers = PEPPERS, clock: Clock | None = None) -> Installation:
        """Open a second server over the same database; it is closed with the first."""
        opened = open_installation(_settings(self.url), peppers, clock or self.clock)
        self.more.append(opened)
        return opened

    def restart(self) -> None:
        """Close the server and open another one in its place."""
        self.installation.close()
        self.installation = open_installation(_settings(self.url), PEPPERS, self.clock)

    def close(self) -> None:
        """Close all servers."""
        for opened in (*self.more, self.installation):
            opened.close()


def text_of(created: CreatedKey) -> str:
    """Return the text of a created key's token."""
    assert created.token is not None
    return created.token.reveal()


def calling(installation: Installation, text: str, *kinds: CredentialKind) -> ActingCredential:
    """Return the credential of that token, on an event loop of its own."""
    return asyncio.run(installation.services.credential_verifier.verify(text, *kinds))


def prepare(url: str) -> None:
    """Bring an empty database to the newest schema, with the default plans."""
    installed(url)


@contextmanager
def sandbox_on(url: str) -> Iterator[SandboxInstallation]:
    """Open an installation on a prepared database."""
    clock, url = ManualClock(), as_server(url)
    sandbox = SandboxInstallation(url, open_installation(_settings(url), PEPPERS, clock), clock)
    try:
        yield sandbox
    finally:
        sandbox.close()


@contextmanager
def fresh_url(
    request: pytest.FixtureRequest, folders: pytest.TempPathFactory, engine: str
) -> Iterator[str]:
    """Create a database of that engine; for fixtures of any scope. Yields the URL for its server."""
    if engine == "sqlite":
        yield f"sqlite:///{folders.mktemp('sandbox') / 'keystead.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = installed_database(server)
    yield server_url(server, name)
    server.drop_database(name)


@contextmanager
def fresh_sandbox(
    request: pytest.FixtureRequest, folders: pytest.TempPathFactory, engine: str
) -> Iterator[SandboxInstallation]:
    """Open an installation on a fresh database of that engine; for fixtures of any scope."""
    with fresh_url(request, folders, engine) as url:
        prepare(url)
        with sandbox_on(url) as sandbox:
            yield sandbox


@pytest.fixture(scope="module", params=ENGINES)
def shared_sandbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxInstallation]:
    """One installation for all tests of a file, once on each engine."""
    with fresh_sandbox(request, tmp_path_factory, request.param) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: SandboxInstallation) -> SandboxInstallation:
    """The file's installation, at noon."""
    shared_sandbox.clock.set(NOON)
    return shared_sandbox


@pytest.fixture(params=ENGINES)
def own_sandbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxInstallation]:
    """An installation of the test's own, once on each engine."""
    with fresh_sandbox(request, tmp_path_factory, request.param) as sandbox:
        yield sandbox


@contextmanager
def read_only(database: Database) -> Iterator[None]:
    """Make the database refuse writes, as after a failover or on a broken disk."""
    refuse = (
        "PRAGMA query_only = ON" if database.is_sqlite else "SET default_transaction_read_only = on"
    )

    def stiffen(connection: Any, _: object) -> None:
        connection.execute(refuse)
        connection.commit()

    event.listen(database.engine, "connect", stiffen)
    database.pool.close_idle()
    try:
        yield
    finally:
        event.remove(database.engine, "connect", stiffen)
        database.pool.close_idle()


def sqlite_file(sandbox: SandboxInstallation) -> Path:
    """Return the file of an embedded database."""
    return Path(str(sandbox.database.url.database))


def plan_of(database: Database, statement: Any, workspace_id: WorkspaceId | None = None) -> str:
    """Return the engine's plan for a statement, values filled in: within a workspace, or by the login itself.

    PostgreSQL scans a table only if no index serves.
    """
    sql = statement.compile(database.engine, compile_kwargs={"literal_binds": True})
    reading = database.read(workspace_id) if workspace_id else database.read_across(Purpose.SERVER)
    with reading as tx:
        if database.is_sqlite:
            return "\n".join(row[3] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}"))
        tx.execute(text("SET LOCAL enable_seqscan = off"))
        return "\n".join(row[0] for row in tx.execute(text(f"EXPLAIN {sql}")))


def _settings(url: str) -> Settings:
    return Settings(database=url)
