"""Members: who changes whom, the last owner, and changes that hold from the next request on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from keystead.domain.errors import (
    EmailTaken,
    Forbidden,
    Invalid,
    KeysteadError,
    LastOwner,
    NotFound,
)
from keystead.domain.ids import (
    CredentialId,
    InvitationId,
    KeyId,
    SessionId,
    UserId,
    WorkspaceId,
)
from keystead.domain.keys import KeyDraft
from keystead.domain.portal import PortalRequest, PortalUser
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVERYTHING, KEYS_WRITE, Scopes
from keystead.domain.workspaces import Member, Role
from tests.support.installations import SandboxInstallation
from tests.support.people import PRODUCT, People, PeopleServices, acting, acting_operator, email_of

ABSENT = UserId("usr_0000000000000000000000")


@pytest.fixture
def ada(people: People) -> Member:
    """The owner of a new workspace."""
    return people.owner()


def _refusal(act: object, *arguments: object) -> type[KeysteadError] | None:
    try:
        act(*arguments)  # type: ignore[operator]
    except KeysteadError as error:
        return type(error)
    return None


# --- who may do what ---

APPOINTS = {
    Role.OWNER: set(Role),
    Role.ADMIN: {Role.ADMIN, Role.DEVELOPER, Role.VIEWER},
    Role.DEVELOPER: set(),
    Role.VIEWER: set(),
}


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("target", Role)
def test_who_removes_whom(people: People, ada: Member, role: Role, target: Role) -> None:
    """Owners may remove any member, admins all but owners, other roles no one."""
    actor, victim = people.join(ada, role), people.join(ada, target)
    refused = _refusal(people.members.remove, acting(actor), victim.user.id)
    allowed = target in APPOINTS[role]
    assert refused is (None if allowed else Forbidden)
    assert (people.member(victim) is None) == allowed


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("before", Role)
@pytest.mark.parametrize("after", Role)
def test_who_may_assign_which_role(
    people: People, ada: Member, role: Role, before: Role, after: Role
) -> None:
    """Assigning a role requires the right to assign both the old and the new; only owners add and demote owners."""
    actor, target = people.join(ada, role), people.join(ada, before)
    refused = _refusal(people.members.change_role, acting(actor), target.user.id, after)
    allowed = {before, after} <= APPOINTS[role]
    assert refused is (None if allowed else Forbidden)
    member = people.member(target)
    assert member is not None
    assert member.role is (after if allowed else before)


@pytest.mark.parametrize("role", Role)
def test_everybody_sees_the_members(people: People, ada: Member, role: Role) -> None:
    """Every member sees the other members, with roles and dates."""
    people.clock.advance(minutes=1)
    bo = people.join(ada, role)
    members = {m.user.id: m for m in people.members.list(acting(bo)).items}
    assert members.keys() == {ada.user.id, bo.user.id}
    assert (members[bo.user.id].role, members[bo.user.id].joined_at) == (role, people.clock.now())


def test_no_key_touches_people(people: People, ada: Member) -> None:
    """A key with all scopes neither sees nor changes members, invitations or the workspace (R56)."""
    bo = people.join(ada, Role.VIEWER)
    rights = Scopes([EVERYTHING, KEYS_WRITE])
    key = Principal.of_key(KeyId("key_1"), "all", ada.workspace_id, rights, None)
    acts = [
        (people.members.list, key),
        (people.members.change_role, key, bo.user.id, Role.ADMIN),
        (people.members.remove, key, bo.user.id),
        (people.members.leave, key),
        (people.invitations.invite, key, "x@example.com", Role.VIEWER),
        (people.invitations.list, key),
        (people.sandbox.services.workspaces.rename, key, "Mine"),
    ]
    assert [_refusal(*act) for act in acts] == [Forbidden] * len(acts)


def test_the_operator_may(people: People, ada: Member) -> None:
    """The operator of the installation changes all members, the last owner too."""
    operator = acting_operator(ada.workspace_id)
    bo = people.join(ada, Role.VIEWER)
    assert people.members.change_role(operator, bo.user.id, Role.OWNER).role is Role.OWNER
    people.members.remove(operator, ada.user.id)
    people.members.remove(operator, bo.user.id)
    assert people.members.list(operator).items == []


# --- the last owner ---


def test_the_last_owner_stays(people: People, ada: Member) -> None:
    """The only owner cannot leave, be removed, or get another role; with a second owner, all are possible."""
    principal = acting(ada)
    for act in (
        (people.members.leave, principal),
        (people.members.remove, principal, ada.user.id),
        (people.members.change_role, principal, ada.user.id, Role.ADMIN),
    ):
        assert _refusal(*act) is LastOwner
    people.members.change_role(principal, people.join(ada, Role.VIEWER).user.id, Role.OWNER)
    people.members.leave(principal)
    assert people.member(ada) is None


@pytest.mark.parametrize("way", ["each other", "themselves", "leaving", "removing each other"])
def test_two_concurrent_owners(own_sandbox: SandboxInstallation, way: str) -> None:
    """When two owners demote themselves or one another concurrently, through two servers, one owner stays."""
    people = People(own_sandbox)
    servers = [people.members, PeopleServices(own_sandbox).members]
    for _ in range(6):
        ada = people.owner()
        bo = people.join(ada, Role.OWNER)

        def unmake(turn: int, pair: tuple[Member, Member] = (ada, bo)) -> object:
            own, other = pair[turn], pair[1 - turn]
            members = servers[turn]
            match way:
                case "each other":
                    return _refusal(members.change_role, acting(own), other.user.id, Role.ADMIN)
                case "themselves":
                    return _refusal(members.change_role, acting(own), own.user.id, Role.ADMIN)
                case "leaving":
                    return _refusal(members.leave, acting(own))
                case _:
                    return _refusal(members.remove, acting(own), other.user.id)

        with ThreadPoolExecutor(2) as pool:
            refusals = list(pool.map(unmake, range(2)))
        page = people.members.list(acting_operator(ada.workspace_id))
        assert [m.role for m in page.items].count(Role.OWNER) == 1
        assert refusals.count(None) == 1


def test_a_role_lost_a_moment_ago(people: People, ada: Member) -> None:
    """A caller who was an owner when the request began, and lost that before the lock, acts in the new role."""
    bo = people.join(ada, Role.OWNER)
    before = acting(bo)
    people.members.change_role(acting(ada), bo.user.id, Role.VIEWER)
    for act in (
        (people.members.remove, before, ada.user.id),
        (people.members.change_role, before, ada.user.id, Role.VIEWER),
        (people.invitations.invite, before, "x@example.com", Role.OWNER),
        (people.sandbox.services.workspaces.rename, before, "Mine"),
    ):
        assert _refusal(*act) is Forbidden
    people.members.remove(acting(ada), bo.user.id)
    assert _refusal(people.members.remove, before, ada.user.id) is Forbidden


# --- from the next request on ---


def test_removal_holds_immediately(people: People, ada: Member) -> None:
    """A removed member's session and links no longer open the workspace, on any server; keys keep working."""
    bo = people.join(ada, Role.ADMIN)
    session, (link, _) = people.signed_in(bo), people.sign_in.make_link(bo)
    member = people.sign_in.member(session, ada.workspace_id)
    created = people.sandbox.services.keys.create(acting(member), KeyDraft("sync"))
    people.members.remove(acting(ada), bo.user.id)
    for server in (people, PeopleServices(people.sandbox)):
        with pytest.raises(NotFound):
            server.sign_in.member(session, ada.workspace_id)
        with pytest.raises(Invalid):
            server.sign_in.redeem(link)
    assert people.sandbox.verdict(created) == "verified"


def test_a_new_role_holds_immediately(people: People, ada: Member) -> None:
    """A demoted member's next request has the rights of the new role."""
    bo = people.join(ada, Role.ADMIN)
    session = people.signed_in(bo)
    people.members.change_role(acting(ada), bo.user.id, Role.VIEWER)
    principal = acting(people.sign_in.member(session, ada.workspace_id))
    with pytest.raises(Forbidden):
        people.sandbox.services.keys.create(principal, KeyDraft("sync"))


def test_a_removed_member_holds_no_way_back(people: People, ada: Member) -> None:
    """Links to invitations that a member created end with the membership, or with the right to create them."""
    bo, cy = people.join(ada, Role.ADMIN), people.join(ada, Role.OWNER)
    as_admin = people.invitations.invite(acting(bo), "a@example.com", Role.ADMIN)[0]
    as_owner = people.invitations.invite(acting(cy), "b@example.com", Role.OWNER)[0]
    below = people.invitations.invite(acting(cy), "c@example.com", Role.VIEWER)[0]
    others = people.invitations.invite(acting(ada), "d@example.com", Role.OWNER)[0]
    people.members.remove(acting(ada), bo.user.id)
    people.members.change_role(acting(ada), cy.user.id, Role.ADMIN)
    for dead in (as_admin, as_owner):
        with pytest.raises(Invalid):
            people.invitations.find(dead)
    for alive in (below, others):
        assert people.invitations.find(alive).workspace.id == ada.workspace_id
    assert len(people.events(ada.workspace_id, "member.invitation_revoked")) == 2


def test_keys_of_a_former_member_are_marked(people: People, ada: Member) -> None:
    """The keys of a former member are marked, in the list and on their own, until the user joins again."""
    keys = people.sandbox.services.keys
    bo = people.join(ada, Role.DEVELOPER)
    session = people.signed_in(bo)
    theirs = keys.create(acting(bo), KeyDraft("theirs")).key
    own = keys.create(acting(ada), KeyDraft("own")).key
    operators = keys.create(acting_operator(ada.workspace_id), KeyDraft("operator's")).key
    assert not any(key.creator_left for key in keys.list(acting(ada)).items)
    people.members.leave(acting(bo))
    marked = {key.id: key.creator_left for key in keys.list(acting(ada)).items}
    assert marked == {theirs.id: True, own.id: False, operators.id: False}
    assert keys.get(acting(ada), theirs.id).creator_left
    link, _ = people.invitations.invite(acting(ada), "back@example.com", Role.VIEWER)
    people.invitations.join(link, session)
    assert not keys.get(acting(ada), theirs.id).creator_left


def test_a_member_elsewhere_is_no_member_here(people: People, ada: Member) -> None:
    """A creator who left here is marked, and is still a member of another workspace."""
    bo = people.join(ada, Role.DEVELOPER)
    elsewhere = people.owner("Cy")
    link, _ = people.invitations.invite(acting(elsewhere), "bo@example.org", Role.ADMIN)
    people.invitations.join(link, people.signed_in(bo))
    key = people.sandbox.services.keys.create(acting(bo), KeyDraft("theirs")).key
    people.members.leave(acting(bo))
    assert people.sandbox.services.keys.get(acting(ada), key.id).creator_left
    page = people.members.list(acting(elsewhere))
    assert bo.user.id in {member.user.id for member in page.items}


# --- of one workspace only ---


def test_another_workspaces_members(people: People, ada: Member) -> None:
    """An id of another workspace's member gets the same answer as one that never existed, and changes nothing (R48)."""
    stranger = people.owner("Stranger")
    refusals = set()
    for user_id in (stranger.user.id, ABSENT):
        for act in (
            lambda u: people.members.remove(acting(ada), u),
            lambda u: people.members.change_role(acting(ada), u, Role.VIEWER),
        ):
            with pytest.raises(NotFound) as refused:
                act(user_id)
            refusals.add(str(refused.value))
    assert len(refusals) == 1
    assert people.member(stranger) == stranger


def test_roles_are_of_a_workspace(people: People, ada: Member) -> None:
    """An owner here who is a viewer there is a viewer there."""
    elsewhere = people.owner("Cy")
    link, _ = people.invitations.invite(acting(elsewhere), "ada@example.org", Role.VIEWER)
    session = people.signed_in(ada)
    people.invitations.join(link, session)
    roles = {m.workspace_id: m.role for m in people.sign_in.memberships(session)}
    assert roles == {ada.workspace_id: Role.OWNER, elsewhere.workspace_id: Role.VIEWER}
    there = acting(people.sign_in.member(session, elsewhere.workspace_id))
    assert _refusal(people.members.remove, there, elsewhere.user.id) is Forbidden


@pytest.mark.parametrize(
    "tail", ["", "1", "\0" * 22, "x" * 5000, "'" * 22, "é" * 22, "\ud800" * 22]
)
def test_malformed_ids(people: People, ada: Member, tail: str) -> None:
    """A malformed id gets the same answer as an unknown one."""
    principal, session = acting(ada), people.signed_in(ada)
    operator = people.sandbox.services.credentials
    request = PortalRequest(WorkspaceId(f"ws_{tail}"), PortalUser("u1", "Pat"), Role.VIEWER)
    acts: list[tuple[object, ...]] = [
        (people.members.find, principal, f"usr_{tail}"),
        (people.members.remove, principal, UserId(f"usr_{tail}")),
        (people.members.change_role, principal, UserId(f"usr_{tail}"), Role.VIEWER),
        (people.invitations.revoke, principal, InvitationId(f"inv_{tail}")),
        (people.accounts.end_session, session, SessionId(f"ses_{tail}")),
        (operator.revoke, CredentialId(f"op_{tail}"), principal.actor),
        (people.portal.create, PRODUCT, request),
    ]
    assert [_refusal(*act) for act in acts] == [NotFound] * len(acts)


# --- lists and records ---


def test_found_by_address(people: People, ada: Member) -> None:
    """A member is found by id or by email; a user of another workspace is not found."""
    find, stranger = people.members.find, people.owner()
    principal = acting(ada)
    assert find(principal, ada.user.id) == find(principal, email_of(ada).upper()) == ada
    for who in (stranger.user.id, email_of(stranger), "@", "a@b\0", "a@\ud800"):
        assert _refusal(find, principal, who) is NotFound


def test_pages_of_members(people: People, ada: Member) -> None:
    """Pages have every member once, in one order, however small they are."""
    expected = {ada.user.id, *(people.join(ada, Role.VIEWER).user.id for _ in range(6))}
    ids: list[UserId] = []
    after: UserId | None = None
    while True:
        page = people.members.list(acting(ada), limit=3, after=after)
        ids += [member.user.id for member in page.items]
        after = page.next
        if after is None:
            break
    assert ids == sorted(expected)


def test_what_is_recorded(people: People, ada: Member) -> None:
    """Each change of members adds one event, with actor, origin and what changed; no change, no event."""
    bo = people.join(ada, Role.VIEWER)
    origin = people.origin()
    people.members.change_role(acting(ada), bo.user.id, Role.ADMIN, origin)
    people.members.change_role(acting(ada), bo.user.id, Role.ADMIN, origin)
    people.members.leave(acting(bo), origin)
    changed, removed = people.events(ada.workspace_id, "member.role_changed", "member.removed")
    assert (changed.actor.id, changed.target.id, changed.origin) == (
        ada.user.id,
        bo.user.id,
        origin,
    )
    assert changed.data == {"name": "Bo", "from": "viewer", "to": "admin"}
    assert (removed.actor.id, removed.target.id) == (bo.user.id, bo.user.id)
    assert removed.data == {"name": "Bo", "role": "admin"}


def test_an_owners_address_is_one_persons(people: People, ada: Member) -> None:
    """A workspace is not created if its owner's email is taken or malformed."""
    create, workspaces = (
        people.sandbox.services.workspaces.create,
        people.sandbox.services.workspaces,
    )
    newest = workspaces.list(limit=1).items
    for email, refusal in ((email_of(ada).upper(), EmailTaken), ("no address", Invalid)):
        with pytest.raises(refusal):
            create("W", owner="Not Ada", email=email)
    assert workspaces.list(limit=1).items == newest


def test_another_name(people: People, ada: Member) -> None:
    """An admin may rename the workspace, a developer may not; the same name again adds no event."""
    rename = people.sandbox.services.workspaces.rename
    admin, developer = people.join(ada, Role.ADMIN), people.join(ada, Role.DEVELOPER)
    before = people.sandbox.services.workspaces.get(ada.workspace_id).name
    for _ in range(2):
        assert rename(acting(admin), "Rockets").name == "Rockets"
    assert _refusal(rename, acting(developer), "Mine") is Forbidden
    assert _refusal(rename, acting(admin), "two\nlines") is Invalid
    changes = [event.data for event in people.events(ada.workspace_id, "workspace.updated")]
    assert changes == [{"from": before, "to": "Rockets"}]
