"""Any statement or commit of a use case may conflict with others': the use case takes effect exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import BigInteger, Select, cast, func, literal, select, union_all

from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.errors import Invalid
from keystead.domain.keys import KeyDraft, KeyPatch
from keystead.domain.passwords import Password
from keystead.domain.plans import DEFAULT_PLANS
from keystead.domain.portal import PortalRequest, PortalUser
from keystead.domain.revocation_log import RevocationEntry
from keystead.domain.webhooks import Attempt, Outcome, WebhookDraft
from keystead.domain.workspaces import Member, Role
from keystead.services.deliveries import Batch, Sent
from keystead.services.idempotency import Once
from keystead.services.key_lifecycle import KeyLifecycle
from keystead.services.webhooks import CreatedWebhook
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.schema import tables as schema
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation
from tests.support.people import PRODUCT, RIGHT, WRONG, People, acting, acting_operator, email_of
from tests.support.row_security import as_owner
from tests.support.sabotage import MOST, Failing, Fault, sabotage

Act = Callable[[], object]
Scene = Callable[[People, Member], Act]

ADDED_UP = (
    schema.workspaces.c.last_event,
    schema.key_counts.c.counted,
    schema.key_use_days.c.uses,
    schema.key_callers.c.times,
    schema.throttles.c.failures,
    schema.collections.c.documents,
)
"""The counters within rows, which show an effect that was counted twice."""
ONCE = Once("once", sha256(b"the same request").digest())


@dataclass
class Look:
    """All rows, read around the product."""

    behind: Database

    def counted(self) -> Counter[str]:
        """Return how many rows each table has, and the sums of their counters."""
        rows = [_sum(table.name, func.count(), table) for table in schema.metadata.sorted_tables]
        sums = [
            _sum(str(column), func.coalesce(func.sum(column), 0), column.table)
            for column in ADDED_UP
        ]
        with self.behind.read_across(Purpose.OWNER) as tx:
            return Counter({row.name: row.value for row in tx.execute(union_all(*rows, *sums))})


def _sum(name: str, value: Any, table: Any) -> Select[str, int]:
    label = literal(name).label("name")
    return select(label, cast(value, BigInteger).label("value")).select_from(table)


@pytest.fixture(scope="module")
def look(shared_sandbox: SandboxInstallation) -> Iterator[Look]:
    """Read the installation of this file."""
    with closing(Database(as_owner(shared_sandbox.url))) as behind:
        yield Look(behind)


# --- the acts: each is prepared in a new workspace ---


def create(people: People, owner: Member) -> Act:
    """Create a key under a limit."""
    tenant = acting_operator(owner.workspace_id)
    people.sandbox.limit(tenant, 1)
    return lambda: people.sandbox.key(tenant)


def create_once(people: People, owner: Member) -> Act:
    """Create a key, and repeat the request."""
    tenant, keys = acting_operator(owner.workspace_id), people.sandbox.services.keys

    def ask() -> None:
        first = keys.create(tenant, KeyDraft("sync"), once=ONCE)
        again = keys.create(tenant, KeyDraft("sync"), once=ONCE)
        assert first.token is not None
        assert (again.key.id, again.token) == (first.key.id, None)

    return ask


def rotate(people: People, owner: Member) -> Act:
    """Create a successor in addition to the old key."""
    tenant = acting_operator(owner.workspace_id)
    key, hour = people.sandbox.key(tenant).key, timedelta(hours=1)
    return lambda: people.sandbox.services.rotations.rotate(tenant, key.id, overlap=hour, once=ONCE)


def revoke(people: People, owner: Member) -> Act:
    """Revoke a key, reported once, after the commit."""
    tenant, database = acting_operator(owner.workspace_id), people.sandbox.database
    key = people.sandbox.key(tenant).key

    def end() -> None:
        entries: list[RevocationEntry] = []
        database.on_revocations = entries.extend
        try:
            people.sandbox.services.keys.revoke(tenant, key.id)
        finally:
            database.on_revocations = None
        assert [entry.target_id for entry in entries] == [key.id]

    return end


def narrow(people: People, owner: Member) -> Act:
    """Take scopes away."""
    tenant = acting_operator(owner.workspace_id)
    key = people.sandbox.key(tenant, scopes=("documents:read", "documents:write")).key
    patch = KeyPatch(scopes=("documents:read",))
    return lambda: people.sandbox.services.keys.update(tenant, key.id, patch)


def flush(people: People, owner: Member) -> Act:
    """Write down the use of a key."""
    key = people.sandbox.key(acting_operator(owner.workspace_id))
    assert people.sandbox.verdict(key) == "verified"
    return people.sandbox.flush


def suspend(people: People, owner: Member) -> Act:
    """Suspend a workspace."""
    return lambda: people.sandbox.services.workspaces.suspend(owner.workspace_id)


def make_workspace(people: People, owner: Member) -> Act:
    """Create a workspace with its owner."""
    return lambda: people.sandbox.services.workspaces.create("New", owner="Bo")


def invite(people: People, owner: Member) -> Act:
    """Replace an open invitation."""
    email = f"guest.of.{email_of(owner)}"
    people.invitations.invite(acting(owner), email, Role.DEVELOPER)
    return lambda: people.invitations.invite(acting(owner), email, Role.ADMIN)


def accept(people: People, owner: Member) -> Act:
    """Accept an invitation with a password."""
    link, _ = people.invitations.invite(acting(owner), f"new.of.{email_of(owner)}", Role.ADMIN)
    return lambda: people.invitations.accept(link, "Bo", Password(RIGHT))


def appoint(people: People, owner: Member) -> Act:
    """Assign another role."""
    member, members = people.join(owner, Role.DEVELOPER), people.members
    return lambda: members.change_role(acting(owner), member.user.id, Role.ADMIN)


def redeem(people: People, owner: Member) -> Act:
    """Redeem a one-time link for a session."""
    link, _ = people.sign_in.make_link(owner)
    return lambda: people.sign_in.redeem(link)


def sign_in(people: People, owner: Member) -> Act:
    """Sign in by password, after a wrong one."""
    people.give_password(owner)
    email, origin = email_of(owner), people.origin()

    def enter() -> None:
        with pytest.raises(Invalid):
            people.sign_in.with_password(email, Password(WRONG), origin)
        people.sign_in.with_password(email, Password(RIGHT), origin)

    return enter


def guess(people: People, owner: Member) -> Act:
    """Try a wrong password, which is counted."""
    people.give_password(owner)
    email, origin = email_of(owner), people.origin()

    def miss() -> None:
        with pytest.raises(Invalid):
            people.sign_in.with_password(email, Password(WRONG), origin)

    return miss


def reauthenticate(people: People, owner: Member) -> Act:
    """Give the same session a new secret."""
    people.give_password(owner)
    session = people.signed_in(owner)
    return lambda: people.sign_in.reauthenticate(session, Password(RIGHT))


def change_password(people: People, owner: Member) -> Act:
    """Change the password, which ends the other sessions."""
    people.give_password(owner)
    session, new = people.signed_in(owner), Password("seven green kites aloft")
    return lambda: people.accounts.change_password(session, new, Password(RIGHT))


def portal(people: People, owner: Member) -> Act:
    """Create a link for a new user of the product."""
    request = PortalRequest(owner.workspace_id, PortalUser("u1", "Pat"), Role.ADMIN)
    return lambda: people.portal.create(PRODUCT, request)


def push(people: People, owner: Member) -> Act:
    """Put and delete documents."""
    tenant, documents = acting_operator(owner.workspace_id), people.sandbox.services.documents
    documents.create_collection(tenant, CollectionDraft("docs"))
    documents.push(tenant, "docs", Push([DocumentDraft("a", "one"), DocumentDraft("b", "two")]))
    change = Push([DocumentDraft("a", "three"), DocumentDraft("c", "four")], ["b"])
    return lambda: documents.push(tenant, "docs", change)


def delete_collection(people: People, owner: Member) -> Act:
    """Delete a collection with its documents."""
    tenant, documents = acting_operator(owner.workspace_id), people.sandbox.services.documents
    documents.create_collection(tenant, CollectionDraft("docs"))
    documents.put(tenant, "docs", DocumentDraft("a", "one"))
    return lambda: documents.delete_collection(tenant, "docs", with_documents=True)


def hook(people: People, owner: Member) -> Act:
    """Create a webhook, and an event for it."""
    tenant = acting_operator(owner.workspace_id)

    def make() -> None:
        _hook(people, owner)
        people.sandbox.key(tenant)

    return make


def deliver(people: People, owner: Member) -> Act:
    """Claim a delivery as a worker, extend its lease, send and settle it."""
    _hook(people, owner)
    people.sandbox.key(acting_operator(owner.workspace_id))
    deliveries = people.sandbox.services.deliveries

    def work() -> None:
        batches = deliveries.claim(endpoints=500, messages=10)
        (mine,) = [batch for batch in batches if batch.endpoint.workspace_id == owner.workspace_id]
        assert deliveries.extend([mine]) == {mine.queue}
        deliveries.settle(_sent(mine, 200), [mine])

    return work


def disable(people: People, owner: Member) -> Act:
    """Settle a delivery after which its endpoint is disabled."""
    _hook(people, owner)
    people.sandbox.key(acting_operator(owner.workspace_id))
    deliveries = people.sandbox.services.deliveries
    batches = deliveries.claim(endpoints=500, messages=10)
    (mine,) = [batch for batch in batches if batch.endpoint.workspace_id == owner.workspace_id]
    return lambda: deliveries.settle(_sent(mine, 410), [mine])


def try_out(people: People, owner: Member) -> Act:
    """Test a webhook, and send the delivery again: both count towards a rate limit."""
    webhook = _hook(people, owner)
    tenant, webhooks = acting_operator(owner.workspace_id), people.sandbox.services.webhooks

    def send() -> None:
        webhooks.redeliver(tenant, webhooks.test(tenant, webhook.endpoint.id).id)

    return send


def watch(people: People, owner: Member) -> Act:
    """Record that a key will expire soon."""
    ends = (people.clock.now() + timedelta(days=1)).replace(microsecond=0)
    people.sandbox.key(acting_operator(owner.workspace_id), expires_at=ends)
    look = KeyLifecycle(people.sandbox.database, people.clock).run
    look()
    people.sandbox.key(acting_operator(owner.workspace_id), expires_at=ends)

    def report() -> None:
        assert look() >= 1

    return report


def plan(people: People, owner: Member) -> Act:
    """Replace all plans."""
    return lambda: people.sandbox.services.plans.apply(DEFAULT_PLANS)


def _hook(people: People, owner: Member) -> CreatedWebhook:
    draft = WebhookDraft("CRM", "https://example.com/hooks", ("*",))
    return people.sandbox.services.webhooks.create(acting_operator(owner.workspace_id), draft)


def _sent(batch: Batch, status: int) -> list[Sent]:
    attempt = Attempt(NOON, status, None, 1)
    return [Sent(message.delivery, Outcome(attempt)) for message in batch.messages]


SHORT = [create, revoke, flush, guess]
LONG = [
    create_once,
    rotate,
    narrow,
    suspend,
    make_workspace,
    invite,
    accept,
    appoint,
    redeem,
    sign_in,
    reauthenticate,
    change_password,
    portal,
    push,
    delete_collection,
    hook,
    deliver,
    disable,
    try_out,
    watch,
    plan,
]


@pytest.mark.parametrize("scene", SHORT, ids=lambda scene: scene.__name__)
def test_whichever_step_collides(people: People, look: Look, scene: Scene) -> None:
    """If the n-th statement or commit of an act conflicts, the act succeeds, for all n, with the effects of one."""
    collide_at_each_step(people, look, scene)


@pytest.mark.prove
@pytest.mark.parametrize("scene", LONG, ids=lambda scene: scene.__name__)
def test_whichever_step_of_any_act_collides(people: People, look: Look, scene: Scene) -> None:
    """The guarantee holds for all other acts."""
    collide_at_each_step(people, look, scene)


def collide_at_each_step(people: People, look: Look, scene: Scene) -> None:
    """Run the act without conflicts, then with each of its steps conflicting in turn."""
    act = _set_up(people, scene)
    before = look.counted()
    act()
    wanted = _added(before, look.counted())
    fired = 0
    saboteur = Failing(people.sandbox, Fault.COLLIDED)
    with sabotage(saboteur):
        for number in range(1, MOST):
            act = _set_up(people, scene)
            before = look.counted()
            with saboteur.at(number):
                act()
            assert _added(before, look.counted()) == wanted, f"at step {number}"
            assert people.sandbox.database.pool.in_use == 0
            if not saboteur.fired:
                break
            fired += 1
    assert 3 <= fired < MOST - 1


def _set_up(people: People, scene: Scene) -> Act:
    people.sandbox.flush()
    return scene(people, people.owner())


def _added(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}
