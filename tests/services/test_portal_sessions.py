"""Portal sessions: a product signs in its own users, and no others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from keystead.domain.errors import Invalid, LimitReached, NotFound, ReauthenticationRequired
from keystead.domain.ids import WorkspaceId
from keystead.domain.keys import KeyDraft
from keystead.domain.passwords import Password
from keystead.domain.portal import PortalRequest, PortalUser
from keystead.domain.principals import of_member
from keystead.domain.sessions import (
    PORTAL_LINK_LIFETIME,
    REAUTHENTICATION_AGE,
    AuthenticationMethod,
    LinkPurpose,
)
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member, Role
from keystead.storage.schema.tables import users
from tests.support.installations import UNLIMITED, SandboxInstallation
from tests.support.people import PRODUCT, RIGHT, People, PeopleServices, acting, email_of

MOMENT = timedelta(microseconds=1)
BACK = "https://app.example.com/keys?from=portal"


@pytest.fixture
def ada(people: People) -> Member:
    """The owner of a new workspace."""
    return people.owner()


def _request(owner: Member, user_id: str = "u1", **fields: Any) -> PortalRequest:
    user = PortalUser(user_id, fields.pop("name", "Pat"), fields.pop("email", None))
    return PortalRequest(owner.workspace_id, user, fields.pop("role", Role.ADMIN), **fields)


def _link(people: People, owner: Member, user_id: str = "u1", **fields: Any) -> Secret:
    return people.portal.create(PRODUCT, _request(owner, user_id, **fields))[0]


def _member(people: People, owner: Member, user_id: str = "u1", **fields: Any) -> Member:
    return people.sign_in.redeem(_link(people, owner, user_id, **fields)).member


def test_a_customer_lands_in_their_workspace(people: People, ada: Member) -> None:
    """The link signs the product's user in, as the product describes them, for five minutes and once."""
    origin = people.origin()
    link, until = people.portal.create(
        PRODUCT, _request(ada, role=Role.DEVELOPER, email="pat@example.org", return_url=BACK)
    )
    assert until == people.clock.now() + timedelta(minutes=5)
    signed_in = people.sign_in.redeem(link, origin)
    member = signed_in.member
    assert (member.workspace_id, member.role) == (ada.workspace_id, Role.DEVELOPER)
    assert (member.user.name, member.user.email) == ("Pat", "pat@example.org")
    assert member.user.is_of_portal
    assert signed_in.purpose is LinkPurpose.PORTAL
    assert signed_in.device is None
    assert member.authentication is not None
    assert (member.authentication.method, member.authentication.return_url) == (
        AuthenticationMethod.PORTAL,
        BACK,
    )
    with pytest.raises(Invalid):
        people.sign_in.redeem(link)


def test_five_minutes(people: People, ada: Member) -> None:
    """The link works until the last microsecond before its expiry, and not from it on."""
    early, late = _link(people, ada), _link(people, ada)
    people.clock.advance(PORTAL_LINK_LIFETIME - MOMENT)
    assert people.stands(people.sign_in.redeem(early).secret)
    people.clock.advance(MOMENT)
    with pytest.raises(Invalid):
        people.sign_in.redeem(late)


def test_the_same_user_again(people: People, ada: Member) -> None:
    """By the product's own id it is the same user; name, email and role become those of the request."""
    first = _member(people, ada, name="Pat", email="pat@example.org", role=Role.ADMIN)
    again = _member(people, ada, name="Pat B.", email=None, role=Role.VIEWER)
    assert again.user.id == first.user.id
    assert (again.user.name, again.user.email, again.role) == ("Pat B.", None, Role.VIEWER)
    other = _member(people, ada, "u2", name="Pat B.")
    assert other.user.id != first.user.id
    events = people.events(ada.workspace_id, "member.added", "member.role_changed")[1:]
    assert [(event.actor.id, event.data["name"]) for event in events] == [
        (PRODUCT.id, "Pat"),
        (PRODUCT.id, "Pat B."),
        (PRODUCT.id, "Pat B."),
    ]
    assert events[1].data == {"name": "Pat B.", "from": "admin", "to": "viewer"}


def test_one_id_in_two_workspaces_is_two_people(people: People, ada: Member) -> None:
    """The product's id counts within a workspace: a request there changes no user here (R47)."""
    elsewhere = people.owner()
    here, there = _member(people, ada), _member(people, elsewhere)
    assert here.user.id != there.user.id
    session = people.portal_session(ada)
    assert [m.workspace_id for m in people.sign_in.memberships(session)] == [ada.workspace_id]
    with pytest.raises(NotFound):
        people.sign_in.member(session, elsewhere.workspace_id)


def test_an_address_takes_over_no_account(people: People, ada: Member) -> None:
    """A product's user with the email of an account is another user, and the account stays as it is."""
    people.give_password(ada)
    pat = _member(people, ada, email=email_of(ada), name="Not Ada")
    assert pat.user.id != ada.user.id
    admitted = people.sign_in.with_password(email_of(ada), Password(RIGHT), people.origin())
    assert admitted.user.id == ada.user.id
    assert admitted.user.name == "Ada"


def test_a_products_user_has_no_other_way_in(people: People, ada: Member) -> None:
    """Their email and any password fail, and the email stays free for an account."""
    email = f"pat.{email_of(ada)}"
    _member(people, ada, email=email)
    with pytest.raises(Invalid):
        people.sign_in.with_password(email, Password(RIGHT), people.origin())
    link, _ = people.invitations.invite(acting(ada), email, Role.VIEWER)
    account = people.invitations.accept(link, "Pat", Password(RIGHT)).member
    assert not account.user.is_of_portal
    session = people.sign_in.with_password(email, Password(RIGHT), people.origin())
    assert session.user.id == account.user.id


def test_the_product_makes_no_owners(people: People, ada: Member) -> None:
    """Neither by a portal link nor through an owner does a product's user own a workspace."""
    with pytest.raises(Invalid):
        _link(people, ada, role=Role.OWNER)
    pat = _member(people, ada)
    with pytest.raises(Invalid):
        people.members.change_role(acting(ada), pat.user.id, Role.OWNER)


def test_a_portal_session_leaves_an_owner_an_owner(people: People, ada: Member) -> None:
    """Who owns a workspace is set by the calls for members alone: a session refreshes the name, no more."""
    principal = PRODUCT.within(ada.workspace_id)
    people.members.put(principal, PortalUser("u1", "Pat"), Role.OWNER)
    pat = _member(people, ada, name="Pat B.", role=Role.VIEWER)
    assert (pat.user.name, pat.role) == ("Pat B.", Role.OWNER)
    people.members.put(principal, PortalUser("u1", "Pat"), Role.VIEWER)
    assert _member(people, ada, role=Role.DEVELOPER).role is Role.DEVELOPER


def test_a_proof_is_given_by_the_product(people: People, ada: Member) -> None:
    """After a quarter of an hour full rights require a new link from the product, which is a new proof."""
    member = _member(people, ada, return_url=BACK)
    keys = people.sandbox.services.keys
    keys.create(of_member(member), KeyDraft("now"))
    people.clock.advance(REAUTHENTICATION_AGE)
    with pytest.raises(ReauthenticationRequired) as refused:
        keys.create(of_member(member), KeyDraft("later"))
    assert refused.value.return_url == BACK
    keys.create(of_member(_member(people, ada)), KeyDraft("again"))
    with pytest.raises(Invalid):
        people.sign_in.reauthenticate(people.portal_session(ada), Password(RIGHT))


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://app.example.com.evil.example/",
        "https://app.example.com@evil.example/",
        "https://app.example.com\\@evil.example/",
        "https://user:secret@app.example.com/",
        "https://evil.example\\@app.example.com/",
        "https://app.example.com:8443/",
        "http://app.example.com/",
        "//app.example.com/",
        "/keys",
        "javascript:alert(1)",
        "https://app.example.com\n.evil.example/",
        " https://app.example.com/",
        "https://app.example.com/\u2028",
        "https:/app.example.com/",
        "HTTPS://app.example.com\\.evil.example/",
        "https://app.example.com/" + "x" * 2048,
        "https://[::1",
        "https://app.example.com:port/",
        "",
    ],
)
def test_back_to_the_product_only(people: People, ada: Member, url: str) -> None:
    """A return URL that could lead elsewhere than to a configured origin is refused, and no user is created (R72)."""
    with pytest.raises(Invalid) as refused:
        _link(people, ada, "nobody", return_url=url)
    assert [error.pointer for error in refused.value.errors] == ["/return_url"]
    assert len(people.members.list(acting(ada)).items) == 1


@pytest.mark.parametrize(
    "url",
    ["https://app.example.com", "https://app.example.com:443/a?b#c", "http://localhost:3000/x"],
)
def test_back_to_a_configured_origin(people: People, ada: Member, url: str) -> None:
    """Any path of a configured origin is accepted; its default port may be written out."""
    member = _member(people, ada, return_url=url)
    assert member.authentication is not None
    assert member.authentication.return_url == url


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"user_id": ""}, "/user/id"),
        ({"user_id": "x" * 201}, "/user/id"),
        ({"user_id": "a\0"}, "/user/id"),
        ({"name": ""}, "/user/name"),
        ({"name": "two\nlines"}, "/user/name"),
        ({"email": "no address"}, "/user/email"),
    ],
)
def test_invalid_users(people: People, ada: Member, asked: dict[str, str], pointer: str) -> None:
    """Each value of a request has a form, and a refusal names the one that is wrong."""
    with pytest.raises(Invalid) as refused:
        _link(people, ada, **asked)
    assert [error.pointer for error in refused.value.errors] == [pointer]


def test_an_unknown_workspace(people: People, ada: Member) -> None:
    """A workspace that never existed has no portal."""
    request = PortalRequest(
        WorkspaceId("ws_0000000000000000000000"), PortalUser("u1", "Pat"), Role.VIEWER
    )
    with pytest.raises(NotFound):
        people.portal.create(PRODUCT, request)


def test_customers_take_places(people: People, ada: Member) -> None:
    """The plan's limit of members holds for the product's users too; existing members come back in any case."""
    people.sandbox.services.workspaces.set_plan(ada.workspace_id, UNLIMITED, {"members": 2})
    first = _member(people, ada)
    with pytest.raises(LimitReached):
        _link(people, ada, "u2")
    assert _member(people, ada).user.id == first.user.id
    people.members.remove(acting(ada), first.user.id)
    assert _member(people, ada, "u2").user.id != first.user.id


def test_a_removed_customer(people: People, ada: Member) -> None:
    """A removed customer loses access immediately; the product may let the same user in again."""
    session = people.portal_session(ada)
    unused = _link(people, ada)
    pat = people.sign_in.memberships(session)[0]
    people.members.remove(acting(ada), pat.user.id)
    assert people.sign_in.memberships(session) == []
    with pytest.raises(Invalid):
        people.sign_in.redeem(unused)
    assert _member(people, ada).user.id == pat.user.id


def test_a_demotion_by_the_product(people: People, ada: Member) -> None:
    """A product that makes its admin a viewer revokes the links that they created as admin."""
    pat = _member(people, ada, role=Role.ADMIN)
    link, _ = people.invitations.invite(of_member(pat), f"x.{email_of(ada)}", Role.ADMIN)
    _link(people, ada, role=Role.VIEWER)
    with pytest.raises(Invalid):
        people.invitations.find(link)


def test_concurrent_links_create_one_user(own_sandbox: SandboxInstallation) -> None:
    """Twelve concurrent links for a new user, through two servers, all sign in one and the same person."""
    people = People(own_sandbox)
    servers = [people, PeopleServices(own_sandbox)]
    ada = people.owner()
    before = own_sandbox.count(users)

    def create(number: int) -> Secret:
        return servers[number % 2].portal.create(PRODUCT, _request(ada))[0]

    with ThreadPoolExecutor(12) as pool:
        links = list(pool.map(create, range(12)))
    assert len({people.sign_in.redeem(link).member.user.id for link in links}) == 1
    assert own_sandbox.count(users) == before + 1
