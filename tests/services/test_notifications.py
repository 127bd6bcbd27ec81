"""Digests: one email a day for each member who wants it, of what is still true; twice rather than never."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from keystead.domain.errors import Forbidden, Invalid, LimitReached
from keystead.domain.notification_digests import GATHERING_DELAY, INTERVAL, MAX_EVENT_AGE, Topic
from keystead.domain.principals import Principal, of_member, operator
from keystead.domain.workspaces import Member, Role
from keystead.services.key_issuer import CreatedKey
from keystead.services.key_lifecycle import KeyLifecycle
from keystead.services.notifications import LEASE, Digest
from tests.support.installations import SandboxInstallation
from tests.support.people import acting

DAY = timedelta(days=1)


@pytest.fixture
def place(own_sandbox: SandboxInstallation) -> Place:
    """A workspace with an owner, on a sandbox of its own: digests are claimed over all workspaces."""
    return Place(own_sandbox)


class Place:
    """A workspace, its owner, and what happens there."""

    def __init__(self, sandbox: SandboxInstallation) -> None:
        self.sandbox = sandbox
        self.digests = sandbox.services.notification_digests
        self.watch = KeyLifecycle(sandbox.database, sandbox.clock)
        self.tenant, self.owner = self.workspace("Acme", "owner@acme.example")

    def workspace(self, name: str, email: str) -> tuple[Principal, Member]:
        """Create a workspace with room for three keys, and its owner."""
        services = self.sandbox.services
        created = services.workspaces.create(name, plan_id="scale", owner="Owner", email=email)
        self.sandbox.clock.advance(seconds=1)
        acting = operator("tests", created.id)
        self.sandbox.limit(acting, 3)
        member = services.members.list(acting).items[0]
        return acting, member

    def ending(self, ahead: timedelta) -> CreatedKey:
        """Create a key that will be news after that time: it expires two weeks later."""
        ends = (self.sandbox.clock.now() + ahead + 14 * DAY).replace(microsecond=0)
        created = self.sandbox.key(self.tenant, "nightly", expires_at=ends)
        self.watch.run()
        return created

    def fill(self, tenant: Principal | None = None) -> None:
        """Reach the limit of keys."""
        acting = tenant or self.tenant
        for number in range(3 - self.sandbox.used(acting)):
            self.sandbox.key(acting, f"key {number}")
        with pytest.raises(LimitReached):
            self.sandbox.key(acting, "one too many")

    def due(self, passed: timedelta = GATHERING_DELAY) -> list[Digest]:
        """Return what a worker claims after that time."""
        self.sandbox.clock.advance(passed)
        return self.digests.claim()

    def emails(self, digests: list[Digest]) -> list[tuple[str, str, str]]:
        """Return recipients, subjects and texts."""
        return [(email.to, email.subject, email.text) for d in digests for email in d.emails]


def test_a_digest_reports_a_limit(place: Place) -> None:
    """A reached limit is reported to the owner, once, a quarter of an hour later."""
    place.fill()
    assert place.due(GATHERING_DELAY - timedelta(seconds=2)) == []
    digests = place.due(timedelta(seconds=2))
    [(to, subject, text)] = place.emails(digests)
    assert (to, subject) == ("owner@acme.example", "Acme: The limit of 3 API keys was reached")
    assert f"/w/{place.tenant.workspace_id}/plan" in text
    assert f"/w/{place.tenant.workspace_id}/notices" in text
    place.digests.settle(digests[0])
    assert place.due(10 * DAY) == []


def test_a_day_has_one_digest(place: Place) -> None:
    """Events after a digest are in the next one, a day later, however many."""
    place.ending(timedelta(hours=1))
    place.fill()
    [first] = place.due()
    place.digests.settle(first)
    place.sandbox.clock.advance(hours=2)
    assert place.watch.run() == 1
    assert place.due(timedelta(hours=21)) == []
    [second] = place.due(timedelta(hours=1))
    [(_, subject, text)] = place.emails([second])
    assert "“nightly”" in subject
    assert "limit" not in text.lower()


def test_news_during_a_sending_is_in_the_next_digest(place: Place) -> None:
    """News between the claim and the settling is not lost: it is due a day later."""
    place.ending(timedelta(minutes=16))
    place.fill()
    [first] = place.due()
    place.sandbox.clock.advance(minutes=2)
    assert place.watch.run() == 1
    place.digests.settle(first)
    [second] = place.due(INTERVAL)
    assert len(place.emails([second])) == 1


def test_outdated_news_is_not_sent(place: Place) -> None:
    """A key that was revoked meanwhile needs no warning that it expires."""
    created = place.ending(timedelta(hours=1))
    place.sandbox.clock.advance(hours=2)
    assert place.watch.run() == 1
    place.sandbox.services.keys.revoke(place.tenant, created.key.id)
    [digest] = place.due()
    assert digest.emails == []


def test_two_workers_never_claim_the_same(place: Place) -> None:
    """A claimed digest can be claimed by another worker once its lease has expired, and not before."""
    place.fill()
    [first] = place.due()
    assert place.digests.claim() == []
    [again] = place.due(LEASE)
    assert again.claimed.lease != first.claimed.lease
    place.digests.settle(first)
    assert place.due(LEASE) != []


def test_a_digest_that_cannot_be_sent_comes_again(place: Place) -> None:
    """While mail is unavailable, the digest waits longer each time, and loses nothing."""
    place.fill()
    [digest] = place.due()
    for minutes in (5, 10, 20):
        place.digests.fail(digest, ValueError())
        assert place.due(timedelta(minutes=minutes, seconds=-1)) == []
        [digest] = place.due(timedelta(seconds=1))
    assert len(place.emails([digest])) == 1


def test_a_workspace_that_cannot_be_read_holds_up_no_other(place: Place) -> None:
    """The database cancels a slow query in one workspace: the others' digests are sent, its own comes later."""
    other, _ = place.workspace("Other", "owner@other.example")
    place.fill()
    place.fill(other)

    def cancel(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        if "FROM events" in statement and place.tenant.workspace_id in str(parameters):
            raise OperationalError(statement, None, OSError("canceling statement"))

    event.listen(place.sandbox.database.engine, "before_cursor_execute", cancel)
    assert [to for to, _, _ in place.emails(place.due())] == ["owner@other.example"]
    event.remove(place.sandbox.database.engine, "before_cursor_execute", cancel)
    assert place.due(timedelta(minutes=4)) == []
    assert [to for to, _, _ in place.emails(place.due(timedelta(minutes=1)))] == [
        "owner@acme.example"
    ]


def test_a_member_who_was_ahead_gets_the_rest(place: Place) -> None:
    """One email was sent, another failed, and more happened since: the first member gets the news a day later."""
    link, _ = place.sandbox.services.invitations.invite(
        acting(place.owner, place.sandbox.clock.now()), "beside@acme.example", Role.ADMIN
    )
    place.sandbox.services.invitations.accept(link, "Beside")
    place.ending(timedelta())
    [digest] = place.due()
    first, second = digest.emails
    assert place.digests.note(digest, first)
    place.digests.fail(digest, ValueError())
    place.fill()
    [again] = place.due(timedelta(minutes=5))
    assert [email.to for email in again.emails] == [second.to]
    place.digests.settle(again)
    [rest] = place.due(INTERVAL)
    assert [email.to for email in rest.emails] == [first.to]
    assert "nightly" not in rest.emails[0].text  # the news of its first email
    place.digests.settle(rest)
    assert place.due(INTERVAL) == []


def test_old_news_is_no_news(place: Place) -> None:
    """After a long time without mail, the first digest reports only what is recent."""
    place.fill()
    [digest] = place.due(MAX_EVENT_AGE + DAY)
    assert digest.emails == []


def test_a_workspace_gets_only_its_own_news(place: Place) -> None:
    """Each workspace's digest goes to its own members, with its own keys."""
    other, _ = place.workspace("Other", "owner@other.example")
    place.fill()
    place.fill(other)
    emails = place.emails(place.due())
    assert {(to, subject.partition(":")[0]) for to, subject, _ in emails} == {
        ("owner@acme.example", "Acme"),
        ("owner@other.example", "Other"),
    }
    for to, _, text in emails:
        assert (other.workspace_id in text) == (to == "owner@other.example")


def test_members_choose(place: Place) -> None:
    """Owners get all topics until they choose; a topic that a member turned off is not reported."""
    notices, owner = place.sandbox.services.notification_preferences, of_member(place.owner)
    assert notices.get(owner) == frozenset(Topic)
    assert notices.choose(owner, ["expiring"]) == {Topic.EXPIRING}
    assert notices.get(owner) == {Topic.EXPIRING}
    place.fill()
    [digest] = place.due()
    assert digest.emails == []
    assert notices.choose(owner, []) == frozenset()
    assert notices.get(owner) == frozenset()


def test_by_default_developers_get_no_digest(place: Place) -> None:
    """A member who doesn't manage the workspace gets the topics that they choose, and no others."""
    viewer = of_member(
        Member(place.owner.workspace_id, place.owner.user, Role.VIEWER, place.owner.joined_at)
    )
    assert place.sandbox.services.notification_preferences.get(viewer) == frozenset()


def test_only_members_choose(place: Place) -> None:
    """Keys and operators have no preferences; an unknown topic is refused."""
    notices = place.sandbox.services.notification_preferences
    for nobody in (place.tenant, place.sandbox.caller(place.tenant, "*")):
        with pytest.raises(Forbidden):
            notices.choose(nobody, ["limit"])
        with pytest.raises(Forbidden):
            notices.get(nobody)
    with pytest.raises(Invalid):
        notices.choose(of_member(place.owner), ["everything"])
