"""Events: one for each act, in the act's own transaction, in an order without gaps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from keystead.domain.errors import InsufficientScope, KeysteadError
from keystead.domain.events import EventType
from keystead.domain.keys import KeyDraft, KeyPatch
from tests.installations import Ground

HOUR = timedelta(hours=1)


def test_no_gaps(ground: Ground) -> None:
    """Under 16 threads and two servers a workspace's events are numbered 1, 2, 3 …, refused acts leaving no gap."""
    tenant = ground.tenant(limit=5)
    servers = [ground.services, ground.another().services]

    def act(number: int) -> None:
        try:
            made = servers[number % 2].keys.create(tenant, KeyDraft("sync"))
            servers[(number + 1) % 2].keys.rotate(tenant, made.key.id, overlap=HOUR)
            servers[number % 2].keys.revoke(tenant, made.key.id)
        except KeysteadError as refused:
            assert refused.code == "limit-reached"  # noqa: PT017

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(act, range(32)))
    events = ground.events(tenant)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert len({event.id for event in events}) == len(events)
    assert ground.happened(tenant).count("key.created") == 5


def test_one_act_one_event(ground: Ground) -> None:
    """Each act on a key is one event of its type, in the order in which they happened (R89)."""
    tenant = ground.tenant()
    keys = ground.services.keys
    old = ground.key(tenant).key
    keys.update(tenant, old.id, KeyPatch("other"))
    new = keys.rotate(tenant, old.id).key
    keys.revoke(tenant, new.id)
    acts = [(str(e.type), e.target.id) for e in ground.events(tenant) if e.target.type == "key"]
    assert acts == [
        ("key.created", old.id),
        ("key.updated", old.id),
        ("key.rotated", old.id),
        ("key.revoked", new.id),
    ]


def test_pages_newest_first(ground: Ground) -> None:
    """Events are listed newest first, page by page, each once, also while new ones arrive."""
    tenant = ground.tenant()
    for number in range(9):
        ground.key(tenant, f"key {number}")
    expected = [event.sequence for event in reversed(ground.events(tenant))]
    seen: list[int] = []
    before = None
    while not seen or before is not None:
        page = ground.services.events.list(tenant, limit=4, before=before)
        seen, before = seen + [event.sequence for event in page.items], page.next
        ground.key(tenant, "later")
    assert seen == expected


def test_by_type(ground: Ground) -> None:
    """Events can be filtered by one type, by several, or not at all."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    ground.services.keys.revoke(tenant, created.key.id)

    def types(*asked: EventType) -> list[str]:
        return [str(e.type) for e in ground.services.events.list(tenant, types=asked).items]

    assert types(EventType.KEY_REVOKED) == ["key.revoked"]
    assert types(EventType.KEY_CREATED, EventType.KEY_REVOKED) == ["key.revoked", "key.created"]
    assert types(EventType.KEY_ROTATED) == []
    assert types() == ["key.revoked", "key.created", *types()[2:]]


def test_by_target(ground: Ground) -> None:
    """Events can be asked for by what they are about: one key's own, page by page, and no neighbour's."""
    tenant, neighbour = ground.tenant(), ground.tenant()
    one, other = ground.key(tenant).key, ground.key(tenant).key
    keys = ground.services.keys
    for number in range(5):
        keys.update(tenant, one.id, KeyPatch(f"name {number}"))
        keys.update(tenant, other.id, KeyPatch(f"name {number}"))
    keys.revoke(tenant, one.id)
    page = ground.services.events.list(tenant, target_id=one.id, limit=4)
    rest = ground.services.events.list(tenant, target_id=one.id, limit=4, before=page.next)
    assert {e.target.id for e in page.items + rest.items} == {one.id}
    assert [str(e.type) for e in page.items + rest.items] == [
        "key.revoked",
        *["key.updated"] * 5,
        "key.created",
    ]
    assert rest.next is None
    updated = ground.services.events.list(
        tenant, target_id=one.id, types=[EventType.KEY_UPDATED], limit=2
    )
    assert [e.data["description"] for e in updated.items] == ["name 4", "name 3"]
    assert ground.services.events.list(neighbour, target_id=one.id).items == []


def test_a_workspaces_own(ground: Ground) -> None:
    """Another workspace's events are not to be seen, and leave no gap in one's own (R49)."""
    tenant, other = ground.tenant(), ground.tenant()
    for who in (tenant, other, tenant, other):
        ground.key(who)
    assert {event.workspace_id for event in ground.events(tenant)} == {tenant.workspace_id}
    assert [event.sequence for event in ground.events(tenant)] == [1, 2, 3]


def test_reading_needs_a_scope(ground: Ground) -> None:
    """Reading events takes `events:read`."""
    tenant = ground.tenant()
    assert ground.services.events.list(ground.caller(tenant, "events:read")).items
    with pytest.raises(InsufficientScope):
        ground.services.events.list(ground.caller(tenant, "keys:read"))


def test_what_failed_did_not_happen(ground: Ground) -> None:
    """An act that is undone on its way leaves neither its change nor its event: both or none are committed."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    before = ground.events(tenant)

    def undo() -> None:
        with ground.database.write(tenant.workspace_id) as tx:
            tx.exec_driver_sql("UPDATE workspaces SET last_event = last_event + 1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        undo()
    assert ground.events(tenant) == before
    ground.services.keys.revoke(tenant, created.key.id)
    assert ground.events(tenant)[-1].sequence == before[-1].sequence + 1
