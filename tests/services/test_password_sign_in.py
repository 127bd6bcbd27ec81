"""Signing in by email and password: one answer to strangers, limited tries, and the owner always gets in."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from argon2 import PasswordHasher

from keystead.domain.errors import Invalid, RateLimited, SessionEnded
from keystead.domain.events import Origin
from keystead.domain.passwords import Password
from keystead.domain.sessions import (
    DEVICE_LIFETIME,
    MAX_DEVICES,
    REAUTHENTICATION_AGE,
    AuthenticationMethod,
)
from keystead.domain.throttle import ACCOUNT, ADDRESS, DEVICE, SESSION
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member, Role
from keystead.services.passwords import Passwords
from keystead.services.sessions import Admitted
from keystead.services.sign_in import SignIn
from keystead.storage.schema.tables import throttles
from keystead.storage.tables import users
from tests.support.administrator import read_behind
from tests.support.installations import SandboxInstallation
from tests.support.people import RIGHT, WRONG, People, PeopleServices, acting, email_of

HOME = Origin("192.0.2.1")
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def ada(people: People) -> Member:
    """An owner with a password."""
    owner = people.owner()
    people.give_password(owner)
    people.hasher.verified = 0
    return owner


def _enter(
    server: PeopleServices,
    email: str,
    text: str = RIGHT,
    origin: Origin = HOME,
    device: Secret | None = None,
) -> Admitted:
    return server.sign_in.with_password(email, Password(text), origin, "Firefox", device)


def _refused(
    server: PeopleServices, email: str, text: str, origin: Origin, device: Secret | None = None
) -> str | None:
    """Return the words of the refusal, or None for success."""
    try:
        _enter(server, email, text, origin, device)
    except (Invalid, RateLimited) as refusal:
        return f"{type(refusal).__name__} {refusal.detail}"
    return None


# --- signing in ---


@pytest.mark.slow_on("postgresql")
def test_a_password_signs_in(people: People, ada: Member) -> None:
    """The right password starts a session of its own, fresh, with an event in each workspace."""
    other = people.owner("Bo")
    link, _ = people.invitations.invite(acting(other), "guest@example.com", Role.VIEWER)
    people.invitations.join(link, people.signed_in(ada))
    admitted = _enter(people, email_of(ada))
    visitor = people.sign_in.visitor(admitted.secret)
    assert visitor is not None
    assert visitor.user == ada.user or visitor.user.id == ada.user.id
    assert [m.workspace_id for m in visitor.members] == sorted(
        [ada.workspace_id, other.workspace_id]
    )
    assert [m.workspace_id for m in admitted.members] == [m.workspace_id for m in visitor.members]
    assert visitor.session.proven_by is AuthenticationMethod.PASSWORD
    assert (visitor.session.address, visitor.session.agent) == ("192.0.2.1", "Firefox")
    assert all(
        m.authentication and m.authentication.is_recent(people.clock.now()) for m in visitor.members
    )
    for workspace_id in (ada.workspace_id, other.workspace_id):
        newest = people.events(workspace_id, "member.signed_in")[-1]
        assert (newest.actor.id, newest.data) == (ada.user.id, {"by": "password"})
        assert newest.origin.address == "192.0.2.1"


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("write", [str.upper, str.title, lambda e: e.replace("p", "\uff50")])
def test_an_address_however_it_is_written(people: People, ada: Member, write: object) -> None:
    """An email is found in any case and any compatible form."""
    assert callable(write)
    assert _enter(people, write(email_of(ada))).user.id == ada.user.id


@pytest.mark.slow_on("postgresql")
def test_each_session_is_new(people: People, ada: Member) -> None:
    """Two sign-ins are two sessions, and neither is the browser's former one (R59)."""
    device = Secret.fresh()
    secrets = [_enter(people, email_of(ada), device=device).secret for _ in range(2)]
    assert len({secret.reveal() for secret in (*secrets, device)}) == 3
    assert all(people.stands(secret) for secret in secrets)
    assert not people.stands(device)


@pytest.mark.slow_on("postgresql")
def test_refusals_reveal_no_account(people: People, ada: Member) -> None:
    """Unknown email, no password, a wrong one, a product's user: one answer, and the same work (R68)."""
    bare = people.owner("Cy")
    refusals = set()
    for email in (email_of(ada), email_of(bare), f"x{email_of(ada)}", f"no {email_of(ada)}"):
        before = people.hasher.verified
        refusals.add(_refused(people, email, WRONG, people.origin()))
        assert people.hasher.verified == before + 1
    assert len(refusals) == 1


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize(
    "email", ["", "x" * 255, "nul\0@example.com", "half\ud800@example.com", "a\nb@c"]
)
def test_malformed_emails(people: People, email: str) -> None:
    """A malformed email gets the same answer as an unknown one."""
    office = people.origin()
    plain = _refused(people, f"nobody.{office.address}@example.com", WRONG, office)
    assert _refused(people, email, WRONG, office) == plain


@pytest.mark.slow_on("postgresql")
def test_waits_reveal_nothing_either(people: People, ada: Member) -> None:
    """After as many failures an unknown email has to wait as long as a known one, in the same words."""
    histories = []
    for email in (email_of(ada), f"x{email_of(ada)}"):
        refusals = [_refused(people, email, WRONG, people.origin()) for _ in range(8)]
        people.clock.advance(ACCOUNT.first)
        refusals += [_refused(people, email, WRONG, people.origin()) for _ in range(3)]
        histories.append(refusals)
    assert histories[0] == histories[1]
    assert any("RateLimited" in str(line) for line in histories[0])


@pytest.mark.slow_on("postgresql")
def test_a_password_of_before(people: People, ada: Member) -> None:
    """From the change on the old password is a wrong one."""
    people.give_password(ada, "another lamp and 9 rivers")
    assert _refused(people, email_of(ada), RIGHT, people.origin())
    _enter(people, email_of(ada), "another lamp and 9 rivers")


@pytest.mark.slow_on("postgresql")
def test_a_password_that_changes_in_the_meantime(people: People, ada: Member) -> None:
    """A sign-in with a password that was changed before it ended is refused."""
    meanwhile: list[str] = []

    class Interrupted(PasswordHasher):
        def check_needs_rehash(self, hash: str | bytes) -> bool:  # noqa: A002
            if not meanwhile:
                meanwhile.append("changed")
                people.give_password(ada, "another lamp and 9 rivers")
            return False

    interrupted = Interrupted(time_cost=1, memory_cost=8, parallelism=1)
    slow = SignIn(people.sandbox.database, people.clock, Passwords(interrupted))
    with pytest.raises(Invalid):
        slow.with_password(email_of(ada), Password(RIGHT), people.origin())
    assert meanwhile


@pytest.mark.slow_on("postgresql")
def test_a_weak_hash_is_renewed(people: People, ada: Member) -> None:
    """After stronger parameters are set, the next sign-in stores a new hash, and the one after it works."""
    stronger = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    grown = SignIn(people.sandbox.database, people.clock, Passwords(stronger))
    for _ in range(2):
        grown.with_password(email_of(ada), Password(RIGHT), people.origin())
    with read_behind(people.sandbox.database) as tx:
        stored = users.password_hash_of(tx, ada.user.id)
    assert stored is not None
    assert "m=64," in stored


@pytest.mark.slow_on("postgresql")
def test_a_member_of_nothing(people: People, ada: Member) -> None:
    """A user who was removed everywhere can still sign in, as a member of no workspace: an invitation may wait."""
    people.members.change_role(acting(ada), people.join(ada, Role.ADMIN).user.id, Role.OWNER)
    people.members.leave(acting(ada))
    admitted = _enter(people, email_of(ada))
    assert admitted.members == []
    assert people.stands(admitted.secret)
    assert people.sign_in.memberships(admitted.secret) == []


# --- a bounded number of tries ---


def _guess(
    server: PeopleServices, email: str, addresses: list[Origin], times: int
) -> list[str | None]:
    turns = [(server, email, WRONG, addresses[n % len(addresses)]) for n in range(times)]
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda turn: _refused(*turn), turns))


@pytest.mark.slow_on("postgresql")
def test_a_thousand_guesses_at_one_account(own_sandbox: SandboxInstallation) -> None:
    """Of 1,000 concurrent tries from 50 addresses through two servers, five are checked; the owner gets in (R67)."""
    people = People(own_sandbox)
    ada = people.owner()
    people.give_password(ada)
    device = _enter(people, email_of(ada)).device
    servers = [people, PeopleServices(own_sandbox)]
    for server in servers:
        server.hasher.verified = 0
    addresses = [people.origin() for _ in range(50)]
    storms = [
        threading.Thread(target=_guess, args=(server, email_of(ada), addresses, 500))
        for server in servers
    ]
    for storm in storms:
        storm.start()
    during = [_enter(people, email_of(ada), origin=addresses[0], device=device) for _ in range(3)]
    for storm in storms:
        storm.join()
    assert sum(server.hasher.verified for server in servers) == ACCOUNT.free + len(during)
    assert all(people.stands(admitted.secret) for admitted in during)
    _enter(people, email_of(ada), origin=addresses[0], device=device)
    assert people.stands(people.signed_in(ada))


@pytest.mark.slow_on("postgresql")
def test_a_patient_attacker(people: People, ada: Member) -> None:
    """An attacker who waits as required, from ever new addresses, has a hundred tries and no more (R67)."""
    device = _enter(people, email_of(ada)).device
    people.hasher.verified = 0
    for _ in range(ACCOUNT.most or 0):
        while "RateLimited" in str(_refused(people, email_of(ada), WRONG, people.origin())):
            people.clock.advance(hours=1)
    assert people.hasher.verified == 100
    people.clock.advance(days=60)
    for _ in range(10):
        assert "one-time link" in str(_refused(people, email_of(ada), RIGHT, people.origin()))
    assert people.hasher.verified == 100
    _enter(people, email_of(ada), origin=people.origin(), device=device)
    data = people.events(ada.workspace_id, "member.signed_in")[-1].data
    assert data == {"by": "password", "wrong_passwords_before": 100}


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("way", ["link", "password"])
def test_the_owner_opens_the_account_again(people: People, ada: Member, way: str) -> None:
    """After a hundred wrong passwords a one-time link, or a new password, lets strangers' browsers try again."""
    device = _enter(people, email_of(ada)).device
    for _ in range(ACCOUNT.most or 0):
        _refused(people, email_of(ada), WRONG, people.origin())
        people.clock.advance(hours=1)
    assert _refused(people, email_of(ada), RIGHT, people.origin())
    if way == "link":
        people.signed_in(ada)
    else:
        session = _enter(people, email_of(ada), device=device).secret
        people.accounts.change_password(session, Password(RIGHT), Password(RIGHT))
    assert _refused(people, email_of(ada), RIGHT, people.origin()) is None


@pytest.mark.slow_on("postgresql")
def test_one_password_at_a_thousand_accounts(own_sandbox: SandboxInstallation) -> None:
    """One address that tries one password everywhere gets twenty tries, whatever accounts there are (R67)."""
    people = People(own_sandbox)
    spray = Origin("192.0.2.66")
    for number in range(1000):
        _refused(people, f"p{number}@example.com", WRONG, spray)
    assert people.hasher.verified == ADDRESS.free
    before = people.sandbox.count(throttles)
    _refused(people, "another@example.com", WRONG, spray)
    assert people.sandbox.count(throttles) == before
    assert "RateLimited" not in str(_refused(people, "p1@example.com", WRONG, people.origin()))


@pytest.mark.slow_on("postgresql")
def test_an_ipv6_host_is_one_address(people: People) -> None:
    """A host with a whole /64 gets no new tries with each of its addresses."""
    number = people.origin().address
    assert number is not None
    network = "2001:db8:{}:{}".format(*number.split(".")[2:])
    before = people.hasher.verified
    for host in range(1, 60):
        _refused(people, f"six{host}{number}@example.com", WRONG, Origin(f"{network}::{host:x}"))
    assert people.hasher.verified - before == ADDRESS.free


@pytest.mark.slow_on("postgresql")
def test_the_right_password_counts_no_failure(people: People, ada: Member) -> None:
    """Signing in repeatedly is not guessing, and makes guesses at other accounts no cheaper."""
    office = people.origin()
    for _ in range(3 * ADDRESS.free):
        _enter(people, email_of(ada), origin=office)
    for number in range(ADDRESS.free - 1):
        _refused(people, f"n{number}{email_of(ada)}", WRONG, office)
    _enter(people, email_of(ada), origin=office)
    assert "RateLimited" not in str(_refused(people, f"m{email_of(ada)}", WRONG, office))
    assert "RateLimited" in str(_refused(people, f"m{email_of(ada)}", WRONG, office))


@pytest.mark.slow_on("postgresql")
def test_a_few_mistakes_are_forgiven(people: People, ada: Member) -> None:
    """The right password after four wrong ones resets the count."""
    for _ in range(3):
        for _ in range(ACCOUNT.free - 1):
            assert "RateLimited" not in str(_refused(people, email_of(ada), WRONG, people.origin()))
        _enter(people, email_of(ada), origin=people.origin())


@pytest.mark.slow_on("postgresql")
def test_what_was_not_looked_at_is_not_counted(people: People, ada: Member) -> None:
    """A sign-in that is refused because too many hashes run doesn't count as a try."""
    full = Passwords(people.hasher, at_once=0, waiting=1, wait_seconds=0)
    busy = SignIn(people.sandbox.database, people.clock, full)
    office = people.origin()
    for _ in range(2 * ADDRESS.free):
        with pytest.raises(RateLimited, match="right now"):
            busy.with_password(email_of(ada), Password(RIGHT), office)
    _enter(people, email_of(ada), origin=office)


@pytest.mark.slow_on("postgresql")
def test_a_flood_keeps_no_known_device_out(people: People, ada: Member) -> None:
    """While strangers take every slot for hashing, the owner gets in on a known device, and proves it again."""
    device = _enter(people, email_of(ada)).device
    full = Passwords(people.hasher, at_once=0, waiting=0, wait_seconds=0)
    busy = SignIn(people.sandbox.database, people.clock, full)
    with pytest.raises(RateLimited):
        busy.with_password(email_of(ada), Password(RIGHT), people.origin())
    session = busy.with_password(email_of(ada), Password(RIGHT), people.origin(), device=device)
    assert people.stands(busy.reauthenticate(session.secret, Password(RIGHT)).secret)


@pytest.mark.slow_on("postgresql")
def test_a_hash_that_is_not_renewed_now(people: People, ada: Member) -> None:
    """Without a slot for the stronger hash, the right password still signs in."""
    device = _enter(people, email_of(ada)).device
    stronger = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    full = Passwords(stronger, at_once=0, waiting=0, wait_seconds=0)
    busy = SignIn(people.sandbox.database, people.clock, full)
    admitted = busy.with_password(email_of(ada), Password(RIGHT), people.origin(), device=device)
    assert people.stands(admitted.secret)


# --- known devices ---


@pytest.mark.slow_on("postgresql")
def test_a_device_is_known_after_one_sign_in(people: People, ada: Member) -> None:
    """The first sign-in gives the browser a secret; a later one with it gives out no other, and a link never does."""
    device = _enter(people, email_of(ada)).device
    assert device is not None
    assert _enter(people, email_of(ada), device=device).device is None
    link, _ = people.sign_in.make_link(ada)
    assert people.sign_in.redeem(link, device=device).device is None


@pytest.mark.slow_on("postgresql")
def test_a_device_opens_nothing(people: People, ada: Member) -> None:
    """The device's secret works neither as a session, nor as a link, nor as a password."""
    device = _enter(people, email_of(ada)).device
    assert device is not None
    assert not people.stands(device)
    with pytest.raises(Invalid):
        people.sign_in.redeem(device)
    assert _refused(people, email_of(ada), device.reveal(), people.origin(), device)


@pytest.mark.slow_on("postgresql")
def test_a_device_has_an_allowance_of_its_own(people: People, ada: Member) -> None:
    """After twenty wrong passwords a known device is a stranger again; strangers' tries are not reduced by it."""
    device = _enter(people, email_of(ada)).device
    people.hasher.verified = 0
    for _ in range(DEVICE.most or 0):
        assert "RateLimited" not in str(
            _refused(people, email_of(ada), WRONG, people.origin(), device)
        )
        people.clock.advance(DEVICE.longest)
    assert people.hasher.verified == DEVICE.most
    for _ in range(ACCOUNT.free):
        refusal = _refused(people, email_of(ada), WRONG, people.origin(), device)
        assert "RateLimited" not in str(refusal)
    assert "RateLimited" in str(_refused(people, email_of(ada), RIGHT, people.origin(), device))
    people.sign_in.redeem(people.sign_in.make_link(ada)[0], device=device)
    _refused(people, email_of(ada), WRONG, people.origin(), device)
    strangers = [_refused(people, email_of(ada), WRONG, people.origin()) for _ in range(5)]
    assert all("RateLimited" not in str(refusal) for refusal in strangers)


@pytest.mark.slow_on("postgresql")
def test_a_device_waits_too(people: People, ada: Member) -> None:
    """On a known device too there is a wait between wrong passwords, and none after the right one."""
    device = _enter(people, email_of(ada)).device
    for _ in range(DEVICE.free):
        _refused(people, email_of(ada), WRONG, people.origin(), device)
    assert "wait 2 seconds" in str(_refused(people, email_of(ada), RIGHT, people.origin(), device))
    people.clock.advance(DEVICE.first)
    assert _refused(people, email_of(ada), RIGHT, people.origin(), device) is None
    assert _refused(people, email_of(ada), RIGHT, people.origin(), device) is None


@pytest.mark.slow_on("postgresql")
def test_a_device_is_known_to_one_person(people: People, ada: Member) -> None:
    """Another user's device is a stranger to this account, and gets a secret of its own."""
    bo = people.owner("Bo")
    people.give_password(bo)
    device = _enter(people, email_of(ada)).device
    fresh = _enter(people, email_of(bo), device=device).device
    assert fresh is not None
    assert device is not None
    assert fresh.reveal() != device.reveal()
    for _ in range(ACCOUNT.free):
        _refused(people, email_of(bo), WRONG, people.origin())
    assert "RateLimited" in str(_refused(people, email_of(bo), RIGHT, people.origin(), device))
    assert _refused(people, email_of(bo), RIGHT, people.origin(), fresh) is None


@pytest.mark.slow_on("postgresql")
def test_devices_are_forgotten(people: People, ada: Member) -> None:
    """After 180 days without a sign-in, and beyond the ten that were used last, a device is a stranger again."""
    first = _enter(people, email_of(ada)).device
    people.clock.advance(DEVICE_LIFETIME - MOMENT)
    assert _enter(people, email_of(ada), device=first).device is None
    people.clock.advance(DEVICE_LIFETIME)
    assert _enter(people, email_of(ada), device=first).device is not None
    devices = []
    for _ in range(MAX_DEVICES + 1):
        people.clock.advance(seconds=1)
        devices.append(_enter(people, email_of(ada)).device)
    known = [_enter(people, email_of(ada), device=device).device is None for device in devices[1:]]
    assert all(known)
    assert _enter(people, email_of(ada), device=devices[0]).device is not None


# --- reauthentication ---


@pytest.mark.slow_on("postgresql")
def test_proving_it_again(people: People, ada: Member) -> None:
    """The same session becomes fresh under a new secret; the old secret is dead, and the 24 hours don't start again."""
    old = _enter(people, email_of(ada)).secret
    before = people.sign_in.visitor(old)
    people.clock.advance(REAUTHENTICATION_AGE)
    stale = people.sign_in.memberships(old)[0].authentication
    assert stale is not None
    assert not stale.is_recent(people.clock.now())
    renewed = people.sign_in.reauthenticate(old, Password(RIGHT), people.origin())
    after = people.sign_in.visitor(renewed.secret)
    assert before is not None
    assert after is not None
    assert (after.session.id, after.session.created_at) == (
        before.session.id,
        before.session.created_at,
    )
    assert after.session.authentication.is_recent(people.clock.now())
    assert not people.stands(old)


@pytest.mark.slow_on("postgresql")
def test_a_link_proves_it_again(people: People, ada: Member) -> None:
    """A one-time link begins a fresh session, as the first one did."""
    people.clock.advance(REAUTHENTICATION_AGE)
    proof = people.sign_in.memberships(people.signed_in(ada))[0].authentication
    assert proof is not None
    assert proof.is_recent(people.clock.now())


@pytest.mark.slow_on("postgresql")
def test_guessing_within_a_session(people: People, ada: Member) -> None:
    """A stolen session has ten tries at the password, then it ends; the owner's other sessions stay (R69)."""
    stolen, own = _enter(people, email_of(ada)).secret, _enter(people, email_of(ada)).secret
    for _ in range((SESSION.most or 0) - 1):
        with pytest.raises(Invalid):
            people.sign_in.reauthenticate(stolen, Password(WRONG))
        people.clock.advance(SESSION.longest)
    with pytest.raises(SessionEnded):
        people.sign_in.reauthenticate(stolen, Password(WRONG))
    assert not people.stands(stolen)
    people.sign_in.reauthenticate(own, Password(RIGHT))
    with pytest.raises(SessionEnded):
        people.sign_in.reauthenticate(stolen, Password(RIGHT))


@pytest.mark.slow_on("postgresql")
def test_without_a_password_a_link_is_the_way(people: People) -> None:
    """A user without a password gets that answer, and it doesn't count as a try."""
    session = people.signed_in(people.owner())
    for _ in range(SESSION.free + 1):
        with pytest.raises(Invalid, match="one-time link"):
            people.sign_in.reauthenticate(session, Password(RIGHT))
