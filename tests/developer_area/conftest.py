"""Fixtures of the Developer area's tests: an area over a real database, and its members."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from keystead.bootstrap import Installation, open_installation, read_brand
from keystead.developer_area import create_developer_area
from keystead.developer_area.sign_in.cookies import SESSION
from keystead.domain.digest import Pepper, Peppers
from keystead.domain.ids import UserId, WorkspaceId, new_id
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal
from keystead.domain.token import Token
from keystead.domain.workspaces import Member, Role, User
from keystead.http.asgi import App
from keystead.http.problems import Problems
from keystead.http.stack import Stack
from keystead.services import Services
from keystead.settings import Settings
from keystead.storage.tables import users, workspaces
from tests.support.administrator import write_behind
from tests.support.browser import ORIGIN, Browser
from tests.support.clocks import ManualClock
from tests.support.people import acting
from tests.support.row_security import declared

if TYPE_CHECKING:
    from tests.support.surface import Survey

PEPPER = bytes(range(32))


@dataclass
class Area:
    """A running Developer area with its first workspace."""

    installation: Installation
    app: App
    clock: ManualClock
    owner: Member

    @property
    def services(self) -> Services:
        """The services beneath the pages."""
        return self.installation.services

    @property
    def workspace_id(self) -> WorkspaceId:
        """The first workspace."""
        return self.owner.workspace_id

    @property
    def keys_url(self) -> str:
        """The URL of the workspace's keys."""
        return f"/w/{self.workspace_id}/keys"

    @property
    def principal(self) -> Principal:
        """The owner, as the services know them."""
        return acting(self.owner, self.clock.now())

    def member(self, role: Role, workspace_id: WorkspaceId | None = None, name: str = "") -> Member:
        """Create a user who is a member with that role."""
        now = self.clock.now()
        user = User(UserId(new_id("usr", now)), name or role.capitalize(), None, now)
        member = Member(workspace_id or self.workspace_id, user, role)
        with write_behind(self.installation.database) as tx:
            users.insert_user(tx, user)
            workspaces.insert_member(tx, member, now)
        return member

    def link(self, member: Member | None = None) -> str:
        """Create a sign-in link."""
        secret, _ = self.services.sign_in.make_link(member or self.owner)
        return f"/sign-in?link={secret.reveal()}"

    def browser(self) -> Browser:
        """Return a browser without a session."""
        return Browser(self.app)

    def signed_in(self, member: Member | None = None) -> Browser:
        """Return a browser that has signed in as the member: the owner by default."""
        browser = self.browser()
        seen = browser.submit(browser.open(self.link(member)), "/sign-in")
        assert seen.status == 200, seen.status
        return browser

    def key(
        self, description: str = "sync", by: Member | None = None, days: float | None = None
    ) -> Token:
        """Create a key through the services."""
        ends = None if days is None else self.clock.now() + timedelta(days=days)
        draft = KeyDraft(description, ends)
        token = self.services.keys.create(acting(by or self.owner, self.clock.now()), draft).token
        assert token is not None
        return token

    def active(self) -> int:
        """Return the number of active keys."""
        return self.services.keys.list(self.principal).quota.used


def session_of(browser: Browser) -> str:
    """Return the value of the session cookie."""
    return browser.cookies[SESSION]


@contextmanager
def opened(url: str, **chosen: Any) -> Iterator[Area]:
    """Yield an area over the empty database at `url`."""
    clock = ManualClock()
    settings = Settings(
        database=declared(url),
        scopes={"invoices:read": "Read invoices"},
        portal_origins=("https://product.example",),
        **chosen,
    )
    installation = open_installation(settings, Peppers(Pepper("test", PEPPER)), clock)
    pages = create_developer_area(
        installation.services,
        base_url=ORIGIN,
        plans_url="https://product.example/plans",
        brand=read_brand(settings),
    )
    owner = installation.services.workspaces.first()
    try:
        yield Area(installation, Stack(pages, Problems(ORIGIN, settings.product)), clock, owner)
    finally:
        installation.close()


@pytest.fixture
def area(tmp_path: Path) -> Iterator[Area]:
    """An area over SQLite."""
    with opened(f"sqlite:///{tmp_path / 'keystead.db'}") as area:
        yield area


@pytest.fixture
def each_area(database_url: str) -> Iterator[Area]:
    """An area over SQLite, then one over PostgreSQL, for what depends on the database."""
    with opened(database_url) as area:
        yield area


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """All pages of a furnished area as each member sees them, walked through once."""
    from tests.support.surface import survey

    return survey(tmp_path_factory.mktemp("survey"))
