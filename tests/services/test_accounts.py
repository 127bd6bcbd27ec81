"""What users change about themselves: name, email, password, time zone, and their sessions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from keystead.bootstrap import open_installation
from keystead.domain.errors import (
    EmailTaken,
    Forbidden,
    Invalid,
    KeysteadError,
    NotFound,
    ReauthenticationRequired,
    SessionEnded,
)
from keystead.domain.ids import SessionId
from keystead.domain.passwords import Password
from keystead.domain.sessions import ABSOLUTE_LIMIT, IDLE_LIMIT, REAUTHENTICATION_AGE, LinkPurpose
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member
from keystead.settings import Settings
from keystead.storage.tables import users
from tests.support.administrator import read_behind
from tests.support.installations import PEPPERS, SandboxInstallation
from tests.support.people import RIGHT, WRONG, People, PeopleServices, email_of

NEW = "another lamp and 9 rivers"
GONE = Secret.fresh()


@pytest.fixture
def ada(people: People) -> Member:
    """An owner without a password."""
    return people.owner("Ada Quillfeather")


def _enter(people: People, member: Member, text: str = RIGHT) -> Secret:
    return people.sign_in.with_password(email_of(member), Password(text), people.origin()).secret


# --- a new password ---


def test_a_first_password(people: People, ada: Member) -> None:
    """A user who came by a link sets a password and signs in by it from then on; the change is recorded."""
    people.clock.advance(minutes=1)
    admitted = people.accounts.change_password(people.signed_in(ada), Password(RIGHT))
    assert admitted.user.password_set_at == people.clock.now()
    assert admitted.device is not None
    assert people.stands(_enter(people, ada))
    changed = people.events(ada.workspace_id, "member.password_changed")
    assert [(e.actor.id, e.data) for e in changed] == [(ada.user.id, {})]


def test_a_new_password_ends_the_others(people: People, ada: Member) -> None:
    """All other sessions, unused links and known devices end; this session goes on under a new secret (R59)."""
    people.give_password(ada)
    first = people.sign_in.with_password(email_of(ada), Password(RIGHT), people.origin())
    others = [_enter(people, ada), people.signed_in(ada)]
    link, _ = people.sign_in.make_link(ada)
    here = _enter(people, ada)
    before = people.sign_in.visitor(here)
    renewed = people.accounts.change_password(here, Password(NEW), Password(RIGHT)).secret
    after = people.sign_in.visitor(renewed)
    assert before is not None
    assert after is not None
    assert after.session.id == before.session.id
    for dead in (here, first.secret, *others):
        assert not people.stands(dead)
    with pytest.raises(Invalid):
        people.sign_in.redeem(link)
    again = people.sign_in.with_password(
        email_of(ada), Password(NEW), people.origin(), device=first.device
    )
    assert again.device is not None


def test_other_users_sessions_stay(people: People, ada: Member) -> None:
    """A password changed here ends no session of another user."""
    other = people.signed_in(people.owner("Bo"))
    people.give_password(ada)
    assert people.stands(other)


def test_the_current_password_is_required(people: People, ada: Member) -> None:
    """A session begun by password requires it again; one begun by a link does not, since it may have been lost."""
    people.give_password(ada)
    session = _enter(people, ada)
    for current in (None, Password(WRONG)):
        with pytest.raises(Invalid) as refused:
            people.accounts.change_password(session, Password(NEW), current)
        assert [error.pointer for error in refused.value.errors] == ["/current"]
    assert people.stands(session)
    link, _ = people.sign_in.make_link(ada, LinkPurpose.PASSWORD)
    signed_in = people.sign_in.redeem(link)
    assert signed_in.purpose is LinkPurpose.PASSWORD
    people.accounts.change_password(signed_in.secret, Password(NEW))
    assert people.stands(_enter(people, ada, NEW))


def test_a_stolen_session_cannot_guess_it(people: People, ada: Member) -> None:
    """Ten wrong current passwords end the session."""
    people.give_password(ada)
    session = _enter(people, ada)
    for _ in range(9):
        with pytest.raises(Invalid):
            people.accounts.change_password(session, Password(NEW), Password(WRONG))
        people.clock.advance(minutes=1)
    with pytest.raises(SessionEnded):
        people.accounts.change_password(session, Password(NEW), Password(WRONG))
    assert not people.stands(session)


@pytest.mark.parametrize("text", ["short", "x" * 257, "passwordpassword", "ada quillfeather 1"])
def test_unacceptable_passwords(people: People, ada: Member, text: str) -> None:
    """A password that is short, endless, common or personal is refused, and nothing changes."""
    session = people.signed_in(ada)
    with pytest.raises(Invalid) as refused:
        people.accounts.change_password(session, Password(text))
    assert [error.pointer for error in refused.value.errors] == ["/new"]
    assert people.stands(session)


def test_a_workspaces_name_is_no_password(people: People, ada: Member) -> None:
    """The names of a user's workspaces are what an attacker tries first."""
    people.sandbox.services.workspaces.rename(people.sandbox.tenant(), "no matter")
    workspace = people.sandbox.services.workspaces.create(
        "Zimmerwald Kites", owner="Cy", email=f"kites.{email_of(ada)}"
    )
    owner = people.sandbox.services.workspaces.owner(workspace.id)
    people.give_password(ada, "zimmerwald kites 7")
    with pytest.raises(Invalid, match="guessed"):
        people.give_password(owner, "zimmerwald kites 7")


def test_the_products_name_is_no_password(people: People, ada: Member) -> None:
    """The product's name is what an attacker tries first."""
    settings = Settings(database=people.sandbox.url, product_name="Zimmerwald Kites")
    renamed = open_installation(settings, PEPPERS, people.clock)
    try:
        with pytest.raises(Invalid, match="guessed"):
            renamed.services.accounts.change_password(
                people.signed_in(ada), Password("zimmerwald kites 7")
            )
    finally:
        renamed.close()


def test_without_an_address_there_is_no_password(people: People) -> None:
    """A password without an email to sign in by would be useless."""
    workspace = people.sandbox.services.workspaces.create("W", owner="Nameless")
    session = people.signed_in(people.sandbox.services.workspaces.owner(workspace.id))
    with pytest.raises(Invalid, match="/email"):
        people.accounts.change_password(session, Password(RIGHT))


# --- a recent proof ---


def test_a_late_change_needs_a_proof(people: People, ada: Member) -> None:
    """After a quarter of an hour neither password nor email can be changed, even with the right password (R69)."""
    people.give_password(ada)
    session = _enter(people, ada)
    people.clock.advance(REAUTHENTICATION_AGE)
    with pytest.raises(ReauthenticationRequired):
        people.accounts.change_password(session, Password(NEW), Password(RIGHT))
    with pytest.raises(ReauthenticationRequired):
        people.accounts.change_email(session, f"new.{email_of(ada)}")
    fresh = people.sign_in.reauthenticate(session, Password(RIGHT)).secret
    assert (
        people.accounts.change_email(fresh, f"new.{email_of(ada)}").email == f"new.{email_of(ada)}"
    )


def test_a_proof_that_grows_old_while_hashing(own_sandbox: SandboxInstallation) -> None:
    """The proof is checked again when the password is written, since it may expire during hashing."""
    people = People(own_sandbox)
    ada = people.owner()
    session = people.signed_in(ada)
    slow = people.hasher.hash

    def late(password: str | bytes, *, salt: bytes | None = None) -> str:
        people.clock.advance(REAUTHENTICATION_AGE)
        return slow(password, salt=salt)

    people.hasher.hash = late  # type: ignore[method-assign]
    with pytest.raises(ReauthenticationRequired):
        people.accounts.change_password(session, Password(RIGHT))
    with read_behind(own_sandbox.database) as tx:
        assert users.password_hash_of(tx, ada.user.id) is None


def _id(people: People, session: Secret) -> SessionId:
    visitor = people.sign_in.visitor(session)
    assert visitor is not None
    return visitor.session.id


# --- the email ---


def test_a_new_address(people: People, ada: Member) -> None:
    """From the change on, the new email signs in and the old one doesn't; both are recorded."""
    people.give_password(ada)
    new = f"New.{email_of(ada)}"
    user = people.accounts.change_email(people.signed_in(ada), new)
    assert user.email == new
    people.sign_in.with_password(new.lower(), Password(RIGHT), people.origin())
    with pytest.raises(Invalid):
        _enter(people, ada)
    event = people.events(ada.workspace_id, "member.email_changed")[-1]
    assert event.data == {"from": email_of(ada), "to": new}


def test_an_address_is_one_persons(people: People, ada: Member) -> None:
    """Another user's email is refused in any case of letters; your own may be written differently."""
    bo = people.owner("Bo")
    for taken in (email_of(bo), email_of(bo).upper()):
        with pytest.raises(EmailTaken):
            people.accounts.change_email(people.signed_in(ada), taken)
    shouted = people.accounts.change_email(people.signed_in(ada), email_of(ada).upper())
    assert shouted.email == email_of(ada).upper()
    assert people.accounts.change_email(people.signed_in(bo), email_of(bo)).email == email_of(bo)
    assert people.events(bo.workspace_id, "member.email_changed") == []


def test_one_of_many_gets_an_email(own_sandbox: SandboxInstallation) -> None:
    """Of eight users who take one email concurrently, through two servers, one gets it; the others see why."""
    people = People(own_sandbox)
    servers = [people, PeopleServices(own_sandbox)]
    sessions = [people.signed_in(people.owner()) for _ in range(8)]

    def take(turn: tuple[int, Secret]) -> bool:
        number, session = turn
        try:
            servers[number % 2].accounts.change_email(session, "wanted@example.com")
        except EmailTaken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, enumerate(sessions))) == 1


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "ada@",
        "@example.com",
        "a b@example.com",
        "a@b@c",
        "a@.b",
        f"{'x' * 65}@b.c",
        "a@b\n",
        "a\0@b",
    ],
)
def test_malformed_emails(people: People, ada: Member, email: str) -> None:
    """An email that mail cannot reach by its form is refused."""
    with pytest.raises(Invalid):
        people.accounts.change_email(people.signed_in(ada), email)


# --- name and time zone ---


def test_a_name_and_a_zone(people: People, ada: Member) -> None:
    """A name on one line, and a time zone that exists, or neither; without a recent proof."""
    session = people.signed_in(ada)
    people.clock.advance(REAUTHENTICATION_AGE)
    assert people.accounts.rename(session, "Ada L.").name == "Ada L."
    assert people.accounts.set_time_zone(session, "Asia/Kathmandu").time_zone == "Asia/Kathmandu"
    assert people.accounts.set_time_zone(session, None).time_zone is None
    for zone in (
        "Mars/Olympus",
        "../etc/passwd",
        "/etc/localtime",
        "",
        "localtime",
        "europe/berlin",
    ):
        with pytest.raises(Invalid):
            people.accounts.set_time_zone(session, zone)
    with pytest.raises(Invalid):
        people.accounts.rename(session, "two\nlines")


# --- sessions ---


def test_where_one_is_signed_in(people: People, ada: Member) -> None:
    """The list has the active sessions, newest first, and marks the current one."""
    people.give_password(ada)
    people.clock.advance(minutes=5)
    home = people.sign_in.with_password(
        email_of(ada), Password(RIGHT), people.origin(), "Firefox"
    ).secret
    people.clock.advance(minutes=5)
    work_origin = people.origin()
    work = people.sign_in.with_password(
        email_of(ada), Password(RIGHT), work_origin, "Safari"
    ).secret
    gone = _enter(people, ada)
    people.sign_in.sign_out(gone)
    lines = people.accounts.sessions(work)
    assert [(line.session.agent, line.current) for line in lines[:2]] == [
        ("Safari", True),
        ("Firefox", False),
    ]
    assert lines[0].session.address == work_origin.address
    assert lines[0].session.created_at == lines[1].session.created_at + timedelta(minutes=5)
    assert _id(people, home) in {line.session.id for line in lines}
    assert all(line.session.is_active(people.clock.now()) for line in lines)


def test_what_a_browser_calls_itself(people: People, ada: Member) -> None:
    """Whatever a browser sends, the part that is kept can be stored and shown."""
    link, _ = people.sign_in.make_link(ada)
    secret = people.sign_in.redeem(link, agent="A\0\x1b[31m\ud800" + "x" * 40_000).secret
    agent = people.accounts.sessions(secret)[0].session.agent
    assert agent is not None
    assert agent.isprintable()
    assert len(agent) <= 200


def test_idle_and_old_sessions_are_not_listed(people: People, ada: Member) -> None:
    """Expired sessions are gone from the list."""
    people.signed_in(ada)
    people.clock.advance(IDLE_LIMIT)
    here = people.signed_in(ada)
    assert len(people.accounts.sessions(here)) == 1


def test_ending_one_session(people: People, ada: Member) -> None:
    """Ending one of your sessions by its id works immediately; again, or with another user's, it is not found."""
    here, there, others = (
        people.signed_in(ada),
        people.signed_in(ada),
        people.signed_in(people.owner()),
    )
    there_id, others_id = _id(people, there), _id(people, others)
    people.accounts.end_session(here, there_id)
    assert not people.stands(there)
    refusals = []
    for absent in (there_id, others_id, SessionId("ses_0000000000000000000000")):
        with pytest.raises(NotFound) as refused:
            people.accounts.end_session(here, absent)
        refusals.append(str(refused.value))
    assert len(set(refusals)) == 1
    assert people.stands(others)
    assert people.events(ada.workspace_id, "member.signed_out")[-1].data == {"sessions": 1}


def test_ending_all_others(people: People, ada: Member) -> None:
    """All other sessions of the user end, and this one stays; without others, no event is recorded."""
    here, others = people.signed_in(ada), [people.signed_in(ada) for _ in range(3)]
    neighbour = people.signed_in(people.owner())
    assert people.accounts.end_other_sessions(here) == 3
    assert people.stands(here)
    assert people.stands(neighbour)
    assert not any(people.stands(other) for other in others)
    assert people.accounts.end_other_sessions(here) == 0
    ends = people.events(ada.workspace_id, "member.signed_out")
    assert [event.data for event in ends] == [{"sessions": 3}]


def test_a_session_that_ended_does_nothing(people: People, ada: Member) -> None:
    """With an ended, expired or unknown session no account is read or changed, and the answer is the same."""
    ended = people.signed_in(ada)
    people.sign_in.sign_out(ended)
    old = people.signed_in(ada)
    people.clock.advance(ABSOLUTE_LIMIT)
    accounts = people.accounts
    refusals = set()
    for secret in (ended, old, GONE):
        for act in (
            lambda s: accounts.rename(s, "X"),
            lambda s: accounts.set_time_zone(s, None),
            lambda s: accounts.change_email(s, "x@example.com"),
            lambda s: accounts.change_password(s, Password(RIGHT)),
            accounts.sessions,
            accounts.end_other_sessions,
            lambda s: accounts.end_session(s, SessionId("ses_1")),
            lambda s: people.sign_in.reauthenticate(s, Password(RIGHT)),
        ):
            refusals.add(_refusal(act, secret))
    assert refusals == {SessionEnded}


def _refusal(act: object, secret: Secret) -> type[KeysteadError] | None:
    try:
        act(secret)  # type: ignore[operator]
    except KeysteadError as error:
        return type(error)
    return None


def test_signing_out_is_recorded_once(people: People, ada: Member) -> None:
    """Each workspace gets an event when its member signs out; signing out again adds no event."""
    session = people.signed_in(ada)
    for _ in range(2):
        people.sign_in.sign_out(session, people.origin())
    assert len(people.events(ada.workspace_id, "member.signed_out")) == 1


# --- a product's own user ---


def test_a_products_user_has_no_account_here(people: People, ada: Member) -> None:
    """Name, email and password belong to the product; users may change only the time zone."""
    session = people.portal_session(ada)
    for act in (
        lambda s: people.accounts.rename(s, "X"),
        lambda s: people.accounts.change_email(s, "x@example.com"),
        lambda s: people.accounts.change_password(s, Password(RIGHT)),
    ):
        assert _refusal(act, session) is Forbidden
    assert people.accounts.set_time_zone(session, "UTC").time_zone == "UTC"
