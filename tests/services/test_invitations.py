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
from tests.support.people import RIGHT, Crowd, Server, acting, acting_operator, email_of

MOMENT = timedelta(microseconds=1)
ABSENT = InvitationId("inv_0000000000000000000000")


@pytest.fixture
def ada(crowd: Crowd) -> Member:
    """The owner of a new workspace."""
    return crowd.owner()


@pytest.fixture
def email(crowd: Crowd) -> str:
    """Return an unused email."""
    return f"guest.{crowd.origin().address}@example.com"


def _invite(crowd: Crowd, owner: Member, email: str, role: Role = Role.DEVELOPER) -> Secret:
    return crowd.invitations.invite(acting(owner), email, role)[0]


def _refusal(act: Callable[..., object], *arguments: object) -> type[KeysteadError] | None:
    try:
        act(*arguments)
    except KeysteadError as error:
        return type(error)
    return None


def _limit(crowd: Crowd, owner: Member, members: int) -> None:
    crowd.sandbox.services.workspaces.set_plan(owner.workspace_id, UNLIMITED, {"members": members})


# --- accepted ---


def test_a_new_person(crowd: Crowd, ada: Member, email: str) -> None:
    """The link creates a user of that email and role, signed in and fresh, with a working password."""
    origin = crowd.origin()
    link = _invite(crowd, ada, email, Role.ADMIN)
    signed_in = crowd.invitations.accept(link, "Bo", Password(RIGHT), origin, "Firefox")
    member = signed_in.member
    assert (member.workspace_id, member.role) == (ada.workspace_id, Role.ADMIN)
    assert (member.user.name, member.user.email) == ("Bo", email)
    visitor = crowd.sign_in.visitor(signed_in.secret)
    assert visitor is not None
    assert visitor.session.proven_by is AuthenticationMethod.INVITATION
    assert (visitor.session.address, visitor.session.agent) == (origin.address, "Firefox")
    assert visitor.members == [member]
    assert member.authentication is not None
    assert member.authentication.is_recent(crowd.clock.now())
    again = crowd.sign_in.with_password(email, Password(RIGHT), origin, device=signed_in.device)
    assert again.device is None
    assert again.user.password_set_at == crowd.clock.now()


def test_without_a_password(crowd: Crowd, ada: Member, email: str) -> None:
    """A password may be set later: until then one-time links are the way in."""
    member = crowd.invitations.accept(_invite(crowd, ada, email), "Bo").member
    assert member.user.password_set_at is None
    assert crowd.stands(crowd.signed_in(member))


def test_a_user_with_an_account(crowd: Crowd, ada: Member, email: str) -> None:
    """A signed-in user joins with their account and session, whatever email the link is for."""
    bo = crowd.owner("Bo")
    session = crowd.signed_in(bo)
    joined = crowd.invitations.join(_invite(crowd, ada, email), session)
    assert (joined.user.id, joined.role) == (bo.user.id, Role.DEVELOPER)
    assert crowd.sign_in.member(session, ada.workspace_id) == joined
    assert crowd.sign_in.member(session, bo.workspace_id).role is Role.OWNER


def test_an_email_that_has_an_account(crowd: Crowd, ada: Member) -> None:
    """A link for the email of an account creates no second one: its user signs in and joins, with the same link."""
    bo = crowd.owner("Bo")
    link = _invite(crowd, ada, email_of(bo).upper())
    with pytest.raises(EmailTaken):
        crowd.invitations.accept(link, "Not Bo", Password(RIGHT))
    assert crowd.invitations.join(link, crowd.signed_in(bo)).user.id == bo.user.id


@pytest.mark.parametrize("text", ["short", "passwordpassword", "guest guest guest"])
def test_a_bad_password_uses_nothing_up(crowd: Crowd, ada: Member, email: str, text: str) -> None:
    """An unacceptable password or name is refused, and the link still works."""
    link = _invite(crowd, ada, email)
    assert _refusal(crowd.invitations.accept, link, "Bo", Password(text)) is Invalid
    assert _refusal(crowd.invitations.accept, link, "two\nlines") is Invalid
    assert crowd.invitations.accept(link, "Bo", Password(RIGHT)).member.user.name == "Bo"


# --- once ---


def _ways(crowd: Crowd) -> list[Callable[[Secret], object]]:
    guest = crowd.signed_in(crowd.owner("Guest"))
    return [
        crowd.invitations.find,
        lambda link: crowd.invitations.accept(link, "Bo"),
        lambda link: crowd.invitations.join(link, guest),
    ]


def test_a_link_that_does_not_stand(crowd: Crowd, ada: Member, email: str) -> None:
    """A link that was used, revoked, replaced, expired or never created: each use is refused in the same words."""
    used, replaced, expired = (_invite(crowd, ada, f"{n}{email}") for n in range(3))
    crowd.invitations.accept(used, "Bo")
    _invite(crowd, ada, f"1{email}".upper())
    revoked, invitation = crowd.invitations.invite(acting(ada), email, Role.VIEWER)
    crowd.invitations.revoke(acting(ada), invitation.id)
    crowd.clock.advance(INVITATION_LIFETIME)
    refusals = set()
    for way in _ways(crowd):
        for link in (used, replaced, expired, revoked, Secret.fresh()):
            with pytest.raises(Invalid) as refused:
                way(link)
            refusals.add(str(refused.value))
    assert len(refusals) == 1


def test_seven_days(crowd: Crowd, ada: Member, email: str) -> None:
    """A link works until the last microsecond before its expiry, and not from it on."""
    early, late = _invite(crowd, ada, email), _invite(crowd, ada, f"x{email}")
    assert timedelta(days=7) == INVITATION_LIFETIME
    crowd.clock.advance(INVITATION_LIFETIME - MOMENT)
    assert crowd.invitations.accept(early, "Bo").member.role is Role.DEVELOPER
    crowd.clock.advance(MOMENT)
    assert _refusal(crowd.invitations.accept, late, "Bo") is Invalid


def test_looking_uses_nothing_up(crowd: Crowd, ada: Member, email: str) -> None:
    """Fetching a link, as a mail scanner does, does no harm."""
    link = _invite(crowd, ada, email)
    assert crowd.invitations.find(link) == crowd.invitations.find(link)
    opened = crowd.invitations.find(link)
    assert (opened.invitation.email, opened.workspace.id) == (email, ada.workspace_id)
    assert crowd.invitations.accept(link, "Bo").member.user.email == email


@pytest.mark.parametrize("way", ["accept", "join"])
def test_one_of_many_concurrent_uses(own_sandbox: SandboxInstallation, way: str) -> None:
    """Of 12 uses of one link at a time, through two servers, one adds a member; the others leave no rows."""
    crowd = Crowd(own_sandbox)
    servers = [crowd, Server(own_sandbox)]
    ada = crowd.owner()
    link = _invite(crowd, ada, "wanted@example.com")
    sessions = [crowd.signed_in(crowd.owner(f"P{n}")) for n in range(12)]

    def use(number: int) -> type[KeysteadError] | None:
        invitations = servers[number % 2].invitations
        if way == "join":
            return _refusal(invitations.join, link, sessions[number])
        return _refusal(invitations.accept, link, f"P{number}")

    with ThreadPoolExecutor(12) as pool:
        refusals = list(pool.map(use, range(12)))
    assert refusals.count(None) == 1
    assert set(refusals) <= {None, Invalid}
    members = crowd.members.list(acting_operator(ada.workspace_id)).items
    assert len(members) == 2
    assert len(crowd.events(ada.workspace_id, "member.added")) == 2


# --- made, seen, revoked ---


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("given", Role)
def test_who_invites_whom(crowd: Crowd, ada: Member, email: str, role: Role, given: Role) -> None:
    """Owners may invite and revoke any role, admins all but owners, other roles no one."""
    actor = acting(crowd.join(ada, role))
    allowed = role is Role.OWNER or (role is Role.ADMIN and given is not Role.OWNER)
    expected = None if allowed else Forbidden
    assert _refusal(crowd.invitations.invite, actor, email, given) is expected
    _, invitation = crowd.invitations.invite(acting(ada), f"x{email}", given)
    assert _refusal(crowd.invitations.revoke, actor, invitation.id) is expected
    listing = None if role in {Role.OWNER, Role.ADMIN} else Forbidden
    assert _refusal(crowd.invitations.list, actor) is listing


def test_only_owners_replace_an_owners_invitation(crowd: Crowd, ada: Member, email: str) -> None:
    """Inviting an email again revokes its open invitation, which requires the right to revoke that one."""
    admin = acting(crowd.join(ada, Role.ADMIN))
    link, _ = crowd.invitations.invite(acting(ada), email, Role.OWNER)
    before = crowd.events(ada.workspace_id)
    assert _refusal(crowd.invitations.invite, admin, email.upper(), Role.VIEWER) is Forbidden
    assert crowd.events(ada.workspace_id) == before
    assert crowd.invitations.accept(link, "Olga").member.role is Role.OWNER
    link, _ = crowd.invitations.invite(acting(ada), f"x{email}", Role.OWNER)
    crowd.invitations.invite(acting(ada), f"x{email}", Role.VIEWER)
    assert _refusal(crowd.invitations.accept, link, "Otto") is Invalid


def test_an_existing_member(crowd: Crowd, ada: Member) -> None:
    """A member's email is not invited again, and a member does not join twice; the link stays for another."""
    bo = crowd.join(ada, Role.VIEWER)
    assert _refusal(_invite, crowd, ada, email_of(bo).upper()) is Invalid
    link = _invite(crowd, ada, f"x{email_of(bo)}", Role.ADMIN)
    assert _refusal(crowd.invitations.join, link, crowd.signed_in(bo)) is Invalid
    member = crowd.member(bo)
    assert member is not None
    assert member.role is Role.VIEWER
    assert crowd.invitations.accept(link, "Cy").member.role is Role.ADMIN


def test_seen_in_pages(crowd: Crowd, ada: Member, email: str) -> None:
    """All invitations are listed, newest first, each with its status; none shows its link."""
    for number in range(3):
        _invite(crowd, ada, f"{number}{email}")
        crowd.clock.advance(seconds=1)
    link = _invite(crowd, ada, f"3{email}")
    crowd.invitations.accept(link, "Bo")
    page = crowd.invitations.list(acting(ada), limit=3)
    rest = crowd.invitations.list(acting(ada), limit=3, before=page.next)
    invitations = page.items + rest.items
    assert [invitation.email for invitation in invitations] == [
        f"{number}{email}" for number in (3, 2, 1, 0)
    ]
    assert rest.next is None
    now = crowd.clock.now()
    assert [invitation.status(now) for invitation in invitations[:2]] == [
        InvitationStatus.ACCEPTED,
        InvitationStatus.OPEN,
    ]
    assert invitations[1].status(now + INVITATION_LIFETIME) is InvitationStatus.EXPIRED
    assert link.reveal() not in repr(invitations)


def test_another_workspaces_invitations(crowd: Crowd, ada: Member, email: str) -> None:
    """They are not listed, and an id of theirs gets the same answer as one that never existed (R48)."""
    stranger = crowd.owner("Stranger")
    link, foreign = crowd.invitations.invite(acting(stranger), email, Role.VIEWER)
    refusals = set()
    for id in (foreign.id, ABSENT):
        with pytest.raises(NotFound) as refused:
            crowd.invitations.revoke(acting(ada), id)
        refusals.add(str(refused.value))
    assert len(refusals) == 1
    assert crowd.invitations.list(acting(ada)).items == []
    assert crowd.invitations.accept(link, "Bo").member.workspace_id == stranger.workspace_id


def test_revoking_again(crowd: Crowd, ada: Member, email: str) -> None:
    """Revoking an invitation that was revoked or accepted changes nothing, and adds no event."""
    _, first = crowd.invitations.invite(acting(ada), email, Role.VIEWER)
    link, second = crowd.invitations.invite(acting(ada), f"x{email}", Role.VIEWER)
    crowd.invitations.accept(link, "Bo")
    ended = [crowd.invitations.revoke(acting(ada), first.id).revoked_at for _ in range(2)]
    assert ended[0] == ended[1] == crowd.clock.now()
    revoked = crowd.invitations.revoke(acting(ada), second.id)
    assert revoked.status(crowd.clock.now()) is InvitationStatus.ACCEPTED
    assert len(crowd.events(ada.workspace_id, "member.invitation_revoked")) == 1


def test_so_many_open_at_a_time(crowd: Crowd, ada: Member, email: str) -> None:
    """At most a hundred are open; a new link for an email replaces its old one, and revoking makes room."""
    for number in range(MAX_OPEN - 1):
        _invite(crowd, ada, f"{number}{email}")
    link = _invite(crowd, ada, f"last{email}")
    assert _refusal(_invite, crowd, ada, email) is Invalid
    assert _refusal(_invite, crowd, ada, f"last{email}") is None
    assert _refusal(crowd.invitations.find, link) is Invalid
    crowd.clock.advance(INVITATION_LIFETIME)
    assert _refusal(_invite, crowd, ada, email, Role.VIEWER) is None


def test_what_is_recorded(crowd: Crowd, ada: Member, email: str) -> None:
    """Inviting, joining and signing in add one event each, with actor, target and origin, without the link."""
    origin = crowd.origin()
    link, invitation = crowd.invitations.invite(acting(ada), email, Role.VIEWER, origin)
    member = crowd.invitations.accept(link, "Bo", origin=origin).member
    invited, added, entered = crowd.events(ada.workspace_id)[-3:]
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
    assert link.reveal() not in repr(crowd.events(ada.workspace_id))


# --- room ---


def test_the_plans_room_counts_when_one_joins(crowd: Crowd, ada: Member, email: str) -> None:
    """Inviting takes no room. Joining without room is refused, without a new user; the link works later."""
    _limit(crowd, ada, 2)
    links = [_invite(crowd, ada, f"{number}{email}") for number in range(3)]
    first = crowd.invitations.accept(links[0], "Bo").member
    guest = crowd.signed_in(crowd.owner())
    assert _refusal(crowd.invitations.accept, links[1], "Cy") is LimitReached
    assert _refusal(crowd.invitations.join, links[1], guest) is LimitReached
    crowd.members.leave(acting(first))
    assert crowd.invitations.accept(links[1], "Cy").member.user.email == f"1{email}"
    assert _refusal(crowd.invitations.accept, links[2], "Di") is LimitReached


def test_exactly_so_many_members(own_sandbox: SandboxInstallation) -> None:
    """Of twelve who accept concurrently under a limit of five, through two servers, as many join as fit (R39)."""
    crowd = Crowd(own_sandbox)
    servers = [crowd, Server(own_sandbox)]
    ada = crowd.owner()
    _limit(crowd, ada, 5)
    links = [_invite(crowd, ada, f"p.{number}@example.com") for number in range(12)]

    def accept(number: int) -> type[KeysteadError] | None:
        return _refusal(servers[number % 2].invitations.accept, links[number], f"P{number}")

    with ThreadPoolExecutor(12) as pool:
        refusals = list(pool.map(accept, range(12)))
    assert refusals.count(None) == 4
    assert refusals.count(LimitReached) == 8
    assert len(crowd.members.list(acting_operator(ada.workspace_id)).items) == 5


# --- users who may not join ---


def test_only_a_standing_session_joins(crowd: Crowd, ada: Member, email: str) -> None:
    """A session that has ended cannot join, and the link still works."""
    link, session = _invite(crowd, ada, email), crowd.signed_in(crowd.owner())
    crowd.sign_in.sign_out(session)
    for dead in (session, Secret.fresh()):
        assert _refusal(crowd.invitations.join, link, dead) is SessionEnded
    assert crowd.invitations.find(link).invitation.email == email


def test_a_products_user_stays_where_they_are(crowd: Crowd, ada: Member, email: str) -> None:
    """A user whom the product vouches for in one workspace joins no other."""
    session = crowd.portal_session(crowd.owner())
    assert _refusal(crowd.invitations.join, _invite(crowd, ada, email), session) is Forbidden


# --- the cost of a link ---


def test_one_link_brings_few_passwords(crowd: Crowd, ada: Member, email: str) -> None:
    """After a number of estimated passwords a link must wait; other links don't, and this one works later."""
    link = _invite(crowd, ada, email)
    guessable = Password("passwordpassword")
    for _ in range(NEW_PASSWORD.most):
        assert _refusal(crowd.invitations.accept, link, "Bo", guessable) is Invalid
    assert _refusal(crowd.invitations.accept, link, "Bo", Password(RIGHT)) is RateLimited
    other = _invite(crowd, ada, f"other.{email}")
    crowd.invitations.accept(other, "Cy", Password(RIGHT))
    crowd.clock.advance(NEW_PASSWORD.window)
    crowd.invitations.accept(link, "Bo", Password(RIGHT))


def test_what_costs_nothing_is_no_try(crowd: Crowd, ada: Member, email: str) -> None:
    """A short password, and an email that is taken, are refused before anything is counted or estimated."""
    link, taken = _invite(crowd, ada, email), _invite(crowd, ada, email_of(crowd.owner()))
    for _ in range(NEW_PASSWORD.most + 1):
        assert _refusal(crowd.invitations.accept, link, "Bo", Password("short")) is Invalid
        assert _refusal(crowd.invitations.accept, taken, "Bo", Password(RIGHT)) is EmailTaken
    crowd.invitations.accept(link, "Bo", Password(RIGHT))
