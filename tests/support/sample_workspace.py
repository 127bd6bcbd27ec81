"""A workspace in which every page has something to show: keys of every kind, people, documents, events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import cycle
from typing import Final

from keystead.bootstrap import Installation
from keystead.domain.device_logins import DeviceRequest
from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.events import Origin
from keystead.domain.ids import UserId, WorkspaceId, new_id
from keystead.domain.instants import to_microseconds
from keystead.domain.keys import ApiKey, KeyDraft
from keystead.domain.passwords import Password
from keystead.domain.principals import Principal, of_member
from keystead.domain.scopes import Scopes
from keystead.domain.sessions import Authentication, AuthenticationMethod
from keystead.domain.token import Secret
from keystead.domain.verification import DenialReason, Denied
from keystead.domain.webhooks import (
    Attempt,
    AttemptError,
    Delivery,
    Outcome,
    WebhookDraft,
    WebhookPatch,
    WebhookStatus,
)
from keystead.domain.workspaces import Member, Role, User
from keystead.services.deliveries import Sent
from keystead.storage.engine.roles import Purpose
from keystead.storage.tables import users, workspaces
from tests.support.clocks import ManualClock

EMAIL: Final = "owner@keys.example"
PASSWORD: Final = "seven tall herons by the weir"
"""The password of every user here who has one."""
ROOM: Final = {"api_keys": 150, "collections": 80, "members": 80, "documents": 2_000}


@dataclass
class SampleWorkspace:
    """A furnished installation. `full` has no room for keys; `suspended` is suspended; all belong to the same owner."""

    installation: Installation
    clock: ManualClock
    owner: Member
    full: WorkspaceId
    suspended: WorkspaceId
    keys: dict[str, ApiKey] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The path of the pages of the furnished workspace."""
        return f"/w/{self.owner.workspace_id}"

    @property
    def principal(self) -> Principal:
        """The owner, who has just authenticated."""
        return self.acting(self.owner)

    def acting(self, member: Member) -> Principal:
        """Return the principal of a member who has just authenticated."""
        return of_member(
            replace(
                member, authentication=Authentication(self.clock.now(), AuthenticationMethod.LINK)
            )
        )

    def link(self, member: Member | None = None) -> str:
        """Return the principal of a member who has just authenticated."""
        secret, _ = self.installation.services.sign_in.make_link(member or self.owner)
        return f"/sign-in?link={secret.reveal()}"

    def invitation(self, email: str = "invited@keys.example") -> str:
        """Create a sign-in link, for the owner by default."""
        invite = self.installation.services.invitations.invite
        secret, _ = invite(self.principal, email, Role.DEVELOPER)
        return f"/invitation?link={secret.reveal()}"

    def confirmation(self) -> str:
        """Create an invitation to the furnished workspace."""
        services = self.installation.services
        secret, _ = services.sign_in.make_link(self.person(Role.VIEWER, "Una Unconfirmed"))
        services.accounts.change_email(services.sign_in.redeem(secret).secret, "una@keys.example")
        [email] = services.confirmations.claim()[-1].emails
        [link] = [line for line in email.text.splitlines() if "?link=" in line]
        return link.removeprefix(self.installation.settings.base_url)

    def terminal(self) -> str:
        """Start a sign-in at a terminal. Returns the link with its code."""
        asked = DeviceRequest("ci-runner", Scopes(["documents:read"]), "build-7.internal")
        logins = self.installation.services.device_logins
        started = logins.start(asked, Origin("203.0.113.99"), "terminal/1.0")
        return f"/device?user_code={started.user_code}"

    def person(self, role: Role, name: str, email: str | None = None) -> Member:
        """Return the link of a new confirmation email to a viewer."""
        now = self.clock.now()
        user = User(UserId(new_id("usr", now)), name, email, now)
        member = Member(self.owner.workspace_id, user, role)
        with self.installation.database.write_across(Purpose.PEOPLE) as tx:
            users.insert_user(tx, user)
            workspaces.insert_member(tx, member, now)
        return member

    def set_password(self, member: Member) -> None:
        """Give a member with an address the password of this sample."""
        services = self.installation.services
        secret, _ = services.sign_in.make_link(member)
        session = services.sign_in.redeem(secret).secret
        admitted = services.accounts.change_password(session, Password(PASSWORD))
        services.sign_in.sign_out(admitted.secret)

    def key(self, name: str, days: float | None, *scopes: str, by: Member | None = None) -> ApiKey:
        """Create a key now, which expires in that many days."""
        ends = None if days is None else self.clock.now() + timedelta(days=days)
        draft = KeyDraft(name, ends, Scopes(scopes or ("*",)))
        key = self.installation.services.keys.create(self.acting(by or self.owner), draft).key
        self.keys[name] = key
        return key

    def use(self, key: ApiKey, at: datetime, address: str, agent: str) -> None:
        """Record a use of the key at that time."""
        caller = Principal.of_key(
            key.id, key.description, key.workspace_id, key.scopes, key.expires_at
        )
        usage = self.installation.services.usage
        usage.note(caller, to_microseconds(at), address, agent)
        usage.flush()


def furnish(installation: Installation, clock: ManualClock, now: datetime) -> SampleWorkspace:
    """Furnish an installation with empty tables, as if its history had ended at `now`."""
    clock.set(now - timedelta(days=420))
    sample = _workspaces(installation, clock)
    _fill_with_people(sample)
    _fill_with_keys(sample, now)
    _fill_with_documents(sample)
    _fill_with_webhooks(sample)
    clock.set(now)
    return sample


def _workspaces(installation: Installation, clock: ManualClock) -> SampleWorkspace:
    service = installation.services.workspaces
    owner = service.first()
    service.set_plan(owner.workspace_id, "team", ROOM)
    with installation.database.write_across(Purpose.PEOPLE) as tx:
        users.set_email(tx, owner.user.id, EMAIL, confirmed_at=clock.now())
    owner = service.owner(owner.workspace_id)
    clock.advance(hours=1)
    full = service.create("Staging").id
    clock.advance(hours=1)
    suspended = service.create("Archive").id
    sample = SampleWorkspace(installation, clock, owner, full, suspended)
    with installation.database.write_across(Purpose.PEOPLE) as tx:
        for id in (full, suspended):
            workspaces.insert_member(tx, replace(owner, workspace_id=id), clock.now())
    elsewhere = replace(sample, owner=replace(owner, workspace_id=sample.full))
    for number in range(5):
        elsewhere.key(f"preview {number + 1}", None)
    service.suspend(sample.suspended)
    return sample


def _fill_with_people(sample: SampleWorkspace) -> None:
    sample.set_password(sample.owner)
    sample.person(Role.ADMIN, "Ada Admin", "ada@keys.example")
    sample.person(Role.VIEWER, "Vic Viewer", "vic@keys.example")
    leaver = sample.person(Role.DEVELOPER, "Lee Leaver", "lee@keys.example")
    sample.key("laptop of Lee", None, by=leaver)
    sample.installation.services.members.remove(sample.principal, leaver.user.id)


def _fill_with_keys(sample: SampleWorkspace, now: datetime) -> None:
    keys = sample.installation.services.keys
    sample.key("legacy importer", None)
    sample.clock.set(now - timedelta(days=300))
    sample.key("old laptop", 20)
    sample.clock.set(now - timedelta(days=50))
    gone = sample.key("old CI", None)
    sample.clock.set(now - timedelta(days=20))
    sample.key("nightly report", 30, "collections:read", "documents:read")
    rolled = sample.key("mobile backend", 90)
    sample.clock.set(now - timedelta(days=1))
    sample.key("data-warehouse sync", 90)
    sample.installation.services.rotations.rotate(
        sample.principal, rolled.id, overlap=timedelta(days=7)
    )
    sample.use(gone, now - timedelta(days=40), "192.0.2.7", "Jenkins/2.462")
    keys.revoke(sample.principal, gone.id)
    _use_keys(sample, gone, now)


def _use_keys(sample: SampleWorkspace, gone: ApiKey, now: datetime) -> None:
    agents = (("10.2.3.4", "python-requests/2.32.3"), ("2001:db8::17", "curl/8.14.1"))
    for day in range(30, -1, -1):
        address, agent = agents[day % 2]
        at = now - timedelta(days=day, minutes=4)
        if at > sample.keys["data-warehouse sync"].created_at:
            sample.use(sample.keys["data-warehouse sync"], at, address, agent)
        if day > 3:
            sample.use(sample.keys["legacy importer"], at, address, agent)
    usage = sample.installation.services.usage
    refused = to_microseconds(now - timedelta(hours=2))
    denied = Denied(DenialReason.REVOKED, key_id=gone.id, workspace_id=gone.workspace_id)
    usage.note_refusal(denied, refused, "192.0.2.7", "Jenkins/2.462")
    usage.flush()


def _fill_with_documents(sample: SampleWorkspace) -> None:
    documents, owner = sample.installation.services.documents, sample.principal
    documents.create_collection(owner, CollectionDraft("handbook", "Handbook"))
    documents.create_collection(owner, CollectionDraft("empty-shelf"))
    texts = [
        DocumentDraft(f"page-{n}", f"What one should know of matter {n}.", f"Matter {n}")
        for n in range(60)
    ]
    documents.push(owner, "handbook", Push(upsert=texts))


def _fill_with_webhooks(sample: SampleWorkspace) -> None:
    """Create a webhook with an attempt of every kind, and one that is disabled."""
    webhooks, owner = sample.installation.services.webhooks, sample.principal
    url = "https://hooks.example/keys"
    chat = webhooks.create(owner, WebhookDraft("alerts in chat", url, ("*",), {"X-Team": "keys"}))
    off = webhooks.create(owner, WebhookDraft("old CRM", f"{url}/crm", ("key.revoked",)))
    sample.key("chat notifier", 90)
    webhooks.test(owner, chat.endpoint.id)
    webhooks.update(owner, off.endpoint.id, WebhookPatch(status=WebhookStatus.DISABLED))
    _try_deliveries(sample)
    webhooks.update(owner, chat.endpoint.id, WebhookPatch(status=WebhookStatus.ACTIVE))


def _try_deliveries(sample: SampleWorkspace) -> None:
    """Settle the due deliveries as a worker does: delivered, refused, timed out, gone (410)."""
    deliveries = sample.installation.services.deliveries
    answers = cycle(
        [
            (204, None),
            (500, AttemptError.STATUS),
            (None, AttemptError.TIMEOUT),
            (410, AttemptError.STATUS),
        ]
    )
    batches = deliveries.claim(endpoints=10, messages=10)
    for batch in batches:
        tries = zip(batch.messages, answers, strict=False)
        deliveries.settle(
            [_sent(sample, message.delivery, *try_) for message, try_ in tries], [batch]
        )


def _sent(
    sample: SampleWorkspace, delivery: Delivery, status: int | None, error: AttemptError | None
) -> Sent:
    return Sent(delivery, Outcome(Attempt(sample.clock.now(), status, error, 120)))


def secret_of(link: str) -> Secret:
    """Return the secret of a link of this sample."""
    return Secret(link.partition("link=")[2])
