"""Invitations: a link that adds one member, once, within seven days, while the plan has room."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from keystead.domain.errors import (
    EmailTaken,
    Forbidden,
    Invalid,
    KeysteadError,
    LimitReached,
    NotFound,
    RateLimited,
    SessionEnded,
)
from keystead.domain.ids import InvitationId
from keystead.domain.invitations import INVITATION_LIFETIME, MAX_OPEN, InvitationStatus
from keystead.domain.passwords import Password
from keystead.domain.sessions import AuthenticationMethod
from keystead.domain.throttle import NEW_PASSWORD
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member, Role
from tests.support.installations import UNLIMITED, SandboxInstallation
from tests.support.people import RIGHT, People, PeopleServices, acting, acting_operator, email_of

MOMENT = timedelta(microseconds=1)
ABSENT = InvitationId("inv_0000000000000000000000")


@pytest.fixture
def ada(people: People) -> Member:
    """The owner of a new workspace."""
    return people.owner()


@pytest.fixture
def email(people: People) -> str:
    """Return an unused email."""
    return f"guest.{people.origin().address}@example.com"


def _invite(people: People, owner: Member, email: str, role: Role = Role.DEVELOPER) -> Secret:
    return people.invitations.invite(acting(owner), email, role)[0]


def _refusal(act: Callable[..., object], *arguments: object) -> type[KeysteadError] | None:
    try:
        act(*arguments)
    except KeysteadError as error:
        return type(error)
    return None


def _limit(people: People, owner: Member, members: int) -> None:
    people.sandbox.services.workspaces.set_plan(owner.workspace_id, UNLIMITED, {"members": members})


# --- accepted ---


def test_a_new_person(people: People, ada: Member, email: str) -> None:
    """The link creates a user of that email and role, signed in and fresh, with a working password."""
    origin = people.origin()
    link = _invite(people, ada, email, Role.ADMIN)
    signed_in = people.invitations.accept(link, "Bo", Password(RIGHT), origin, "Firefox")
    member = signed_in.member
    assert (member.workspace_id, member.role) == (ada.workspace_id, Role.ADMIN)
    assert (member.user.name, member.user.email) == ("Bo", email)
    visitor = people.sign_in.visitor(signed_in.secret)
    assert visitor is not None
    assert visitor.session.proven_by is AuthenticationMethod.INVITATION
    assert (visitor.session.address, visitor.session.agent) == (origin.address, "Firefox")
    assert visitor.members == [member]
    assert member.authentication is not None
    assert member.authentication.is_recent(people.clock.now())
    again = people.sign_in.with_password(email, Password(RIGHT), origin, device=signed_in.device)
    assert again.device is None
    assert again.user.password_set_at == people.clock.now()


def test_without_a_password(people: People, ada: Member, email: str) -> None:
    """A password may be set later: until then one-time links are the way in."""
    member = people.invitations.accept(_invite(people, ada, email), "Bo").member
    assert member.user.password_set_at is None
    assert people.stands(people.signed_in(member))


def test_a_user_with_an_account(people: People, ada: Member, email: str) -> None:
    """A signed-in user joins with their account and session, whatever email the link is for."""
    bo = people.owner("Bo")
    session = people.signed_in(bo)
    joined = people.invitations.join(_invite(people, ada, email), session)
    assert (joined.user.id, joined.role) == (bo.user.id, Role.DEVELOPER)
    assert people.sign_in.member(session, ada.workspace_id) == joined
    assert people.sign_in.member(session, bo.workspace_id).role is Role.OWNER


def test_an_email_that_has_an_account(people: People, ada: Member) -> None:
    """A link for the email of an account creates no second one: its user signs in and joins, with the same link."""
    bo = people.owner("Bo")
    link = _invite(people, ada, email_of(bo).upper())
    with pytest.raises(EmailTaken):
        people.invitations.accept(link, "Not Bo", Password(RIGHT))
    assert people.invitations.join(link, people.signed_in(bo)).user.id == bo.user.id


@pytest.mark.parametrize("text", ["short", "passwordpassword", "guest guest guest"])
def test_a_bad_password_uses_nothing_up(people: People, ada: Member, email: str, text: str) -> None:
    """An unacceptable password or name is refused, and the link still works."""
    link = _invite(people, ada, email)
    assert _refusal(people.invitations.accept, link, "Bo", Password(text)) is Invalid
    assert _refusal(people.invitations.accept, link, "two\nlines") is Invalid
    assert people.invitations.accept(link, "Bo", Password(RIGHT)).member.user.name == "Bo"


# --- once ---


def _ways(people: People) -> list[Callable[[Secret], object]]:
    guest = people.signed_in(people.owner("Guest"))
    return [
        people.invitations.find,
        lambda link: people.invitations.accept(link, "Bo"),
        lambda link: people.invitations.join(link, guest),
    ]


def test_a_link_that_does_not_stand(people: People, ada: Member, email: str) -> None:
    """A link that was used, revoked, replaced, expired or never created: each use is refused in the same words."""
    used, replaced, expired = (_invite(people, ada, f"{n}{email}") for n in range(3))
    people.invitations.accept(used, "Bo")
    _invite(people, ada, f"1{email}".upper())
    revoked, invitation = people.invitations.invite(acting(ada), email, Role.VIEWER)
    people.invitations.revoke(acting(ada), invitation.id)
    people.clock.advance(INVITATION_LIFETIME)
    refusals = set()
    for way in _ways(people):
        for link in (used, replaced, expired, revoked, Secret.fresh()):
            with pytest.raises(Invalid) as refused:
                way(link)
            refusals.add(str(refused.value))
    assert len(refusals) == 1


def test_seven_days(people: People, ada: Member, email: str) -> None:
    """A link works until the last microsecond before its expiry, and not from it on."""
    early, late = _invite(people, ada, email), _invite(people, ada, f"x{email}")
    assert timedelta(days=7) == INVITATION_LIFETIME
    people.clock.advance(INVITATION_LIFETIME - MOMENT)
    assert people.invitations.accept(early, "Bo").member.role is Role.DEVELOPER
    people.clock.advance(MOMENT)
    assert _refusal(people.invitations.accept, late, "Bo") is Invalid


def test_looking_uses_nothing_up(people: People, ada: Member, email: str) -> None:
    """Fetching a link, as a mail scanner does, does no harm."""
    link = _invite(people, ada, email)
    assert people.invitations.find(link) == people.invitations.find(link)
    opened = people.invitations.find(link)
    assert (opened.invitation.email, opened.workspace.id) == (email, ada.workspace_id)
    assert people.invitations.accept(link, "Bo").member.user.email == email


@pytest.mark.parametrize("way", ["accept", "join"])
def test_one_of_many_concurrent_uses(own_sandbox: SandboxInstallation, way: str) -> None:
    """Of 12 uses of one link at a time, through two servers, one adds a member; the others leave no rows."""
    people = People(own_sandbox)
    servers = [people, PeopleServices(own_sandbox)]
    ada = people.owner()
    link = _invite(people, ada, "wanted@example.com")
    sessions = [people.signed_in(people.owner(f"P{n}")) for n in range(12)]

    def use(number: int) -> type[KeysteadError] | None:
        invitations = servers[number % 2].invitations
        if way == "join":
            return _refusal(invitations.join, link, sessions[number])
        return _refusal(invitations.accept, link, f"P{number}")

    with ThreadPoolExecutor(12) as pool:
        refusals = list(pool.map(use, range(12)))
    assert refusals.count(None) == 1
    assert set(refusals) <= {None, Invalid}
    members = people.members.list(acting_operator(ada.workspace_id)).items
    assert len(members) == 2
    assert len(people.events(ada.workspace_id, "member.added")) == 2


# --- made, seen, revoked ---


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("given", Role)
def test_who_invites_whom(people: People, ada: Member, email: str, role: Role, given: Role) -> None:
    """Owners may invite and revoke any role, admins all but owners, other roles no one."""
    actor = acting(people.join(ada, role))
    allowed = role is Role.OWNER or (role is Role.ADMIN and given is not Role.OWNER)
    expected = None if allowed else Forbidden
    assert _refusal(people.invitations.invite, actor, email, given) is expected
    _, invitation = people.invitations.invite(acting(ada), f"x{email}", given)
    assert _refusal(people.invitations.revoke, actor, invitation.id) is expected
    listing = None if role in {Role.OWNER, Role.ADMIN} else Forbidden
    assert _refusal(people.invitations.list, actor) is listing


def test_only_owners_replace_an_owners_invitation(people: People, ada: Member, email: str) -> None:
    """Inviting an email again revokes its open invitation, which requires the right to revoke that one."""
    admin = acting(people.join(ada, Role.ADMIN))
    link, _ = people.invitations.invite(acting(ada), email, Role.OWNER)
    before = people.events(ada.workspace_id)
    assert _refusal(people.invitations.invite, admin, email.upper(), Role.VIEWER) is Forbidden
    assert people.events(ada.workspace_id) == before
    assert people.invitations.accept(link, "Olga").member.role is Role.OWNER
    link, _ = people.invitations.invite(acting(ada), f"x{email}", Role.OWNER)
    people.invitations.invite(acting(ada), f"x{email}", Role.VIEWER)
    assert _refusal(people.invitations.accept, link, "Otto") is Invalid


def test_an_existing_member(people: People, ada: Member) -> None:
    """A member's email is not invited again, and a member does not join twice; the link stays for another."""
    bo = people.join(ada, Role.VIEWER)
    assert _refusal(_invite, people, ada, email_of(bo).upper()) is Invalid
    link = _invite(people, ada, f"x{email_of(bo)}", Role.ADMIN)
    assert _refusal(people.invitations.join, link, people.signed_in(bo)) is Invalid
    member = people.member(bo)
    assert member is not None
    assert member.role is Role.VIEWER
    assert people.invitations.accept(link, "Cy").member.role is Role.ADMIN


def test_seen_in_pages(people: People, ada: Member, email: str) -> None:
    """All invitations are listed, newest first, each with its status; none shows its link."""
    for number in range(3):
        _invite(people, ada, f"{number}{email}")
        people.clock.advance(seconds=1)
    link = _invite(people, ada, f"3{email}")
    people.invitations.accept(link, "Bo")
    page = people.invitations.list(acting(ada), limit=3)
    rest = people.invitations.list(acting(ada), limit=3, before=page.next)
    invitations = page.items + rest.items
    assert [invitation.email for invitation in invitations] == [
        f"{number}{email}" for number in (3, 2, 1, 0)
    ]
    assert rest.next is None
    now = people.clock.now()
    assert [invitation.status(now) for invitation in invitations[:2]] == [
        InvitationStatus.ACCEPTED,
        InvitationStatus.OPEN,
    ]
    assert invitations[1].status(now + INVITATION_LIFETIME) is InvitationStatus.EXPIRED
    assert link.reveal() not in repr(invitations)


def test_another_workspaces_invitations(people: People, ada: Member, email: str) -> None:
    """They are not listed, and an id of theirs gets the same answer as one that never existed (R48)."""
    stranger = people.owner("Stranger")
    link, foreign = people.invitations.invite(acting(stranger), email, Role.VIEWER)
    refusals = set()
    for id in (foreign.id, ABSENT):
        with pytest.raises(NotFound) as refused:
            people.invitations.revoke(acting(ada), id)
        refusals.add(str(refused.value))
    assert len(refusals) == 1
    assert people.invitations.list(acting(ada)).items == []
    assert people.invitations.accept(link, "Bo").member.workspace_id == stranger.workspace_id


def test_revoking_again(people: People, ada: Member, email: str) -> None:
    """Revoking an invitation that was revoked or accepted changes nothing, and adds no event."""
    _, first = people.invitations.invite(acting(ada), email, Role.VIEWER)
    link, second = people.invitations.invite(acting(ada), f"x{email}", Role.VIEWER)
    people.invitations.accept(link, "Bo")
    ended = [people.invitations.revoke(acting(ada), first.id).revoked_at for _ in range(2)]
    assert ended[0] == ended[1] == people.clock.now()
    revoked = people.invitations.revoke(acting(ada), second.id)
    assert revoked.status(people.clock.now()) is InvitationStatus.ACCEPTED
    assert len(people.events(ada.workspace_id, "member.invitation_revoked")) == 1


def test_so_many_open_at_a_time(people: People, ada: Member, email: str) -> None:
    """At most a hundred are open; a new link for an email replaces its old one, and revoking makes room."""
    for number in range(MAX_OPEN - 1):
        _invite(people, ada, f"{number}{email}")
    link = _invite(people, ada, f"last{email}")
    assert _refusal(_invite, people, ada, email) is Invalid
    assert _refusal(_invite, people, ada, f"last{email}") is None
    assert _refusal(people.invitations.find, link) is Invalid
    people.clock.advance(INVITATION_LIFETIME)
    assert _refusal(_invite, people, ada, email, Role.VIEWER) is None


def test_what_is_recorded(people: People, ada: Member, email: str) -> None:
    """Inviting, joining and signing in add one event each, with actor, target and origin, without the link."""
    origin = people.origin()
    link, invitation = people.invitations.invite(acting(ada), email, Role.VIEWER, origin)
    member = people.invitations.accept(link, "Bo", origin=origin).member
    invited, added, entered = people.events(ada.workspace_id)[-3:]
    assert [invited.type, added.type, entered.type] == [
        "member.invited",
        "member.added",
        "member.signed_in",
    ]
    assert (invited.actor.id, invited.target.type, invited.target.id) == (
        ada.user.id,
        "invitation",
        invitation.id,
    )
    assert invited.data == {"email": email, "role": "viewer"}
    assert (added.actor.id, added.target.id, added.origin) == (
        member.user.id,
        member.user.id,
        origin,
    )
    assert added.data == {
        "name": "Bo",
        "role": "viewer",
        "invitation": invitation.id,
        "invited_by": "Ada",
    }
    assert entered.data == {"by": "invitation"}
    assert link.reveal() not in repr(people.events(ada.workspace_id))


# --- room ---


def test_the_plans_room_counts_when_one_joins(people: People, ada: Member, email: str) -> None:
    """Inviting takes no room. Joining without room is refused, without a new user; the link works later."""
    _limit(people, ada, 2)
    links = [_invite(people, ada, f"{number}{email}") for number in range(3)]
    first = people.invitations.accept(links[0], "Bo").member
    guest = people.signed_in(people.owner())
    assert _refusal(people.invitations.accept, links[1], "Cy") is LimitReached
    assert _refusal(people.invitations.join, links[1], guest) is LimitReached
    people.members.leave(acting(first))
    assert people.invitations.accept(links[1], "Cy").member.user.email == f"1{email}"
    assert _refusal(people.invitations.accept, links[2], "Di") is LimitReached


def test_exactly_so_many_members(own_sandbox: SandboxInstallation) -> None:
    """Of twelve who accept concurrently under a limit of five, through two servers, as many join as fit (R39)."""
    people = People(own_sandbox)
    servers = [people, PeopleServices(own_sandbox)]
    ada = people.owner()
    _limit(people, ada, 5)
    links = [_invite(people, ada, f"p.{number}@example.com") for number in range(12)]

    def accept(number: int) -> type[KeysteadError] | None:
        return _refusal(servers[number % 2].invitations.accept, links[number], f"P{number}")

    with ThreadPoolExecutor(12) as pool:
        refusals = list(pool.map(accept, range(12)))
    assert refusals.count(None) == 4
    assert refusals.count(LimitReached) == 8
    assert len(people.members.list(acting_operator(ada.workspace_id)).items) == 5


# --- users who may not join ---


def test_only_a_standing_session_joins(people: People, ada: Member, email: str) -> None:
    """A session that has ended cannot join, and the link still works."""
    link, session = _invite(people, ada, email), people.signed_in(people.owner())
    people.sign_in.sign_out(session)
    for dead in (session, Secret.fresh()):
        assert _refusal(people.invitations.join, link, dead) is SessionEnded
    assert people.invitations.find(link).invitation.email == email


def test_a_products_user_stays_where_they_are(people: People, ada: Member, email: str) -> None:
    """A user whom the product vouches for in one workspace joins no other."""
    session = people.portal_session(people.owner())
    assert _refusal(people.invitations.join, _invite(people, ada, email), session) is Forbidden


# --- the cost of a link ---


def test_one_link_brings_few_passwords(people: People, ada: Member, email: str) -> None:
    """After a number of estimated passwords a link must wait; other links don't, and this one works later."""
    link = _invite(people, ada, email)
    guessable = Password("passwordpassword")
    for _ in range(NEW_PASSWORD.most):
        assert _refusal(people.invitations.accept, link, "Bo", guessable) is Invalid
    assert _refusal(people.invitations.accept, link, "Bo", Password(RIGHT)) is RateLimited
    other = _invite(people, ada, f"other.{email}")
    people.invitations.accept(other, "Cy", Password(RIGHT))
    people.clock.advance(NEW_PASSWORD.window)
    people.invitations.accept(link, "Bo", Password(RIGHT))


def test_what_costs_nothing_is_no_try(people: People, ada: Member, email: str) -> None:
    """A short password, and an email that is taken, are refused before anything is counted or estimated."""
    link, taken = _invite(people, ada, email), _invite(people, ada, email_of(people.owner()))
    for _ in range(NEW_PASSWORD.most + 1):
        assert _refusal(people.invitations.accept, link, "Bo", Password("short")) is Invalid
        assert _refusal(people.invitations.accept, taken, "Bo", Password(RIGHT)) is EmailTaken
    people.invitations.accept(link, "Bo", Password(RIGHT))
