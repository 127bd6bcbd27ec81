"""People for tests: members who have just authenticated, and accounts with passwords that are cheap to hash."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Any, Final, Literal

import pytest
from argon2 import PasswordHasher

from keystead.domain.credentials import ActingCredential, CredentialKind
from keystead.domain.events import Event, Origin
from keystead.domain.ids import CredentialId, UserId, WorkspaceId, new_id
from keystead.domain.passwords import Password
from keystead.domain.portal import PortalRequest, PortalUser
from keystead.domain.principals import Principal, of_member, operator
from keystead.domain.sessions import Authentication, AuthenticationMethod
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member, Role, User
from keystead.services.accounts import Accounts
from keystead.services.invitations import Invitations
from keystead.services.members import Members
from keystead.services.passwords import Passwords
from keystead.services.portal import PortalSessions
from keystead.services.sign_in import SignIn
from keystead.storage.tables import users, workspaces
from tests.support.administrator import write_behind
from tests.support.clocks import NOON, ManualClock
from tests.support.installations import UNLIMITED, SandboxInstallation

RIGHT: Final = "zebra lamp ocean 7 pie"
WRONG: Final = "zebra lamp ocean 8 pie"
ORIGINS: Final = ("https://app.example.com", "http://localhost:3000")
PRODUCT: Final = ActingCredential(CredentialId("op_1"), CredentialKind.OPERATOR, "Backend")
_numbers = count(1)


def acting(member: Member, at: datetime = NOON) -> Principal:
    """Return the member's principal, signed in at that time."""
    return of_member(replace(member, authentication=Authentication(at, AuthenticationMethod.LINK)))


class CountingHasher(PasswordHasher):
    """The real hash at the least cost, counting the verified passwords."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1, hash_len=16, salt_len=8)
        self.verified = 0
        self._lock = threading.Lock()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
        """Verify as always, and count."""
        with self._lock:
            self.verified += 1
        return super().verify(hash, password)


@dataclass
class PeopleServices:
    """The use cases of people on one server."""

    sandbox: SandboxInstallation
    hasher: CountingHasher = field(default_factory=CountingHasher)

    def __post_init__(self) -> None:
        database, clock = self.sandbox.database, self.sandbox.clock
        self.passwords = Passwords(self.hasher, at_once=8, waiting=200)
        self.sign_in = SignIn(database, clock, self.passwords)
        self.accounts = Accounts(database, clock, self.passwords)
        self.members = Members(database, clock)
        self.invitations = Invitations(database, clock, self.passwords)
        self.portal = PortalSessions(database, clock, origins=ORIGINS)


class People(PeopleServices):
    """Members in workspaces of their own, each with an address of their own."""

    @property
    def clock(self) -> ManualClock:
        """The time."""
        return self.sandbox.clock

    def origin(self) -> Origin:
        """Return an address that no other caller has."""
        number = next(_numbers)
        return Origin(f"198.18.{number // 250}.{number % 250 + 1}")

    def owner(self, name: str = "Ada") -> Member:
        """Create a workspace. Returns its owner."""
        workspaces = self.sandbox.services.workspaces
        number = next(_numbers)
        workspace = workspaces.create(
            f"Workspace {number}", plan_id=UNLIMITED, owner=name, email=f"p{number}@example.com"
        )
        return workspaces.owner(workspace.id)

    def join(self, owner: Member, role: Role, name: str = "Bo") -> Member:
        """Add a new member to the owner's workspace."""
        number = next(_numbers)
        link, _ = self.invitations.invite(acting(owner), f"p{number}@example.com", role)
        return self.invitations.accept(link, name).member

    def signed_in(self, member: Member) -> Secret:
        """Return a session that a one-time link started."""
        return self.sign_in.redeem(self.sign_in.make_link(member)[0]).secret

    def give_password(self, member: Member, text: str = RIGHT) -> Secret:
        """Set a password. Returns the session in which that was done."""
        return self.accounts.change_password(self.signed_in(member), Password(text)).secret

    def portal_session(self, owner: Member, user_id: str = "u1", **options: Any) -> Secret:
        """Return a session of a product's own user in the owner's workspace."""
        user = PortalUser(user_id, options.pop("name", "Pat"), options.pop("email", None))
        role = options.pop("role", Role.ADMIN)
        request = PortalRequest(owner.workspace_id, user, role, **options)
        return self.sign_in.redeem(self.portal.create(PRODUCT, request)[0]).secret

    def member(self, member: Member) -> Member | None:
        """Return the member as of now, or None if they were removed."""
        page = self.sandbox.services.members.list(acting_operator(member.workspace_id), limit=1000)
        matching = [candidate for candidate in page.items if candidate.user.id == member.user.id]
        return matching[0] if matching else None

    def events(self, workspace_id: WorkspaceId, *types: str) -> list[Event]:
        """Return the workspace's events of these types, oldest first."""
        matching = self.sandbox.events(acting_operator(workspace_id))
        return [event for event in matching if not types or event.type in types]

    def stands(self, session: Secret) -> bool:
        """Return whether the session is valid."""
        return self.sign_in.visitor(session) is not None


def acting_operator(workspace_id: WorkspaceId) -> Principal:
    """Return the operator of the installation, acting in that workspace."""
    return operator("tests", workspace_id)


def email_of(member: Member) -> str:
    """Return the address by which a member signs in."""
    assert member.user.email is not None
    return member.user.email


@pytest.fixture
def people(sandbox: SandboxInstallation) -> People:
    """People on the file's installation, at noon."""
    return People(sandbox)


def member_of(
    sandbox: SandboxInstallation, tenant: Principal, role: Role, name: str = "Ada"
) -> Member:
    """Create a member of the tenant's workspace."""
    now = sandbox.clock.now()
    member = Member(tenant.workspace_id, User(UserId(new_id("usr", now)), name, None, now), role)
    with write_behind(sandbox.database) as tx:
        users.insert_user(tx, member.user)
        workspaces.insert_member(tx, member, now)
    return member
