"""The feed: all events once, in one order that never changes, however writers and servers overlap."""

from __future__ import annotations

import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from keystead.domain.credentials import CredentialKind
from keystead.domain.errors import FeedExpired
from keystead.domain.events import Act, EventType, RetentionPolicy, Target
from keystead.domain.feed import FeedEvent
from keystead.domain.instants import to_microseconds
from keystead.domain.principals import Actor, Principal, PrincipalKind
from keystead.services import feed as service
from keystead.services.cleanup import Retention
from keystead.services.feed import Feed
from keystead.storage.database import Tx
from keystead.storage.schema import tables as schema
from keystead.storage.tables.events import append_event
from tests.support.administrator import read_behind, write_behind
from tests.support.installations import SandboxInstallation, sqlite_file

DAY = timedelta(days=1)
BY = Actor(PrincipalKind.OPERATOR, "tests", "tests")


def _read(feed: Feed, after: int | None = None, limit: int = 7) -> list[str]:
    """Return the ids of all events behind a position, read page by page."""
    ids: list[str] = []
    while True:
        page = feed.read(after, limit=limit)
        if not page.items:
            assert after is None or page.next_after >= after
            return ids
        ids += [event.id for event in page.items]
        after = page.next_after


def _stored(sandbox: SandboxInstallation) -> set[str]:
    tables = (schema.events, schema.installation_events)
    with read_behind(sandbox.database) as tx:
        return {id for table in tables for id in tx.scalars(select(table.c.id))}


def _append(sandbox: SandboxInstallation, tx: Tx, tenant: Principal) -> str:
    act = Act(BY, sandbox.clock.now())
    target = Target("workspace", tenant.workspace_id)
    return append_event(tx, tenant.workspace_id, EventType.WORKSPACE_UPDATED, act, target).id


@contextmanager
def _slow_change(sandbox: SandboxInstallation, tenant: Principal) -> Iterator[str]:
    """Append an event in a transaction that commits at the end of the block. Yields the event's id."""
    with sandbox.database.write(tenant.workspace_id) as tx:
        yield _append(sandbox, tx, tenant)


def test_every_event_is_in_the_feed_once(own_sandbox: SandboxInstallation) -> None:
    """Events of all workspaces and of the installation have one order, by time, and keep it when others follow."""
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    one, other = sandbox.tenant(), sandbox.tenant()
    for tenant in (one, other, one):
        sandbox.clock.advance(seconds=1)
        sandbox.key(tenant)
    sandbox.services.credentials.create("backend", BY, CredentialKind.OPERATOR)
    assert feed.read().items == []
    assert feed.place() == len(_stored(sandbox))
    first = _read(feed)
    assert set(first) == _stored(sandbox)
    assert len(first) == len(set(first))
    items = feed.read(limit=200).items
    assert [event.occurred_at for event in items] == sorted(event.occurred_at for event in items)
    sandbox.key(other)
    assert feed.place() == 1
    assert _read(feed)[:-1] == first
    assert feed.place() == 0


# SQLite has one writer: no transaction commits while another is open.
@pytest.mark.parametrize("own_sandbox", ["postgresql"], indirect=True)
def test_an_event_that_commits_late_is_not_skipped(own_sandbox: SandboxInstallation) -> None:
    """A transaction that is open while later ones commit gets a position behind theirs, and its reader sees it."""
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    slow, fast = sandbox.tenant(), sandbox.tenant()
    feed.place()
    after = feed.read(limit=200).next_after
    with _slow_change(sandbox, slow) as late:
        sandbox.clock.advance(seconds=3)
        early = sandbox.key(fast).key.id
        feed.place()
        page = feed.read(after)
        assert [event.target.id for event in page.items] == [early]
    feed.place()
    [event] = feed.read(page.next_after).items
    assert event.id == late
    assert event.occurred_at < page.items[0].occurred_at


def test_an_event_that_is_rolled_back_leaves_no_trace(own_sandbox: SandboxInstallation) -> None:
    """A change that fails has no event in the feed, and the next change of the workspace has."""
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    tenant = sandbox.tenant()
    with pytest.raises(RuntimeError), _slow_change(sandbox, tenant) as failed:
        raise RuntimeError
    sandbox.key(tenant)
    feed.place()
    ids = _read(feed)
    assert failed not in ids
    assert set(ids) == _stored(sandbox)


def _follow(feed: Feed, done: threading.Event) -> list[FeedEvent]:
    """Read the feed until nothing is new after `done`. Returns what came, in order."""
    found: list[FeedEvent] = []
    after, is_last = None, False
    while True:
        is_last = done.is_set()
        page = feed.read(after, limit=3)
        after = page.next_after
        found += page.items
        if is_last and not page.items:
            return found


def test_nothing_is_skipped_or_repeated_under_load(own_sandbox: SandboxInstallation) -> None:
    """While eight writers commit at random times and three servers place events, a reader gets each event once.

    Each workspace's events come in their order, and a second reader gets the same order as the first.
    """
    sandbox = own_sandbox
    tenants = [sandbox.tenant() for _ in range(6)]
    feeds = [sandbox.services.feed, *(sandbox.another().services.feed for _ in range(2))]
    done, dice = threading.Event(), random.Random(7)
    delays = [dice.random() / 50 for _ in range(160)]

    def write(number: int) -> str:
        tenant = tenants[number % len(tenants)]
        with _slow_change(sandbox, tenant) as id:
            threading.Event().wait(delays[number])
            return id

    def place(feed: Feed) -> None:
        while not done.is_set():
            feed.place()

    with ThreadPoolExecutor(12) as pool:
        placers = [pool.submit(place, feed) for feed in feeds]
        reader = pool.submit(_follow, feeds[0], done)
        written = {*pool.map(write, range(len(delays)))}
        feeds[1].place()
        done.set()
        for placer in placers:
            placer.result()
        found = reader.result()
    assert written <= _stored(sandbox)
    assert {event.id for event in found} == _stored(sandbox)
    assert max(Counter(event.id for event in found).values()) == 1
    for tenant in tenants:
        own = [event.id for event in found if event.workspace_id == tenant.workspace_id]
        assert own == [event.id for event in sandbox.events(tenant)]
    assert _read(feeds[2]) == [event.id for event in found]


def test_a_workspace_keeps_its_order_when_the_clock_goes_back(
    own_sandbox: SandboxInstallation,
) -> None:
    """Events of one workspace come in the order of their changes, even if the clock was set back between them."""
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    tenant, other = sandbox.tenant(), sandbox.tenant()
    sandbox.key(tenant, "first")
    sandbox.clock.advance(seconds=-60)
    sandbox.key(other)
    sandbox.key(tenant, "second")
    feed.place()
    own = [event.id for event in feed.read(workspace_id=tenant.workspace_id, limit=200).items]
    assert own == [event.id for event in sandbox.events(tenant)]
    sandbox.clock.advance(seconds=-60)
    after = feed.read(limit=200).next_after
    created = sandbox.key(other).key.id
    feed.place()
    assert [event.target.id for event in feed.read(after).items] == [created]


def test_batches(own_sandbox: SandboxInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
    """More events than fit one transaction all get a position in one run."""
    monkeypatch.setattr(service, "BATCH", 3)
    sandbox = own_sandbox
    for tenant in [sandbox.tenant() for _ in range(3)]:
        for _ in range(5):
            sandbox.key(tenant)
    assert sandbox.services.feed.place() == len(_stored(sandbox))
    assert set(_read(sandbox.services.feed)) == _stored(sandbox)


def test_filters(own_sandbox: SandboxInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
    """By workspace and by type only those events come; a page looks at a bounded number and says where it stopped."""
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    one, other = sandbox.tenant(), sandbox.tenant()
    for _ in range(4):
        sandbox.key(one)
        sandbox.clock.advance(seconds=1)
        sandbox.key(other)
        sandbox.clock.advance(seconds=1)
    sandbox.services.credentials.create("backend", BY, CredentialKind.OPERATOR)
    feed.place()
    last = feed.read(limit=200).next_after
    page = feed.read(workspace_id=one.workspace_id, type="key.created")
    assert len(page.items) == 4
    assert {event.workspace_id for event in page.items} == {one.workspace_id}
    assert page.next_after == last
    own = feed.read(type="credential.created")
    assert [event.workspace_id for event in own.items] == [None]
    assert own.next_after == last
    assert feed.read(workspace_id=one.workspace_id, type="credential.created").items == []
    monkeypatch.setattr(service, "SCAN", 2)
    assert feed.read(workspace_id=one.workspace_id).next_after < last
    found: list[object] = []
    after: int | None = None
    while after != last:
        page = feed.read(after, workspace_id=other.workspace_id, type="key.created", limit=1)
        found += page.items
        after = page.next_after
    assert len(found) == 4


def test_a_quiet_workspace_s_reader_does_not_expire(own_sandbox: SandboxInstallation) -> None:
    """A reader of one workspace moves on past the events of the others, so it stays within their retention."""
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    quiet, busy = sandbox.tenant(), sandbox.tenant()
    feed.place()
    after = feed.read(workspace_id=quiet.workspace_id).next_after
    sandbox.key(busy)
    feed.place()
    after = feed.read(after, workspace_id=quiet.workspace_id).next_after
    sandbox.clock.advance(401 * DAY)
    _retain(sandbox)
    assert feed.read(after, workspace_id=quiet.workspace_id).items == []


def _retain(sandbox: SandboxInstallation) -> None:
    Retention(sandbox.database, sandbox.clock, RetentionPolicy()).run()


def test_expired(own_sandbox: SandboxInstallation) -> None:
    """A reader that missed events past their retention is refused with where to go on; others are not."""
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    tenant = sandbox.tenant()
    feed.place()
    behind = feed.read(limit=1).next_after
    sandbox.key(tenant)
    feed.place()
    complete = feed.read(limit=200).next_after
    sandbox.clock.advance(300 * DAY)
    kept = sandbox.key(tenant).key.id
    feed.place()
    sandbox.clock.advance(200 * DAY)
    assert feed.read(behind).items
    _retain(sandbox)
    with pytest.raises(FeedExpired) as refused:
        feed.read(behind)
    oldest = int(refused.value.oldest)
    for after in (oldest, complete, None):
        assert [event.target.id for event in feed.read(after).items] == [kept]


def _copied(sandbox: SandboxInstallation, request: pytest.FixtureRequest) -> str:
    """Copy the database while it is closed. Returns the URL of the copy."""
    sandbox.installation.close()
    if sandbox.database.is_sqlite:
        source = sqlite_file(sandbox)
        copy = shutil.copy(source, source.with_name("copy.db"))
        url = f"sqlite:///{copy}"
    else:
        server, name = request.getfixturevalue("postgres"), str(sandbox.database.url.database)
        url = sandbox.url.replace(name, server.create_database(template=name))
    sandbox.restart()
    return url


def test_the_feed_survives_a_restore(
    own_sandbox: SandboxInstallation, request: pytest.FixtureRequest
) -> None:
    """A copy of the database has the same feed. Restored later, it gives no position that a reader has seen again."""
    sandbox = own_sandbox
    tenant = sandbox.tenant()
    sandbox.key(tenant)
    sandbox.services.feed.place()
    events, behind = (sandbox.services.feed.read(limit=200) for _ in range(2))
    copy = _copied(sandbox, request)
    for _ in range(5):  # they are lost, but a reader has seen them
        sandbox.key(tenant)
    sandbox.services.feed.place()
    reader = sandbox.services.feed.read(behind.next_after)
    assert len(reader.items) == 5
    sandbox.url = copy
    sandbox.restart()
    feed = sandbox.services.feed
    assert feed.read(limit=200) == events
    sandbox.clock.advance(seconds=1)
    created = sandbox.key(tenant).key.id
    feed.place()
    assert [event.target.id for event in feed.read(reader.next_after).items] == [created]
    assert [event.target.id for event in feed.read(behind.next_after).items] == [created]


def test_the_events_of_a_deleted_workspace_leave_with_it(own_sandbox: SandboxInstallation) -> None:
    """A reader goes on without them, from any position, and learns of the deletion from the installation's event."""
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    ended, other = sandbox.tenant(), sandbox.tenant()
    sandbox.key(ended)
    feed.place()
    first = feed.read(limit=1).next_after
    kept = sandbox.key(other).key.id
    sandbox.services.workspaces.suspend(ended.workspace_id)
    sandbox.services.deletion.delete(ended.workspace_id)
    feed.place()
    behind = feed.read(limit=200).next_after
    sandbox.services.deletion.purge()
    feed.place()
    events = feed.read(first, limit=200).items
    assert ended.workspace_id not in {event.workspace_id for event in events}
    assert kept in {event.target.id for event in events}
    [deletion] = feed.read(first, type="workspace.deleted").items
    assert (deletion.workspace_id, deletion.target.id) == (None, ended.workspace_id)
    assert feed.read(behind).items == []


def test_positions_are_times(own_sandbox: SandboxInstallation) -> None:
    """A position is never below the time at which it was given, which makes it higher than all given before."""
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    sandbox.tenant()
    feed.place()
    now = to_microseconds(sandbox.clock.now())
    assert now <= feed.read(limit=200).next_after < now + 1_000


def test_events_of_before_the_feed_come_first(own_sandbox: SandboxInstallation) -> None:
    """Events that were written before a database had a feed get their positions by time, once it has one."""
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    tenants = [sandbox.tenant() for _ in range(3)]
    for tenant in reversed(tenants):
        sandbox.clock.advance(seconds=1)
        sandbox.key(tenant)
    feed.place()
    assert feed.read(type="key.created").items == sorted(
        feed.read(type="key.created").items, key=lambda event: event.occurred_at
    )


def test_retention_expires_no_event_of_before_the_feed_that_it_keeps(
    own_sandbox: SandboxInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More events than fit one transaction get their positions by time, so retention deletes the first ones."""
    monkeypatch.setattr(service, "BATCH", 2)
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    tenants = [sandbox.tenant() for _ in range(3)]
    sandbox.clock.advance(days=300)
    kept = [sandbox.key(tenant).key.id for tenant in reversed(tenants) for _ in range(3)]
    feed.place()
    sandbox.clock.advance(days=200)
    _retain(sandbox)
    assert sorted(_read_targets(feed)) == sorted(kept)


def _read_targets(feed: Feed) -> list[str]:
    return [event.target.id for event in feed.read(limit=200).items]


def test_an_event_of_a_later_version_is_in_the_feed(own_sandbox: SandboxInstallation) -> None:
    """A type that this version doesn't know, written by an upgraded server, hides no event."""
    sandbox, feed = own_sandbox, own_sandbox.services.feed
    sandbox.key(sandbox.tenant())
    with write_behind(sandbox.database) as tx:
        of_key = schema.events.c.type == "key.created"
        tx.execute(update(schema.events).where(of_key).values(type="of.the.future"))
    feed.place()
    assert "of.the.future" in {event.type for event in feed.read(limit=200).items}
    assert set(_read(feed)) == _stored(sandbox)
