"""Events: one for each act, in the act's own transaction, in an order without gaps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from keystead.domain.errors import InsufficientScope, KeysteadError
from keystead.domain.events import EventType
from keystead.domain.keys import KeyDraft, KeyPatch
from tests.support.installations import SandboxInstallation

HOUR = timedelta(hours=1)


def test_no_gaps(sandbox: SandboxInstallation) -> None:
    """Under 16 threads and two servers a workspace's events are numbered 1, 2, 3 …, refused acts leaving no gap."""
    tenant = sandbox.tenant(limit=5)
    servers = [sandbox.services, sandbox.another().services]

    def act(number: int) -> None:
        try:
            created = servers[number % 2].keys.create(tenant, KeyDraft("sync"))
            servers[(number + 1) % 2].rotations.rotate(tenant, created.key.id, overlap=HOUR)
            servers[number % 2].keys.revoke(tenant, created.key.id)
        except KeysteadError as refused:
            assert refused.code == "limit-reached"  # noqa: PT017

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(act, range(32)))
    events = sandbox.events(tenant)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert len({event.id for event in events}) == len(events)
    assert sandbox.happened(tenant).count("key.created") == 5


def test_one_act_one_event(sandbox: SandboxInstallation) -> None:
    """Each act on a key is one event of its type, in the order in which they happened (R89)."""
    tenant = sandbox.tenant()
    keys = sandbox.services.keys
    old = sandbox.key(tenant).key
    keys.update(tenant, old.id, KeyPatch("other"))
    new = sandbox.services.rotations.rotate(tenant, old.id).key
    keys.revoke(tenant, new.id)
    acts = [(str(e.type), e.target.id) for e in sandbox.events(tenant) if e.target.type == "key"]
    assert acts == [
        ("key.created", old.id),
        ("key.updated", old.id),
        ("key.rotated", old.id),
        ("key.revoked", new.id),
    ]


def test_pages_newest_first(sandbox: SandboxInstallation) -> None:
    """Events are listed newest first, page by page, each once, also while new ones arrive."""
    tenant = sandbox.tenant()
    for number in range(9):
        sandbox.key(tenant, f"key {number}")
    expected = [event.sequence for event in reversed(sandbox.events(tenant))]
    seen: list[int] = []
    before = None
    while not seen or before is not None:
        page = sandbox.services.events.list(tenant, limit=4, before=before)
        seen, before = seen + [event.sequence for event in page.items], page.next
        sandbox.key(tenant, "later")
    assert seen == expected


def test_by_type(sandbox: SandboxInstallation) -> None:
    """Events can be filtered by one type, by several, or not at all."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, created.key.id)

    def types(*chosen: EventType) -> list[str]:
        return [str(e.type) for e in sandbox.services.events.list(tenant, types=chosen).items]

    assert types(EventType.KEY_REVOKED) == ["key.revoked"]
    assert types(EventType.KEY_CREATED, EventType.KEY_REVOKED) == ["key.revoked", "key.created"]
    assert types(EventType.KEY_ROTATED) == []
    assert types() == ["key.revoked", "key.created", *types()[2:]]


def test_by_target(sandbox: SandboxInstallation) -> None:
    """Events can be filtered by their target: one key's own, page by page, and no neighbour's."""
    tenant, neighbour = sandbox.tenant(), sandbox.tenant()
    one, other = sandbox.key(tenant).key, sandbox.key(tenant).key
    keys = sandbox.services.keys
    for number in range(5):
        keys.update(tenant, one.id, KeyPatch(f"name {number}"))
        keys.update(tenant, other.id, KeyPatch(f"name {number}"))
    keys.revoke(tenant, one.id)
    page = sandbox.services.events.list(tenant, target_id=one.id, limit=4)
    rest = sandbox.services.events.list(tenant, target_id=one.id, limit=4, before=page.next)
    assert {e.target.id for e in page.items + rest.items} == {one.id}
    assert [str(e.type) for e in page.items + rest.items] == [
        "key.revoked",
        *["key.updated"] * 5,
        "key.created",
    ]
    assert rest.next is None
    updated = sandbox.services.events.list(
        tenant, target_id=one.id, types=[EventType.KEY_UPDATED], limit=2
    )
    assert [e.data["description"] for e in updated.items] == ["name 4", "name 3"]
    assert sandbox.services.events.list(neighbour, target_id=one.id).items == []


def test_a_workspaces_own(sandbox: SandboxInstallation) -> None:
    """Another workspace's events are not visible, and leave no gap in one's own (R49)."""
    tenant, other = sandbox.tenant(), sandbox.tenant()
    for who in (tenant, other, tenant, other):
        sandbox.key(who)
    assert {event.workspace_id for event in sandbox.events(tenant)} == {tenant.workspace_id}
    assert [event.sequence for event in sandbox.events(tenant)] == [1, 2, 3]


def test_reading_needs_a_scope(sandbox: SandboxInstallation) -> None:
    """Reading events requires `events:read`."""
    tenant = sandbox.tenant()
    assert sandbox.services.events.list(sandbox.caller(tenant, "events:read")).items
    with pytest.raises(InsufficientScope):
        sandbox.services.events.list(sandbox.caller(tenant, "keys:read"))


def test_what_failed_did_not_happen(sandbox: SandboxInstallation) -> None:
    """An act that is rolled back leaves neither its change nor its event: both or none are committed."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    before = sandbox.events(tenant)

    def undo() -> None:
        with sandbox.database.write(tenant.workspace_id) as tx:
            tx.exec_driver_sql("UPDATE workspaces SET last_event = last_event + 1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        undo()
    assert sandbox.events(tenant) == before
    sandbox.services.keys.revoke(tenant, created.key.id)
    assert sandbox.events(tenant)[-1].sequence == before[-1].sequence + 1
