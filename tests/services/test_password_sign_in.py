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
from tests.support.people import RIGHT, WRONG, Crowd, Server, acting, email_of

HOME = Origin("192.0.2.1")
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def ada(crowd: Crowd) -> Member:
    """An owner with a password."""
    owner = crowd.owner()
    crowd.give_password(owner)
    crowd.hasher.looked_at = 0
    return owner


def _enter(
    server: Server,
    email: str,
    text: str = RIGHT,
    origin: Origin = HOME,
    device: Secret | None = None,
) -> Admitted:
    return server.sign_in.with_password(email, Password(text), origin, "Firefox", device)


def _refused(
    server: Server, email: str, text: str, origin: Origin, device: Secret | None = None
) -> str | None:
    """Return the words of the refusal, or None for success."""
    try:
        _enter(server, email, text, origin, device)
    except (Invalid, RateLimited) as refusal:
        return f"{type(refusal).__name__} {refusal.detail}"
    return None


# --- signing in ---


@pytest.mark.slow_on("postgresql")
def test_a_password_signs_in(crowd: Crowd, ada: Member) -> None:
    """The right password starts a session of its own, fresh, with an event in each workspace."""
    other = crowd.owner("Bo")
    link, _ = crowd.invitations.invite(acting(other), "guest@example.com", Role.VIEWER)
    crowd.invitations.join(link, crowd.signed_in(ada))
    admitted = _enter(crowd, email_of(ada))
    visitor = crowd.sign_in.visitor(admitted.secret)
    assert visitor is not None
    assert visitor.user == ada.user or visitor.user.id == ada.user.id
    assert [m.workspace_id for m in visitor.members] == sorted(
        [ada.workspace_id, other.workspace_id]
    )
    assert [m.workspace_id for m in admitted.members] == [m.workspace_id for m in visitor.members]
    assert visitor.session.proven_by is AuthenticationMethod.PASSWORD
    assert (visitor.session.address, visitor.session.agent) == ("192.0.2.1", "Firefox")
    assert all(
        m.authentication and m.authentication.is_recent(crowd.clock.now()) for m in visitor.members
    )
    for workspace_id in (ada.workspace_id, other.workspace_id):
        newest = crowd.events(workspace_id, "member.signed_in")[-1]
        assert (newest.actor.id, newest.data) == (ada.user.id, {"by": "password"})
        assert newest.origin.address == "192.0.2.1"


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("write", [str.upper, str.title, lambda e: e.replace("p", "\uff50")])
def test_an_address_however_it_is_written(crowd: Crowd, ada: Member, write: object) -> None:
    """An email is found in any case and any compatible form."""
    assert callable(write)
    assert _enter(crowd, write(email_of(ada))).user.id == ada.user.id


@pytest.mark.slow_on("postgresql")
def test_each_session_is_new(crowd: Crowd, ada: Member) -> None:
    """Two sign-ins are two sessions, and neither is the browser's former one (R59)."""
    device = Secret.fresh()
    secrets = [_enter(crowd, email_of(ada), device=device).secret for _ in range(2)]
    assert len({secret.reveal() for secret in (*secrets, device)}) == 3
    assert all(crowd.stands(secret) for secret in secrets)
    assert not crowd.stands(device)


@pytest.mark.slow_on("postgresql")
def test_refusals_reveal_no_account(crowd: Crowd, ada: Member) -> None:
    """Unknown email, no password, a wrong one, a product's user: one answer, and the same work (R68)."""
    bare = crowd.owner("Cy")
    refusals = set()
    for email in (email_of(ada), email_of(bare), f"x{email_of(ada)}", f"no {email_of(ada)}"):
        before = crowd.hasher.looked_at
        refusals.add(_refused(crowd, email, WRONG, crowd.origin()))
        assert crowd.hasher.looked_at == before + 1
    assert len(refusals) == 1


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize(
    "email", ["", "x" * 255, "nul\0@example.com", "half\ud800@example.com", "a\nb@c"]
)
def test_malformed_emails(crowd: Crowd, email: str) -> None:
    """A malformed email gets the same answer as an unknown one."""
    office = crowd.origin()
    plain = _refused(crowd, f"nobody.{office.address}@example.com", WRONG, office)
    assert _refused(crowd, email, WRONG, office) == plain


@pytest.mark.slow_on("postgresql")
def test_waits_reveal_nothing_either(crowd: Crowd, ada: Member) -> None:
    """After as many failures an unknown email has to wait as long as a known one, in the same words."""
    histories = []
    for email in (email_of(ada), f"x{email_of(ada)}"):
        refusals = [_refused(crowd, email, WRONG, crowd.origin()) for _ in range(8)]
        crowd.clock.advance(ACCOUNT.first)
        refusals += [_refused(crowd, email, WRONG, crowd.origin()) for _ in range(3)]
        histories.append(refusals)
    assert histories[0] == histories[1]
    assert any("RateLimited" in str(line) for line in histories[0])


@pytest.mark.slow_on("postgresql")
def test_a_password_of_before(crowd: Crowd, ada: Member) -> None:
    """From the change on the old password is a wrong one."""
    crowd.give_password(ada, "another lamp and 9 rivers")
    assert _refused(crowd, email_of(ada), RIGHT, crowd.origin())
    _enter(crowd, email_of(ada), "another lamp and 9 rivers")


@pytest.mark.slow_on("postgresql")
def test_a_password_that_changes_in_the_meantime(crowd: Crowd, ada: Member) -> None:
    """A sign-in with a password that was changed before it ended is refused."""
    meanwhile: list[str] = []

    class Interrupted(PasswordHasher):
        def check_needs_rehash(self, hash: str | bytes) -> bool:  # noqa: A002
            if not meanwhile:
                meanwhile.append("changed")
                crowd.give_password(ada, "another lamp and 9 rivers")
            return False

    interrupted = Interrupted(time_cost=1, memory_cost=8, parallelism=1)
    slow = SignIn(crowd.sandbox.database, crowd.clock, Passwords(interrupted))
    with pytest.raises(Invalid):
        slow.with_password(email_of(ada), Password(RIGHT), crowd.origin())
    assert meanwhile


@pytest.mark.slow_on("postgresql")
def test_a_weak_hash_is_renewed(crowd: Crowd, ada: Member) -> None:
    """After stronger parameters are set, the next sign-in stores a new hash, and the one after it works."""
    stronger = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    grown = SignIn(crowd.sandbox.database, crowd.clock, Passwords(stronger))
    for _ in range(2):
        grown.with_password(email_of(ada), Password(RIGHT), crowd.origin())
    with read_behind(crowd.sandbox.database) as tx:
        stored = users.password_hash_of(tx, ada.user.id)
    assert stored is not None
    assert "m=64," in stored


@pytest.mark.slow_on("postgresql")
def test_a_member_of_nothing(crowd: Crowd, ada: Member) -> None:
    """A user who was removed everywhere can still sign in, as a member of no workspace: an invitation may wait."""
    crowd.members.change_role(acting(ada), crowd.join(ada, Role.ADMIN).user.id, Role.OWNER)
    crowd.members.leave(acting(ada))
    admitted = _enter(crowd, email_of(ada))
    assert admitted.members == []
    assert crowd.stands(admitted.secret)
    assert crowd.sign_in.memberships(admitted.secret) == []


# --- a bounded number of tries ---


def _guess(server: Server, email: str, addresses: list[Origin], times: int) -> list[str | None]:
    turns = [(server, email, WRONG, addresses[n % len(addresses)]) for n in range(times)]
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda turn: _refused(*turn), turns))


@pytest.mark.slow_on("postgresql")
def test_a_thousand_guesses_at_one_account(own_sandbox: SandboxInstallation) -> None:
    """Of 1,000 concurrent tries from 50 addresses through two servers, five are checked; the owner gets in (R67)."""
    crowd = Crowd(own_sandbox)
    ada = crowd.owner()
    crowd.give_password(ada)
    device = _enter(crowd, email_of(ada)).device
    servers = [crowd, Server(own_sandbox)]
    for server in servers:
        server.hasher.looked_at = 0
    addresses = [crowd.origin() for _ in range(50)]
    storms = [
        threading.Thread(target=_guess, args=(server, email_of(ada), addresses, 500))
        for server in servers
    ]
    for storm in storms:
        storm.start()
    during = [_enter(crowd, email_of(ada), origin=addresses[0], device=device) for _ in range(3)]
    for storm in storms:
        storm.join()
    assert sum(server.hasher.looked_at for server in servers) == ACCOUNT.free + len(during)
    assert all(crowd.stands(admitted.secret) for admitted in during)
    _enter(crowd, email_of(ada), origin=addresses[0], device=device)
    assert crowd.stands(crowd.signed_in(ada))


@pytest.mark.slow_on("postgresql")
def test_a_patient_attacker(crowd: Crowd, ada: Member) -> None:
    """An attacker who waits as required, from ever new addresses, has a hundred tries and no more (R67)."""
    device = _enter(crowd, email_of(ada)).device
    crowd.hasher.looked_at = 0
    for _ in range(ACCOUNT.most or 0):
        while "RateLimited" in str(_refused(crowd, email_of(ada), WRONG, crowd.origin())):
            crowd.clock.advance(hours=1)
    assert crowd.hasher.looked_at == 100
    crowd.clock.advance(days=60)
    for _ in range(10):
        assert "one-time link" in str(_refused(crowd, email_of(ada), RIGHT, crowd.origin()))
    assert crowd.hasher.looked_at == 100
    _enter(crowd, email_of(ada), origin=crowd.origin(), device=device)
    data = crowd.events(ada.workspace_id, "member.signed_in")[-1].data
    assert data == {"by": "password", "wrong_passwords_before": 100}


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("way", ["link", "password"])
def test_the_owner_opens_the_account_again(crowd: Crowd, ada: Member, way: str) -> None:
    """After a hundred wrong passwords a one-time link, or a new password, lets strangers' browsers try again."""
    device = _enter(crowd, email_of(ada)).device
    for _ in range(ACCOUNT.most or 0):
        _refused(crowd, email_of(ada), WRONG, crowd.origin())
        crowd.clock.advance(hours=1)
    assert _refused(crowd, email_of(ada), RIGHT, crowd.origin())
    if way == "link":
        crowd.signed_in(ada)
    else:
        session = _enter(crowd, email_of(ada), device=device).secret
        crowd.accounts.change_password(session, Password(RIGHT), Password(RIGHT))
    assert _refused(crowd, email_of(ada), RIGHT, crowd.origin()) is None


@pytest.mark.slow_on("postgresql")
def test_one_password_at_a_thousand_accounts(own_sandbox: SandboxInstallation) -> None:
    """One address that tries one password everywhere gets twenty tries, whatever accounts there are (R67)."""
    crowd = Crowd(own_sandbox)
    spray = Origin("192.0.2.66")
    for number in range(1000):
        _refused(crowd, f"p{number}@example.com", WRONG, spray)
    assert crowd.hasher.looked_at == ADDRESS.free
    before = crowd.sandbox.count(throttles)
    _refused(crowd, "another@example.com", WRONG, spray)
    assert crowd.sandbox.count(throttles) == before
    assert "RateLimited" not in str(_refused(crowd, "p1@example.com", WRONG, crowd.origin()))


@pytest.mark.slow_on("postgresql")
def test_an_ipv6_host_is_one_address(crowd: Crowd) -> None:
    """A host with a whole /64 gets no new tries with each of its addresses."""
    number = crowd.origin().address
    assert number is not None
    network = "2001:db8:{}:{}".format(*number.split(".")[2:])
    before = crowd.hasher.looked_at
    for host in range(1, 60):
        _refused(crowd, f"six{host}{number}@example.com", WRONG, Origin(f"{network}::{host:x}"))
    assert crowd.hasher.looked_at - before == ADDRESS.free


@pytest.mark.slow_on("postgresql")
def test_the_right_password_counts_no_failure(crowd: Crowd, ada: Member) -> None:
    """Signing in repeatedly is not guessing, and makes guesses at other accounts no cheaper."""
    office = crowd.origin()
    for _ in range(3 * ADDRESS.free):
        _enter(crowd, email_of(ada), origin=office)
    for number in range(ADDRESS.free - 1):
        _refused(crowd, f"n{number}{email_of(ada)}", WRONG, office)
    _enter(crowd, email_of(ada), origin=office)
    assert "RateLimited" not in str(_refused(crowd, f"m{email_of(ada)}", WRONG, office))
    assert "RateLimited" in str(_refused(crowd, f"m{email_of(ada)}", WRONG, office))


@pytest.mark.slow_on("postgresql")
def test_a_few_mistakes_are_forgiven(crowd: Crowd, ada: Member) -> None:
    """The right password after four wrong ones resets the count."""
    for _ in range(3):
        for _ in range(ACCOUNT.free - 1):
            assert "RateLimited" not in str(_refused(crowd, email_of(ada), WRONG, crowd.origin()))
        _enter(crowd, email_of(ada), origin=crowd.origin())


@pytest.mark.slow_on("postgresql")
def test_what_was_not_looked_at_is_not_counted(crowd: Crowd, ada: Member) -> None:
    """A sign-in that is refused because too many hashes run doesn't count as a try."""
    full = Passwords(crowd.hasher, at_once=0, waiting=1, wait_seconds=0)
    busy = SignIn(crowd.sandbox.database, crowd.clock, full)
    office = crowd.origin()
    for _ in range(2 * ADDRESS.free):
        with pytest.raises(RateLimited, match="right now"):
            busy.with_password(email_of(ada), Password(RIGHT), office)
    _enter(crowd, email_of(ada), origin=office)


@pytest.mark.slow_on("postgresql")
def test_a_flood_keeps_no_known_device_out(crowd: Crowd, ada: Member) -> None:
    """While strangers take every slot for hashing, the owner gets in on a known device, and proves it again."""
    device = _enter(crowd, email_of(ada)).device
    full = Passwords(crowd.hasher, at_once=0, waiting=0, wait_seconds=0)
    busy = SignIn(crowd.sandbox.database, crowd.clock, full)
    with pytest.raises(RateLimited):
        busy.with_password(email_of(ada), Password(RIGHT), crowd.origin())
    session = busy.with_password(email_of(ada), Password(RIGHT), crowd.origin(), device=device)
    assert crowd.stands(busy.reauthenticate(session.secret, Password(RIGHT)).secret)


@pytest.mark.slow_on("postgresql")
def test_a_hash_that_is_not_renewed_now(crowd: Crowd, ada: Member) -> None:
    """Without a slot for the stronger hash, the right password still signs in."""
    device = _enter(crowd, email_of(ada)).device
    stronger = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    full = Passwords(stronger, at_once=0, waiting=0, wait_seconds=0)
    busy = SignIn(crowd.sandbox.database, crowd.clock, full)
    admitted = busy.with_password(email_of(ada), Password(RIGHT), crowd.origin(), device=device)
    assert crowd.stands(admitted.secret)


# --- known devices ---


@pytest.mark.slow_on("postgresql")
def test_a_device_is_known_after_one_sign_in(crowd: Crowd, ada: Member) -> None:
    """The first sign-in gives the browser a secret; a later one with it gives out no other, and a link never does."""
    device = _enter(crowd, email_of(ada)).device
    assert device is not None
    assert _enter(crowd, email_of(ada), device=device).device is None
    link, _ = crowd.sign_in.make_link(ada)
    assert crowd.sign_in.redeem(link, device=device).device is None


@pytest.mark.slow_on("postgresql")
def test_a_device_opens_nothing(crowd: Crowd, ada: Member) -> None:
    """The device's secret works neither as a session, nor as a link, nor as a password."""
    device = _enter(crowd, email_of(ada)).device
    assert device is not None
    assert not crowd.stands(device)
    with pytest.raises(Invalid):
        crowd.sign_in.redeem(device)
    assert _refused(crowd, email_of(ada), device.reveal(), crowd.origin(), device)


@pytest.mark.slow_on("postgresql")
def test_a_device_has_an_allowance_of_its_own(crowd: Crowd, ada: Member) -> None:
    """After twenty wrong passwords a known device is a stranger again; strangers' tries are not reduced by it."""
    device = _enter(crowd, email_of(ada)).device
    crowd.hasher.looked_at = 0
    for _ in range(DEVICE.most or 0):
        assert "RateLimited" not in str(
            _refused(crowd, email_of(ada), WRONG, crowd.origin(), device)
        )
        crowd.clock.advance(DEVICE.longest)
    assert crowd.hasher.looked_at == DEVICE.most
    for _ in range(ACCOUNT.free):
        refusal = _refused(crowd, email_of(ada), WRONG, crowd.origin(), device)
        assert "RateLimited" not in str(refusal)
    assert "RateLimited" in str(_refused(crowd, email_of(ada), RIGHT, crowd.origin(), device))
    crowd.sign_in.redeem(crowd.sign_in.make_link(ada)[0], device=device)
    _refused(crowd, email_of(ada), WRONG, crowd.origin(), device)
    strangers = [_refused(crowd, email_of(ada), WRONG, crowd.origin()) for _ in range(5)]
    assert all("RateLimited" not in str(refusal) for refusal in strangers)


@pytest.mark.slow_on("postgresql")
def test_a_device_waits_too(crowd: Crowd, ada: Member) -> None:
    """On a known device too there is a wait between wrong passwords, and none after the right one."""
    device = _enter(crowd, email_of(ada)).device
    for _ in range(DEVICE.free):
        _refused(crowd, email_of(ada), WRONG, crowd.origin(), device)
    assert "wait 2 seconds" in str(_refused(crowd, email_of(ada), RIGHT, crowd.origin(), device))
    crowd.clock.advance(DEVICE.first)
    assert _refused(crowd, email_of(ada), RIGHT, crowd.origin(), device) is None
    assert _refused(crowd, email_of(ada), RIGHT, crowd.origin(), device) is None


@pytest.mark.slow_on("postgresql")
def test_a_device_is_known_to_one_person(crowd: Crowd, ada: Member) -> None:
    """Another user's device is a stranger to this account, and gets a secret of its own."""
    bo = crowd.owner("Bo")
    crowd.give_password(bo)
    device = _enter(crowd, email_of(ada)).device
    fresh = _enter(crowd, email_of(bo), device=device).device
    assert fresh is not None
    assert device is not None
    assert fresh.reveal() != device.reveal()
    for _ in range(ACCOUNT.free):
        _refused(crowd, email_of(bo), WRONG, crowd.origin())
    assert "RateLimited" in str(_refused(crowd, email_of(bo), RIGHT, crowd.origin(), device))
    assert _refused(crowd, email_of(bo), RIGHT, crowd.origin(), fresh) is None


@pytest.mark.slow_on("postgresql")
def test_devices_are_forgotten(crowd: Crowd, ada: Member) -> None:
    """After 180 days without a sign-in, and beyond the ten that were used last, a device is a stranger again."""
    first = _enter(crowd, email_of(ada)).device
    crowd.clock.advance(DEVICE_LIFETIME - MOMENT)
    assert _enter(crowd, email_of(ada), device=first).device is None
    crowd.clock.advance(DEVICE_LIFETIME)
    assert _enter(crowd, email_of(ada), device=first).device is not None
    devices = []
    for _ in range(MAX_DEVICES + 1):
        crowd.clock.advance(seconds=1)
        devices.append(_enter(crowd, email_of(ada)).device)
    known = [_enter(crowd, email_of(ada), device=device).device is None for device in devices[1:]]
    assert all(known)
    assert _enter(crowd, email_of(ada), device=devices[0]).device is not None


# --- reauthentication ---


@pytest.mark.slow_on("postgresql")
def test_proving_it_again(crowd: Crowd, ada: Member) -> None:
    """The same session becomes fresh under a new secret; the old secret is dead, and the 24 hours don't start again."""
    old = _enter(crowd, email_of(ada)).secret
    before = crowd.sign_in.visitor(old)
    crowd.clock.advance(REAUTHENTICATION_AGE)
    stale = crowd.sign_in.memberships(old)[0].authentication
    assert stale is not None
    assert not stale.is_recent(crowd.clock.now())
    renewed = crowd.sign_in.reauthenticate(old, Password(RIGHT), crowd.origin())
    after = crowd.sign_in.visitor(renewed.secret)
    assert before is not None
    assert after is not None
    assert (after.session.id, after.session.created_at) == (
        before.session.id,
        before.session.created_at,
    )
    assert after.session.authentication.is_recent(crowd.clock.now())
    assert not crowd.stands(old)


@pytest.mark.slow_on("postgresql")
def test_a_link_proves_it_again(crowd: Crowd, ada: Member) -> None:
    """A one-time link begins a fresh session, as the first one did."""
    crowd.clock.advance(REAUTHENTICATION_AGE)
    proof = crowd.sign_in.memberships(crowd.signed_in(ada))[0].authentication
    assert proof is not None
    assert proof.is_recent(crowd.clock.now())


@pytest.mark.slow_on("postgresql")
def test_guessing_within_a_session(crowd: Crowd, ada: Member) -> None:
    """A stolen session has ten tries at the password, then it ends; the owner's other sessions stay (R69)."""
    stolen, own = _enter(crowd, email_of(ada)).secret, _enter(crowd, email_of(ada)).secret
    for _ in range((SESSION.most or 0) - 1):
        with pytest.raises(Invalid):
            crowd.sign_in.reauthenticate(stolen, Password(WRONG))
        crowd.clock.advance(SESSION.longest)
    with pytest.raises(SessionEnded):
        crowd.sign_in.reauthenticate(stolen, Password(WRONG))
    assert not crowd.stands(stolen)
    crowd.sign_in.reauthenticate(own, Password(RIGHT))
    with pytest.raises(SessionEnded):
        crowd.sign_in.reauthenticate(stolen, Password(RIGHT))


@pytest.mark.slow_on("postgresql")
def test_without_a_password_a_link_is_the_way(crowd: Crowd) -> None:
    """A user without a password gets that answer, and it doesn't count as a try."""
    session = crowd.signed_in(crowd.owner())
    for _ in range(SESSION.free + 1):
        with pytest.raises(Invalid, match="one-time link"):
            crowd.sign_in.reauthenticate(session, Password(RIGHT))
