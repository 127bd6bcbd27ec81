"""Access that was revoked since a backup, by every type of event, stays revoked after a restore (E12)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from keystead import bootstrap
from keystead.bootstrap import Installation, Restored
from keystead.domain.errors import Invalid
from keystead.domain.events import EventType
from keystead.domain.ids import InvitationId, KeyId, WebhookId, WorkspaceId
from keystead.domain.keys import KeyDraft, KeyPatch
from keystead.domain.passwords import Password
from keystead.domain.principals import Actor, Principal, PrincipalKind, operator
from keystead.domain.renewals import Renewal
from keystead.domain.revocation_log import (
    REVOKING_CHANGES,
    RevocationEntry,
    format_entries,
    parse_entries,
)
from keystead.domain.token import Secret
from keystead.domain.verification import Verified
from keystead.domain.webhooks import WebhookDraft, WebhookPatch, WebhookStatus
from keystead.domain.workspaces import Member, Role
from keystead.settings import Settings
from tests.support.installations import ENGINES, UNLIMITED
from tests.support.people import RIGHT, email_of
from tests.support.postgres import PostgresServer
from tests.support.row_security import installed_database, server_url

BY: Final = Actor(PrincipalKind.OPERATOR, "tests", "tests")
NONE: Final = WorkspaceId("")
NEW: Final = "another lamp in 9 oceans"
HOOK: Final = WebhookDraft("CRM", "https://hooks.example.com/in", ("*",), {"X-Token": "hush"})


NARROWING = {
    "narrowed": KeyPatch(scopes=["documents:read"]),
    "restricted": KeyPatch(networks=["203.0.113.0/24"]),
    "no longer renewable": KeyPatch(renewal=None),
}
"""The changes of keys that take away access."""


@dataclass
class World:
    """An installation with one thing of each kind whose access can be revoked."""

    installation: Installation
    workspace_id: WorkspaceId = NONE
    other: WorkspaceId = NONE
    resumed: WorkspaceId = NONE
    keys: dict[str, tuple[KeyId, str]] = field(default_factory=dict)
    hooks: dict[str, WebhookId] = field(default_factory=dict)
    people: dict[str, Member] = field(default_factory=dict)
    links: dict[str, tuple[InvitationId, Secret]] = field(default_factory=dict)
    session: Secret = field(default_factory=Secret.fresh)

    @property
    def acting(self) -> Principal:
        """Return the operator."""
        return operator("tests", self.workspace_id)

    def furnish(self) -> World:
        """Create everything that is there when the backup is taken."""
        services = self.installation.services
        self.workspace_id, self.other, self.resumed = (
            services.workspaces.create(name, plan_id=UNLIMITED).id
            for name in ("One", "Two", "Three")
        )
        for name in ("revoked", "rotated", *NARROWING, "kept"):
            created = services.keys.create(self.acting, KeyDraft(name, renewal=Renewal()))
            assert created.token is not None
            self.keys[name] = created.key.id, created.token.reveal()
        for name in ("updated", "deleted", "rotated", "disabled", "kept"):
            hook = services.webhooks.create(self.acting, replace(HOOK, name=name))
            self.hooks[name] = hook.endpoint.id
        for name in ("removed", "demoted", "promoted", "password", "email", "kept"):
            role = Role.VIEWER if name == "promoted" else Role.ADMIN
            link, _ = services.invitations.invite(self.acting, f"{name}@example.com", role)
            self.people[name] = services.invitations.accept(link, name, Password(RIGHT)).member
        for name in ("revoked", "open"):
            link, made_link = services.invitations.invite(
                self.acting, f"{name}.guest@example.com", Role.ADMIN
            )
            self.links[name] = made_link.id, link
        self.session = self.sign_in("kept")
        return self

    def sign_in(self, name: str, password: str = RIGHT, email: str = "") -> Secret:
        """Sign that user in by password. Raises Invalid."""
        wanted = email or email_of(self.people[name])
        return self.installation.services.sign_in.with_password(wanted, Password(password)).secret

    def can_sign_in(self, name: str, password: str = RIGHT) -> bool:
        """Return whether that user's password signs them in."""
        try:
            self.sign_in(name, password)
        except Invalid:
            return False
        return True

    def verifies(self, name: str) -> bool:
        """Return whether that key is accepted."""
        verdict = self.installation.services.verifier.verify(self.keys[name][1])
        return isinstance(verdict, Verified)

    def hook(self, name: str) -> WebhookStatus | None:
        """Return the webhook, or None if there is none."""
        webhooks = self.installation.services.webhooks.list(self.acting).items
        return next(
            (webhook.status for webhook in webhooks if webhook.id == self.hooks[name]), None
        )

    def role(self, name: str) -> Role | None:
        """Return that user's role, or None if they are not a member."""
        members = self.installation.services.members.list(self.acting).items
        return next(
            (member.role for member in members if member.user.id == self.people[name].user.id), None
        )

    def accepts(self, name: str) -> bool:
        """Return whether that invitation's link is open."""
        try:
            self.installation.services.invitations.find(self.links[name][1])
        except Invalid:
            return False
        return True

    def suspended(self, workspace_id: WorkspaceId) -> bool:
        """Return whether that workspace is suspended."""
        return self.installation.services.workspaces.get(workspace_id).suspended_at is not None


def _change_email(w: World) -> None:
    w.installation.services.accounts.change_email(w.sign_in("email"), "moved@example.com")


def _change_password(w: World) -> None:
    session = w.sign_in("password")
    w.installation.services.accounts.change_password(session, Password(NEW), Password(RIGHT))


def _update_key(w: World) -> None:
    for name, patch in NARROWING.items():
        w.installation.services.keys.update(w.acting, w.keys[name][0], patch)


def _update_hook(w: World) -> None:
    patch = WebhookPatch(url="https://new.example.com/", headers={})
    w.installation.services.webhooks.update(w.acting, w.hooks["updated"], patch)


def _disable_hook(w: World) -> None:
    patch = WebhookPatch(status=WebhookStatus.DISABLED)
    w.installation.services.webhooks.update(w.acting, w.hooks["disabled"], patch)


def _rotate_key(w: World) -> None:
    w.installation.services.rotations.rotate(w.acting, w.keys["rotated"][0], overlap=timedelta())


def _change_roles(w: World) -> None:
    change = w.installation.services.members.change_role
    change(w.acting, w.people["demoted"].user.id, Role.VIEWER)
    change(w.acting, w.people["promoted"].user.id, Role.OWNER)


def _suspend_and_resume(w: World) -> None:
    w.installation.services.workspaces.suspend(w.resumed)
    w.installation.services.workspaces.resume(w.resumed)


ACTS: Final[Mapping[EventType, tuple[Callable[[World], object], Callable[[World], bool]]]] = {
    EventType.KEY_REVOKED: (
        lambda w: w.installation.services.keys.revoke(w.acting, w.keys["revoked"][0]),
        lambda w: not w.verifies("revoked"),
    ),
    EventType.KEY_ROTATED: (_rotate_key, lambda w: not w.verifies("rotated")),
    EventType.KEY_UPDATED: (_update_key, lambda w: not any(map(w.verifies, NARROWING))),
    EventType.WEBHOOK_UPDATED: (_update_hook, lambda w: w.hook("updated") == "disabled"),
    EventType.WEBHOOK_DELETED: (
        lambda w: w.installation.services.webhooks.delete(w.acting, w.hooks["deleted"]),
        lambda w: w.hook("deleted") is None,
    ),
    EventType.WEBHOOK_SECRET_ROTATED: (
        lambda w: w.installation.services.webhooks.rotate_secret(w.acting, w.hooks["rotated"]),
        lambda w: w.hook("rotated") == "disabled",
    ),
    EventType.WEBHOOK_DISABLED: (_disable_hook, lambda w: w.hook("disabled") == "disabled"),
    EventType.MEMBER_INVITATION_REVOKED: (
        lambda w: w.installation.services.invitations.revoke(w.acting, w.links["revoked"][0]),
        lambda w: not w.accepts("revoked"),
    ),
    EventType.MEMBER_ROLE_CHANGED: (
        _change_roles,
        lambda w: (w.role("demoted"), w.role("promoted")) == (Role.VIEWER, Role.VIEWER),
    ),
    EventType.MEMBER_REMOVED: (
        lambda w: w.installation.services.members.remove(w.acting, w.people["removed"].user.id),
        lambda w: w.role("removed") is None,
    ),
    EventType.MEMBER_PASSWORD_CHANGED: (
        _change_password,
        lambda w: not w.can_sign_in("password") and not w.can_sign_in("password", NEW),
    ),
    EventType.MEMBER_EMAIL_CHANGED: (_change_email, lambda w: not w.can_sign_in("email")),
    EventType.WORKSPACE_SUSPENDED: (
        lambda w: w.installation.services.workspaces.suspend(w.other),
        lambda w: w.suspended(w.other),
    ),
    EventType.WORKSPACE_RESUMED: (_suspend_and_resume, lambda w: not w.suspended(w.resumed)),
}
"""For each type of event that revokes access: the act after the backup, and what must hold after the restore."""


@contextmanager
def opened(settings: Settings) -> Iterator[Installation]:
    """Open the installation of these settings for the block."""
    installation = bootstrap.open_safely(settings)
    try:
        yield installation
    finally:
        installation.close()


@dataclass
class Place:
    """The location of an installation, and how it is copied and restored."""

    settings: Settings
    postgres: PostgresServer | None
    copy: str = ""

    def back_up(self) -> None:
        """Copy the database while no process uses it."""
        if self.postgres is None:
            bootstrap.back_up(self.settings, self.settings.data / "backup")
        else:
            name = (self.settings.database or "").rpartition("/")[2]
            self.copy = self.postgres.create_database(template=name)

    def restore(self) -> Restored:
        """Restore the copy with `keystead restore`."""
        if self.postgres is None:
            return bootstrap.restore(self.settings, BY, file=self.settings.data / "backup")
        url = server_url(self.postgres, self.postgres.create_database(template=self.copy))
        self.settings = self.settings.model_copy(update={"database": url})
        return bootstrap.restore(self.settings, BY)


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A prepared installation on each engine."""
    peppers = f"test:{base64.b64encode(bytes(range(32))).decode()}"
    postgres: PostgresServer | None = None
    database = None
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        database = server_url(postgres, installed_database(postgres))
    settings = Settings(data=tmp_path / "data", database=database, peppers=peppers)
    bootstrap.prepare(settings)
    return Place(settings, postgres)


@pytest.mark.slow_on("postgresql")
def test_every_type_of_event_is_judged() -> None:
    """Each type revokes access, always or by some attributes, or is listed as harmless; the first are tried here."""
    assert set(REVOKING_CHANGES) == set(EventType)
    takers = {type for type, attributes in REVOKING_CHANGES.items() if attributes != frozenset()}
    assert takers == set(ACTS)


@pytest.mark.slow_on("postgresql")
def test_nothing_comes_back(place: Place) -> None:
    """After a backup, acts of every type and a restore, all is as the acts left it or stricter; the report has each."""
    with opened(place.settings) as installation:
        world = World(installation).furnish()
    place.back_up()
    with opened(place.settings) as installation:
        world.installation = installation
        for act, _ in ACTS.values():
            act(world)
        journal = {
            entry.type for entry in parse_entries((place.settings.data / "endings").read_bytes())
        }
    assert journal >= set(ACTS)
    _require_named(world, place.restore())
    _require_gone(world, place)
    place.restore()  # the second time, the revocation log has all of it as well
    _require_gone(world, place)


def _require_gone(world: World, place: Place) -> None:
    with opened(place.settings) as installation:
        world.installation = installation
        assert [type for type, (_, holds) in ACTS.items() if not holds(world)] == []
        assert not world.accepts("open")
        assert installation.services.sign_in.visitor(world.session) is None
        assert (world.verifies("kept"), world.hook("kept")) == (True, "active")
        assert (world.role("kept"), world.can_sign_in("kept")) == (Role.ADMIN, True)


def _require_named(world: World, restored: Restored) -> None:
    done, report = restored.redone.done, "\n".join(restored.redone.named)
    expected = {
        "keys revoked": 2 + len(NARROWING),
        "webhooks deleted": 1,
        "webhooks disabled": 3,
        "members removed": 1,
        "roles lowered": 1,
        "passwords unset": 2,
        "email addresses removed": 1,
        "workspaces suspended": 1,
        "invitations revoked": 2,
    }
    assert {name: done[name] for name in expected} == expected
    assert done["sessions ended"] >= 1
    for name in ("demoted", "password", "email"):
        assert world.people[name].user.id in report
    guests = ["open.guest@example.com", "revoked.guest@example.com"]
    for text in [*guests, *(world.hooks[name] for name in ("updated", "rotated", "disabled"))]:
        assert text in report


@pytest.mark.slow_on("postgresql")
def test_an_act_that_cannot_be_done_again_holds_up_no_other(place: Place) -> None:
    """The log has a role of a newer version: the report names it, and what follows is applied."""
    with opened(place.settings) as installation:
        world = World(installation).furnish()
    place.back_up()
    newer = RevocationEntry(
        datetime.now(UTC),
        EventType.MEMBER_ROLE_CHANGED,
        world.workspace_id,
        1_000_000,
        world.people["demoted"].user.id,
        "auditor",
    )
    with opened(place.settings) as installation:
        installation.services.keys.revoke(world.acting, world.keys["rotated"][0])
        with (place.settings.data / "endings").open("ab") as journal:
            journal.write(format_entries([newer]))
        installation.services.keys.revoke(world.acting, world.keys["revoked"][0])
    restored = place.restore()
    with opened(place.settings) as installation:
        world.installation = installation
        assert not world.verifies("revoked")
    [finding] = restored.redone.to_look_at
    assert newer.target_id in finding
