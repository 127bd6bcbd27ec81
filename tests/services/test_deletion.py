"""The end of a workspace: hidden with one request, purged in batches, and only its tombstone stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event, select, text, update

from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.errors import Invalid, LimitReached, NotFound, NotSuspended
from keystead.domain.ids import WorkspaceId
from keystead.domain.keys import KeyDraft
from keystead.domain.passwords import Password
from keystead.domain.portal import PortalRequest, PortalUser
from keystead.domain.verification import DenialReason
from keystead.domain.webhooks import WebhookDraft
from keystead.domain.workspaces import Role
from keystead.services.deletion import BATCH
from keystead.services.first_uses import FirstUses
from keystead.services.key_lifecycle import KeyLifecycle
from keystead.storage.database import Tx
from keystead.storage.schema import tables as schema
from keystead.storage.tables import deletion
from keystead.storage.tables.deletion import TEXT_AT_ONCE
from tests.support.administrator import read_behind, write_behind
from tests.support.installations import SandboxInstallation
from tests.support.people import PRODUCT, WRONG, People, acting, acting_operator, email_of
from tests.support.row_security import as_owner
from tests.support.tenant_rows import OURS, THEIRS, fill

DAY = timedelta(days=1)
PORTAL_USER = PortalUser("u1", "Pat", None)
STAYS = {
    "deleted_workspaces": "the tombstone",
    "installation_events": "the operator's act, in the installation's own log",
}
"""The tables that may name a deleted workspace, each with the reason."""


def contents(sandbox: SandboxInstallation) -> dict[str, list[str]]:
    """Return every row of every table, as text."""
    with read_behind(sandbox.database) as tx:
        return {
            table.name: sorted(repr(tuple(row)) for row in _rows(tx, table))
            for table in schema.metadata.sorted_tables
        }


def _rows(tx: Connection, table: Any) -> list[Any]:
    # Without the columns' types: generated values need not be JSON.
    return list(tx.execute(text(f"SELECT * FROM {table.name}")).all())


def suspend_and_delete(sandbox: SandboxInstallation, workspace_id: WorkspaceId) -> None:
    """Delete a workspace as an operator does, without the purge."""
    sandbox.services.workspaces.suspend(workspace_id)
    sandbox.services.deletion.delete(workspace_id)


def test_no_table_has_a_row_of_it(own_sandbox: SandboxInstallation) -> None:
    """A workspace with a row in every table of the schema leaves only its tombstone; others' rows do not change."""
    fill(own_sandbox.database)
    with write_behind(own_sandbox.database) as tx:
        tx.execute(update(schema.workspaces).values(suspended_at=own_sandbox.clock.now()))
    before = contents(own_sandbox)
    for table in schema.metadata.sorted_tables:
        if "workspace_id" in table.c:
            assert any(OURS in row for row in before[table.name]), table.name
    own_sandbox.services.deletion.delete(OURS)
    assert own_sandbox.services.deletion.purge() == 1
    after = contents(own_sandbox)
    for name, rows in after.items():
        assert [row for row in rows if THEIRS in row] == [r for r in before[name] if THEIRS in r]
        if name not in STAYS:
            assert not [row for row in rows if OURS in row], name
    assert len(after["deleted_workspaces"]) == 1
    assert own_sandbox.services.deletion.purge() == 0


def test_a_digest_that_is_being_sent_stops(own_sandbox: SandboxInstallation) -> None:
    """A worker that is sending emails loses its lease to the deletion: it sends no further one."""
    services, people = own_sandbox.services, People(own_sandbox)
    ada = people.owner()
    tenant = acting_operator(ada.workspace_id)
    own_sandbox.limit(tenant, 0)
    with pytest.raises(LimitReached):
        own_sandbox.key(tenant)
    own_sandbox.clock.advance(hours=1)
    [digest] = services.notification_digests.claim()
    [email] = digest.emails
    suspend_and_delete(own_sandbox, ada.workspace_id)
    assert services.notification_digests.note(digest, email) is False
    services.notification_digests.settle(digest)
    services.deletion.purge()
    assert own_sandbox.count(schema.digest_emails) == 0


def test_a_first_use_that_the_deletion_overtakes_is_refused(
    own_sandbox: SandboxInstallation,
) -> None:
    """A renewed key that was read before the deletion gets its 401, not an error about the workspace."""
    tenant = own_sandbox.tenant()
    created = own_sandbox.key(tenant)
    suspend_and_delete(own_sandbox, tenant.workspace_id)
    first_uses = FirstUses(own_sandbox.database, own_sandbox.clock, timedelta())
    assert first_uses.commit(tenant, created.key.id) is False


def test_only_a_suspended_workspace_is_deleted(own_sandbox: SandboxInstallation) -> None:
    """Deleting takes two steps, and an operator may repeat the second: it is recorded once."""
    services = own_sandbox.services
    tenant = own_sandbox.tenant()
    with pytest.raises(NotFound):
        services.deletion.delete(WorkspaceId("ws_0000000000000000000000"))
    with pytest.raises(NotSuspended):
        services.deletion.delete(tenant.workspace_id)
    assert services.workspaces.get(tenant.workspace_id).id == tenant.workspace_id
    suspend_and_delete(own_sandbox, tenant.workspace_id)
    services.deletion.delete(tenant.workspace_id)
    services.deletion.purge()
    services.deletion.delete(tenant.workspace_id)
    [record] = services.events.of_installation().items
    assert (record.type, record.target.id) == ("workspace.deleted", tenant.workspace_id)
    assert own_sandbox.count(schema.deleted_workspaces) == 1


def test_every_way_in_is_closed_before_the_purge(own_sandbox: SandboxInstallation) -> None:
    """From the deletion on: keys and links are refused, sessions see no workspace, and nothing is sent."""
    services, people = own_sandbox.services, People(own_sandbox)
    ada = people.owner()
    id, tenant = ada.workspace_id, acting_operator(ada.workspace_id)
    key = own_sandbox.key(tenant)
    session = people.give_password(ada)
    link, _ = people.sign_in.make_link(ada)
    portal_link, _ = people.portal.create(PRODUCT, PortalRequest(id, PORTAL_USER, Role.ADMIN))
    invitation, _ = people.invitations.invite(acting(ada), "bo@example.com", Role.VIEWER)
    services.webhooks.create(tenant, WebhookDraft("CRM", "https://example.com/", ["*"]))
    own_sandbox.key(tenant, "makes a delivery and a digest due")
    assert own_sandbox.verdict(key) == "verified"
    suspend_and_delete(own_sandbox, id)
    assert own_sandbox.verdict(key) == DenialReason.SUSPENDED
    for secret in (link, portal_link):
        with pytest.raises(Invalid):
            people.sign_in.redeem(secret)
    assert people.sign_in.memberships(session) == []
    visitor = people.sign_in.visitor(session)
    assert visitor is not None
    assert not visitor.workspaces
    with pytest.raises(NotFound):
        people.sign_in.member(session, id)
    for use in (people.invitations.find, lambda link: people.invitations.accept(link, "Bo")):
        with pytest.raises(Invalid):
            use(invitation)
    refused: list[Callable[[], object]] = [
        lambda: services.workspaces.get(id),
        lambda: services.workspaces.resume(id),
        lambda: services.workspaces.suspend(id),
        lambda: services.workspaces.owner(id),
        lambda: services.workspaces.named(id),
        lambda: services.workspaces.rename(tenant, "Revived"),
        lambda: services.workspaces.set_plan(id, "free"),
        lambda: services.plans.of_workspace(id),
        lambda: services.keys.create(tenant, KeyDraft("late")),
        lambda: people.portal.create(PRODUCT, PortalRequest(id, PORTAL_USER, Role.ADMIN)),
    ]
    for call in refused:
        with pytest.raises(NotFound):
            call()
    assert id not in {each.id for each in services.workspaces.list().items}
    own_sandbox.clock.advance(days=2)
    assert services.deliveries.claim(endpoints=10, messages=10) == []
    assert services.notification_digests.claim() == []


def test_workers_that_are_at_it_skip_what_is_gone(own_sandbox: SandboxInstallation) -> None:
    """Uses, deliveries, digests and scans that began before the deletion end without an error, and leave no row."""
    services = own_sandbox.services
    tenant, neighbor = own_sandbox.tenant(), own_sandbox.tenant()
    key, other = own_sandbox.key(tenant), own_sandbox.key(neighbor)
    services.webhooks.create(tenant, WebhookDraft("CRM", "https://example.com/", ["*"]))
    services.documents.create_collection(tenant, CollectionDraft("handbook"))
    expires_at = own_sandbox.clock.now().replace(microsecond=0) + DAY
    own_sandbox.key(tenant, "expires", expires_at=expires_at)
    failures: list[object] = []
    lifecycle = KeyLifecycle(own_sandbox.database, own_sandbox.clock, failures.append)
    lifecycle.run()
    batches = services.deliveries.claim(endpoints=10, messages=10)
    assert batches
    own_sandbox.verify(key)
    own_sandbox.verify(other)
    suspend_and_delete(own_sandbox, tenant.workspace_id)
    own_sandbox.verify(key)
    assert services.deliveries.extend(batches) == set()
    services.deliveries.settle([], batches)
    services.deliveries.finish_deletions()
    services.documents.finish_deletions()
    own_sandbox.clock.advance(days=2)
    lifecycle.run()
    assert failures == []
    services.deletion.purge()
    own_sandbox.verify(key)
    own_sandbox.flush()
    with read_behind(own_sandbox.database) as tx:
        used = set(tx.execute(select(schema.key_use.c.key_id)).scalars())
    assert used == {other.key.id}
    services.deletion.purge()
    assert own_sandbox.count(schema.workspaces) == 1


def test_people_without_another_membership_go(own_sandbox: SandboxInstallation) -> None:
    """Users of this workspace alone go with sessions, devices and counts; a member of another keeps all of it."""
    services, people = own_sandbox.services, People(own_sandbox)
    ada, zoe = people.owner(), people.owner("Zoe")
    bo = people.join(ada, Role.ADMIN)
    bo_session = people.give_password(bo)
    people.give_password(ada)
    with pytest.raises(Invalid):
        people.sign_in.with_password(email_of(ada), Password(WRONG), people.origin())
    with pytest.raises(Invalid):
        services.device_logins.look_up("WXYZ-0000", ada.user.id, people.origin())
    people.portal_session(ada)
    # Bo joins Zoe's workspace, and Ada was there once: her invitation there names her.
    for session in (bo_session, people.signed_in(ada)):
        link, _ = people.invitations.invite(acting(zoe), "any@example.com", Role.VIEWER)
        people.invitations.join(link, session)
    people.members.remove(acting(zoe), ada.user.id)
    suspend_and_delete(own_sandbox, ada.workspace_id)
    services.deletion.purge()
    with read_behind(own_sandbox.database) as tx:
        users = set(tx.execute(select(schema.users.c.id)).scalars())
        owners = set(tx.execute(select(schema.sessions.c.user_id)).scalars())
        devices = set(tx.execute(select(schema.known_devices.c.user_id)).scalars())
        subjects = list(tx.execute(select(schema.throttles.c.subject)).scalars())
    assert users == {bo.user.id, zoe.user.id}
    assert owners == devices == {bo.user.id}
    kept = ("address:", "code:address:", "new password:usr")
    assert all(subject.startswith(kept) for subject in subjects)
    assert not [subject for subject in subjects if ada.user.id in subject]
    assert [m.workspace_id for m in people.sign_in.memberships(bo_session)] == [zoe.workspace_id]


@contextmanager
def deletions(sandbox: SandboxInstallation) -> Iterator[list[int]]:
    """Count the rows that each transaction deletes."""
    counts = [0]

    def count(_: Any, cursor: Any, statement: str, *__: Any) -> None:
        if statement.startswith("DELETE"):
            counts[-1] += max(cursor.rowcount, 0)

    def end(_: Any) -> None:
        counts.append(0)

    event.listen(sandbox.database.engine, "after_cursor_execute", count)
    event.listen(sandbox.database.engine, "commit", end)
    try:
        yield counts
    finally:
        event.remove(sandbox.database.engine, "after_cursor_execute", count)
        event.remove(sandbox.database.engine, "commit", end)


def furnish(sandbox: SandboxInstallation, workspace_id: WorkspaceId, documents: int) -> None:
    """Give a workspace so many documents."""
    tenant = acting_operator(workspace_id)
    sandbox.services.documents.create_collection(tenant, CollectionDraft("handbook"))
    for start in range(0, documents, 1000):
        drafts = [
            DocumentDraft(str(number), f"page {number}")
            for number in range(start, min(start + 1000, documents))
        ]
        sandbox.services.documents.push(tenant, "handbook", Push(drafts))


def test_batches_are_small(own_sandbox: SandboxInstallation) -> None:
    """No transaction deletes more than a batch, so another tenant's change waits for one batch at most."""
    tenant = own_sandbox.tenant()
    furnish(own_sandbox, tenant.workspace_id, 150)
    for number in range(70):
        created = own_sandbox.key(tenant, f"key {number}")
        if number % 10 == 0:
            own_sandbox.services.rotations.rotate(tenant, created.key.id)
    with write_behind(own_sandbox.database) as tx:
        # A clock that was set back: the successor is older than its predecessor.
        keys = select(schema.api_keys.c.id).order_by(schema.api_keys.c.id)
        first, *_, last = tx.execute(keys).scalars()
        by_id = schema.api_keys.c.id == last
        tx.execute(update(schema.api_keys).where(by_id).values(rotated_to=first))
        [row] = tx.execute(
            select(schema.events).where(
                schema.events.c.workspace_id == tenant.workspace_id, schema.events.c.sequence == 1
            )
        ).mappings()
        copies = [{**row, "sequence": n, "id": f"evt_{n}"} for n in range(1000, 2200)]
        tx.execute(schema.events.insert(), copies)
    suspend_and_delete(own_sandbox, tenant.workspace_id)
    with deletions(own_sandbox) as counts:
        own_sandbox.services.deletion.purge()
    assert sum(counts) > 1200 + 150 + 70
    assert max(counts) <= BATCH
    assert own_sandbox.count(schema.documents) == own_sandbox.count(schema.workspaces) == 0


def test_large_documents_go_one_by_one(own_sandbox: SandboxInstallation) -> None:
    """A transaction deletes as much text as one document may have: its words take time to leave the index."""
    tenant = own_sandbox.tenant()
    own_sandbox.services.documents.create_collection(tenant, CollectionDraft("handbook"))
    for number in range(5):
        draft = DocumentDraft(str(number), "word " * (TEXT_AT_ONCE // 5))
        own_sandbox.services.documents.put(tenant, "handbook", draft)
    suspend_and_delete(own_sandbox, tenant.workspace_id)
    texts = [own_sandbox.count(schema.documents)]

    def note(_: Any) -> None:
        texts.append(own_sandbox.count(schema.documents))

    event.listen(own_sandbox.database.engine, "commit", note)
    own_sandbox.services.deletion.purge()
    event.remove(own_sandbox.database.engine, "commit", note)
    assert max(before - after for before, after in pairwise(texts)) == 1
    assert own_sandbox.count(schema.documents) == 0


def test_a_purge_goes_on_after_any_of_its_batches(own_sandbox: SandboxInstallation) -> None:
    """Broken off before any commit, the purge is finished by the next run, here on another server."""
    people = People(own_sandbox)
    ada, zoe = people.owner(), people.owner("Zoe")
    tenant = acting_operator(ada.workspace_id)
    furnish(own_sandbox, ada.workspace_id, 60)
    for number in range(3):
        own_sandbox.verify(own_sandbox.key(tenant, f"key {number}"))
    own_sandbox.flush()
    suspend_and_delete(own_sandbox, ada.workspace_id)
    broken_off = 0
    while own_sandbox.count(schema.workspaces) > 1:
        with broken(own_sandbox, after=broken_off):
            own_sandbox.services.deletion.purge()
        own_sandbox.clock.advance(days=1)
        broken_off += 1
        assert broken_off < 60
    assert broken_off > 3
    assert own_sandbox.count(schema.documents) == own_sandbox.count(schema.api_keys) == 0
    assert people.stands(people.signed_in(zoe))


def test_a_purge_leaves_a_workspace_to_the_server_that_is_at_it(
    own_sandbox: SandboxInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another server has a batch, a run does nothing, and isn't postponed. SQLite has a single writer."""
    if own_sandbox.database.is_sqlite:
        return
    tenant, try_lock = own_sandbox.tenant(), deletion.try_lock
    furnish(own_sandbox, tenant.workspace_id, 3)
    suspend_and_delete(own_sandbox, tenant.workspace_id)
    with psycopg.connect(as_owner(own_sandbox.url), autocommit=True) as other:

        def lose_once(tx: Tx, workspace_id: WorkspaceId) -> bool:
            locked = try_lock(tx, workspace_id)
            other.execute("SELECT pg_advisory_unlock_all()")
            return locked

        monkeypatch.setattr(deletion, "try_lock", lose_once)
        other.execute("SELECT pg_advisory_lock(hashtext(%s))", [tenant.workspace_id])
        own_sandbox.services.deletion.purge()
        assert own_sandbox.count(schema.documents) == 3
        own_sandbox.services.deletion.purge()
    assert own_sandbox.count(schema.documents) == own_sandbox.count(schema.workspaces) == 0


@contextmanager
def broken(sandbox: SandboxInstallation, after: int) -> Iterator[None]:
    """Break every commit after so many."""
    commits = 0

    def fail(_: Any) -> None:
        nonlocal commits
        commits += 1
        if commits > after:
            raise RuntimeError("broken off")

    event.listen(sandbox.database.engine, "commit", fail)
    try:
        yield
    finally:
        event.remove(sandbox.database.engine, "commit", fail)


def test_the_products_own_id_is_free_again(own_sandbox: SandboxInstallation) -> None:
    """The external id belongs to another workspace from the deletion on; the tombstone keeps it."""
    workspaces = own_sandbox.services.workspaces
    first, created = workspaces.put("customer-7", "Acme")
    assert created
    suspend_and_delete(own_sandbox, first.id)
    second, created = workspaces.put("customer-7", "Acme")
    assert created
    assert second.id != first.id
    own_sandbox.services.deletion.purge()
    assert workspaces.by_external_id("customer-7").id == second.id
    with read_behind(own_sandbox.database) as tx:
        [tombstone] = tx.execute(select(schema.deleted_workspaces))
    assert (tombstone.id, tombstone.external_id) == (first.id, "customer-7")
