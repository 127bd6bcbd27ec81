"""Confirming emails: one message, one link, one use; no other mail before, and no answer reveals its user."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import select

from keystead.domain.confirmations import CHANGE_LIMIT, CONFIRMATION_LIFETIME, EMAIL_LIMIT
from keystead.domain.errors import EmailTaken, Invalid, KeysteadError, LimitReached, RateLimited
from keystead.domain.notification_digests import GATHERING_DELAY
from keystead.domain.passwords import Password
from keystead.domain.sessions import REAUTHENTICATION_AGE
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member, Role
from keystead.services.accounts import Accounts
from keystead.services.confirmations import Confirmations
from keystead.services.notifications import NotificationDigests
from keystead.storage.schema import tables as schema
from tests.support.administrator import read_behind
from tests.support.installations import SandboxInstallation
from tests.support.people import RIGHT, People, acting, acting_operator, email_of

BASE_URL = "https://keys.example.com"
NEW = "new@example.net"


@dataclass
class Mail:
    """People on an installation that sends mail, with a list of all messages."""

    people: People
    emails: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        database, clock = self.people.sandbox.database, self.people.clock
        self.accounts = Accounts(database, clock, self.people.passwords, confirms=True)
        self.confirmations = Confirmations(database, clock, base_url=BASE_URL, product="Acme Keys")
        self.digests = NotificationDigests(database, clock, base_url=BASE_URL)

    def ask(self, member: Member, email: str = NEW) -> None:
        """Ask for another email in a fresh session."""
        self.accounts.change_email(self.people.signed_in(member), email, self.people.origin())

    def send(self) -> list[tuple[str, str]]:
        """Send what is due. Returns the recipients, and the texts."""
        sent = []
        for outbox in (self.confirmations, self.digests):
            while claimed := outbox.claim():
                for sending in claimed:
                    sent += [(email.to, email.text) for email in sending.emails]
                    outbox.settle(sending)  # type: ignore[arg-type]
        self.emails += sent
        return sent

    def link(self) -> Secret:
        """Return the link of the last email."""
        [text] = re.findall(r"\?link=(\S+)", self.emails[-1][1])
        return Secret(text)

    def email(self, member: Member) -> str | None:
        """Return the member's present email."""
        account = self.people.member(member)
        assert account is not None
        return account.user.email

    def has_news(self, member: Member) -> None:
        """Cause an event that the member's workspace reports by email."""
        tenant = acting_operator(member.workspace_id)
        self.people.sandbox.limit(tenant, 0)
        with pytest.raises(LimitReached):
            self.people.sandbox.key(tenant)
        self.people.clock.advance(GATHERING_DELAY)


@pytest.fixture
def mail(own_sandbox: SandboxInstallation) -> Mail:
    """The mail of a sandbox of its own: emails are claimed over all users."""
    return Mail(People(own_sandbox))


def test_an_email_changes_once_its_link_is_opened(mail: Mail) -> None:
    """Until then the old email signs in; then the new one does, and the event says so."""
    ada = mail.people.owner()
    mail.people.give_password(ada)
    mail.ask(ada)
    assert mail.email(ada) == email_of(ada)
    [(to, text)] = mail.send()
    assert to == NEW
    assert "Acme Keys" in text
    assert mail.send() == []
    mail.people.sign_in.with_password(email_of(ada), Password(RIGHT), mail.people.origin())
    user, email = mail.confirmations.find(mail.link())
    assert (user.id, email) == (ada.user.id, NEW)
    assert mail.email(ada) == email_of(ada)
    assert mail.confirmations.confirm(mail.link()).confirmed_email == NEW
    mail.people.sign_in.with_password(NEW, Password(RIGHT), mail.people.origin())
    [event] = mail.people.events(ada.workspace_id, "member.email_changed")
    assert event.data == {"from": email_of(ada), "to": NEW}


def test_a_link_works_once_and_for_a_day(mail: Mail) -> None:
    """A link that was used, expired, replaced by a later one, or never created opens nothing."""
    ada = mail.people.owner()
    mail.ask(ada)
    mail.send()
    replaced = mail.link()
    mail.ask(ada, "later@example.net")
    mail.send()
    used = mail.link()
    mail.confirmations.confirm(used)
    mail.ask(ada)
    mail.send()
    expired = mail.link()
    mail.people.clock.advance(CONFIRMATION_LIFETIME)
    for link in (replaced, used, expired, Secret.fresh(), Secret("")):
        for act in (mail.confirmations.find, mail.confirmations.confirm):
            with pytest.raises(Invalid):
                act(link)
    assert mail.email(ada) == "later@example.net"


def test_one_of_many_uses_a_link(mail: Mail) -> None:
    """Of eight at the same time one confirms, and the others find the link used."""
    ada = mail.people.owner()
    mail.ask(ada)
    mail.send()

    def confirm(_: int) -> bool:
        try:
            mail.confirmations.confirm(mail.link())
        except Invalid:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(confirm, range(8))) == 1


def test_rows_hold_no_link(mail: Mail) -> None:
    """A reader of the database can't open a link: it has a digest of 256 random bits, and a repr hides the message."""
    ada = mail.people.owner()
    mail.ask(ada)
    [confirmation] = mail.confirmations.claim()
    mail.emails += [(email.to, email.text) for email in confirmation.emails]
    with read_behind(mail.people.sandbox.database) as tx:
        row = tx.execute(select(schema.email_confirmations)).one()
    assert row.digest == sha256(mail.link().reveal().encode()).digest()
    assert mail.link().reveal() not in repr(row)
    assert mail.link().reveal() not in repr(confirmation)


def test_a_taken_email_is_answered_as_a_free_one(mail: Mail) -> None:
    """Requesting reveals nothing, and sends the same message; only opening the link shows that it is taken."""
    ada, bo = mail.people.owner(), mail.people.owner("Bo")
    requests = [
        mail.accounts.change_email(mail.people.signed_in(ada), email)
        for email in (email_of(bo), email_of(bo).upper(), NEW)
    ]
    assert requests[0] == requests[1] == requests[2]
    mail.ask(ada, email_of(bo))
    [(to, text)] = mail.send()
    assert to == email_of(bo)
    assert ada.user.name not in text
    with pytest.raises(EmailTaken):
        mail.confirmations.confirm(mail.link())
    assert (mail.email(ada), mail.email(bo)) == (email_of(ada), email_of(bo))


def test_nothing_else_goes_to_an_email_before_it_is_confirmed(mail: Mail) -> None:
    """One message, however much there is to report; after its link was opened, the news since then."""
    ada = mail.people.owner()
    without_mail = mail.people.accounts
    assert without_mail.change_email(mail.people.signed_in(ada), NEW).confirmed_email is None
    mail.has_news(ada)
    [(to, _)] = mail.send()
    assert to == NEW
    mail.people.clock.advance(timedelta(days=2))
    mail.has_news(ada)
    assert mail.send() == []
    mail.ask(ada)
    mail.send()
    mail.confirmations.confirm(mail.link())
    mail.people.clock.advance(timedelta(days=2))
    mail.has_news(ada)
    assert [to for to, _ in mail.send()] == [NEW]
    assert "limit" in mail.emails[-1][1]


def test_emails_vouched_for_are_confirmed(mail: Mail) -> None:
    """An operator, a product or an inviter vouches for an email: it needs no confirmation."""
    people = mail.people
    ada = people.owner()
    joined = people.join(ada, Role.VIEWER)
    people.portal_session(ada, email="pat@example.com")
    members = people.sandbox.services.members.list(acting_operator(ada.workspace_id)).items
    assert {member.user.confirmed_email for member in members} == {
        email_of(ada),
        email_of(joined),
        "pat@example.com",
    }
    people.portal_session(ada, email="pat@example.org")
    people.portal_session(ada, user_id="u2")
    members = people.sandbox.services.members.list(acting_operator(ada.workspace_id)).items
    assert "pat@example.org" in {member.user.confirmed_email for member in members}
    assert mail.send() == []


def test_joining_by_an_invitation_confirms_its_own_email_alone(mail: Mail) -> None:
    """A user who joins with an existing account confirms the invited email, and no other."""
    people = mail.people
    for invited, confirmed in ((NEW.upper(), NEW), ("other@example.net", None)):
        host, guest = people.owner("Host"), people.owner("Guest")
        session = people.signed_in(guest)
        people.accounts.change_email(session, NEW)
        link, _ = people.invitations.invite(
            acting(host, people.clock.now()), invited, Role.DEVELOPER
        )
        people.invitations.join(link, session)
        member = people.member(guest)
        assert member is not None
        assert member.user.confirmed_email == confirmed
        people.accounts.change_email(session, f"gone.{invited}")


def test_changes_and_emails_are_rate_limited(mail: Mail) -> None:
    """Five changes an hour for one user, with mail and without; three messages a day to one email, from all users."""
    for accounts in (mail.accounts, mail.people.accounts):
        session = mail.people.signed_in(mail.people.owner())
        for number in range(CHANGE_LIMIT.most):
            accounts.change_email(session, f"{number}@{id(accounts)}.example")
        with pytest.raises(RateLimited):
            accounts.change_email(session, NEW)
        mail.people.clock.advance(CHANGE_LIMIT.window)
    for _ in range(EMAIL_LIMIT.most):
        mail.ask(mail.people.owner(), NEW.upper())
    with pytest.raises(RateLimited):
        mail.ask(mail.people.owner(), NEW)
    mail.people.clock.advance(EMAIL_LIMIT.window)
    mail.ask(mail.people.owner(), NEW)


def test_a_new_password_takes_a_change_back(mail: Mail) -> None:
    """A thief of a session who requested another email doesn't get it after the password was changed."""
    ada = mail.people.owner()
    mail.ask(ada)
    mail.send()
    mail.accounts.change_password(mail.people.signed_in(ada), Password(RIGHT))
    with pytest.raises(Invalid):
        mail.confirmations.confirm(mail.link())


@pytest.mark.parametrize("others", [True, False])
def test_ending_sessions_takes_a_change_back(mail: Mail, others: bool) -> None:
    """A change that was requested in a session which its user ends afterwards is never made."""
    ada = mail.people.owner()
    stolen = mail.people.signed_in(ada)
    mail.accounts.change_email(stolen, NEW, mail.people.origin())
    mail.send()
    own = mail.people.signed_in(ada)
    if others:
        mail.accounts.end_other_sessions(own)
    else:
        [line] = [line for line in mail.accounts.sessions(own) if not line.current]
        mail.accounts.end_session(own, line.session.id)
    with pytest.raises(Invalid):
        mail.confirmations.confirm(mail.link())


def test_asking_needs_a_fresh_proof_and_a_sound_email(mail: Mail) -> None:
    """A refused request sends nothing and counts nothing."""
    ada = mail.people.owner()
    session = mail.people.signed_in(ada)
    for _ in range(CHANGE_LIMIT.most + 1):
        with pytest.raises(Invalid):
            mail.accounts.change_email(session, "root,x@example.com")
    mail.people.clock.advance(REAUTHENTICATION_AGE)
    for _ in range(CHANGE_LIMIT.most + 1):
        with pytest.raises(KeysteadError, match="recent sign-in"):
            mail.accounts.change_email(session, NEW)
    assert mail.send() == []
    mail.ask(ada)
    assert len(mail.send()) == 1
