"""Each background task, with one item that always fails: only that item is affected, and operators see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import select, text, update

from keystead.bootstrap.background import background_of
from keystead.domain.documents import CollectionDraft, DocumentDraft
from keystead.domain.errors import LimitReached
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, operator
from keystead.domain.webhooks import Attempt, AttemptError, Outcome
from keystead.domain.workspaces import Role
from keystead.logger import Line
from keystead.services import device_logins, events
from keystead.services.deliveries import LEASE, Batch, Sent
from keystead.storage.schema import tables as schema
from keystead.worker.loop import Task
from tests.support.administrator import read_behind, write_behind
from tests.support.clocks import ManualClock
from tests.support.installations import ENGINES, SandboxInstallation, fresh_url, text_of
from tests.support.people import acting
from tests.support.receivers import Receiver, create_webhook, delivering, open_webhook_installation
from tests.support.server_process import HOST, free_port

DAY: Final = timedelta(days=1)
DELIVER: Final = "deliver"
MANY: Final = 40
"""A number of runs above any item's number of attempts."""

Check = Callable[[], bool]


class Mailbox:
    """A mail server that accepts everything."""

    def __init__(self) -> None:
        self.got: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Record the recipients of a message."""
        self.got += envelope.rcpt_tos
        return "250 OK"


@dataclass
class Scene:
    """An installation that sends mail and webhooks, and two workspaces, the first with a poisoned item."""

    sandbox: SandboxInstallation
    mailbox: Mailbox
    poisoned: Principal = field(init=False)
    honest: Principal = field(init=False)

    def __post_init__(self) -> None:
        self.poisoned, self.honest = (self.workspace(name) for name in ("poisoned", "honest"))

    def workspace(self, name: str) -> Principal:
        """Create a workspace whose owner's email contains the workspace's name."""
        created = self.sandbox.services.workspaces.create(
            name, plan_id="scale", owner=name, email=f"{name}@example.com"
        )
        self.sandbox.clock.advance(seconds=1)
        return operator("tests", created.id)

    @property
    def both(self) -> tuple[Principal, Principal]:
        """Create two workspaces, the poisoned one first: it is older."""
        return self.poisoned, self.honest

    def poison(self, act: str, table: str, column: str, value: str) -> None:
        """Have the database refuse that act (INSERT, DELETE) on rows with that value."""
        row = "OLD" if act == "DELETE" else "NEW"
        when = f"WHEN ({row}.{column} = '{value}')"
        begin = f"CREATE TRIGGER poison BEFORE {act} ON {table}"
        if self.sandbox.database.is_sqlite:
            statements = [f"{begin} {when} BEGIN SELECT RAISE(ABORT, 'poisoned'); END"]
        else:
            body = "BEGIN RAISE EXCEPTION 'poisoned'; END"
            statements = [
                f"CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS '{body.replace(chr(39), chr(39) * 2)}'",
                f"{begin} FOR EACH ROW {when} EXECUTE FUNCTION poison()",
            ]
        with write_behind(self.sandbox.database) as tx:
            for statement in statements:
                tx.execute(text(statement))

    def rows(self, table: Any, tenant: Principal) -> int:
        """Return how many rows a workspace has in a table."""
        query = select(table.c.workspace_id).where(table.c.workspace_id == tenant.workspace_id)
        with read_behind(self.sandbox.database) as tx:
            return len(tx.execute(query).all())

    def spoil_email(self, tenant: Principal) -> None:
        """Give the workspace's owner an email that older versions accepted, and that no message can contain."""
        owner = self.sandbox.services.workspaces.owner(tenant.workspace_id).user.id
        with write_behind(self.sandbox.database) as tx:
            tx.execute(update(schema.users).where(schema.users.c.id == owner).values(email="c@["))


# --- one setup for each task: it prepares everything, and returns whether the honest item was done
# ---


def flush_use(scene: Scene) -> Check:
    """Fail to write the use of a key."""
    poisoned, honest = (scene.sandbox.key(tenant) for tenant in scene.both)
    for created in (poisoned, honest):
        scene.sandbox.services.verifier.verify(text_of(created), address="192.0.2.7")
    scene.poison("INSERT", "key_use", "key_id", poisoned.key.id)
    return lambda: scene.rows(schema.key_use, scene.honest) == 1


def place_events(scene: Scene) -> Check:
    """Fail to give a workspace's events their positions in the feed."""
    scene.poison("UPDATE", "events", "workspace_id", scene.poisoned.workspace_id)
    honest = scene.sandbox.key(scene.honest).key.id

    def is_done() -> bool:
        feed = scene.sandbox.services.feed.read(limit=200).items
        return honest in {event.target.id for event in feed}

    return is_done


def watch_keys(scene: Scene) -> Check:
    """Fail to write an event of a workspace."""
    task_of(scene, "key_lifecycle").run()
    for tenant in scene.both:
        scene.sandbox.key(tenant, expires_at=scene.sandbox.clock.now() + timedelta(minutes=5))
    scene.poison("INSERT", "events", "workspace_id", scene.poisoned.workspace_id)
    scene.sandbox.clock.advance(minutes=6)
    return lambda: "key.expired" in scene.sandbox.happened(scene.honest)


def end_silent(scene: Scene) -> Check:
    """Fail to revoke a key that was rotated and is silent."""
    services, hour = scene.sandbox.services, timedelta(hours=1)
    rotated = []
    for tenant in scene.both:
        key = scene.sandbox.key(tenant)
        new = services.rotations.rotate(tenant, key.key.id, overlap=7 * DAY, quiet=hour)
        services.verifier.verify(text_of(new))
        rotated.append(key)
    services.usage.flush()
    scene.poison("INSERT", "events", "workspace_id", scene.poisoned.workspace_id)
    scene.sandbox.clock.advance(hours=2)
    return lambda: scene.sandbox.verdict(rotated[1]) == "revoked"


def sweep(scene: Scene) -> Check:
    """Fail to delete a spent sign-in link."""
    workspaces = scene.sandbox.services.workspaces
    for tenant in scene.both:
        scene.sandbox.services.sign_in.make_link(workspaces.owner(tenant.workspace_id))
    scene.poison("DELETE", "sign_in_links", "workspace_id", scene.poisoned.workspace_id)
    scene.sandbox.clock.advance(2 * DAY)
    return lambda: scene.rows(schema.sign_in_links, scene.honest) == 0


def forget(scene: Scene) -> Check:
    """Fail to delete an old event."""
    scene.poison("DELETE", "events", "workspace_id", scene.poisoned.workspace_id)
    scene.sandbox.clock.advance(500 * DAY)
    return lambda: scene.rows(schema.events, scene.honest) == 0


def finish_deletions(scene: Scene) -> Check:
    """Fail to delete a document of a deleted collection."""
    documents = scene.sandbox.services.documents
    for tenant in scene.both:
        documents.create_collection(tenant, CollectionDraft("notes", "Notes"))
        documents.put(tenant, "notes", DocumentDraft("a", "A", "text"))
    with write_behind(scene.sandbox.database) as tx:
        tx.execute(update(schema.collections).values(name=None))  # as a killed server leaves them
    scene.poison("DELETE", "documents", "workspace_id", scene.poisoned.workspace_id)
    return lambda: scene.rows(schema.collections, scene.honest) == 0


def forget_deleted_webhooks(scene: Scene) -> Check:
    """Fail to delete a delivery of a deleted webhook."""
    for tenant in scene.both:
        webhook = create_webhook(scene.sandbox.installation, tenant, "http://127.0.0.1:9/")
        scene.sandbox.key(tenant)
        scene.sandbox.services.webhooks.delete(tenant, webhook.endpoint.id)
    scene.poison("DELETE", "deliveries", "workspace_id", scene.poisoned.workspace_id)
    return lambda: scene.rows(schema.webhook_endpoints, scene.honest) == 0


def purge(scene: Scene) -> Check:
    """Fail to delete an event of a deleted workspace."""
    services = scene.sandbox.services
    scene.poison("DELETE", "events", "workspace_id", scene.poisoned.workspace_id)
    for tenant in scene.both:
        services.workspaces.suspend(tenant.workspace_id)
        services.deletion.delete(tenant.workspace_id)
    return lambda: scene.rows(schema.events, scene.honest) == 0


def send_digests(scene: Scene) -> Check:
    """Fail to compose a digest; the other admin and the other workspace get theirs, once."""
    services = scene.sandbox.services
    owner = services.workspaces.owner(scene.poisoned.workspace_id)
    link, _ = services.invitations.invite(
        acting(owner, scene.sandbox.clock.now()), "beside@example.com", Role.ADMIN
    )
    services.invitations.accept(link, "Beside")
    for tenant in scene.both:
        scene.sandbox.limit(tenant, 1)
        scene.sandbox.key(tenant)
        with pytest.raises(LimitReached):
            scene.sandbox.key(tenant)
    scene.spoil_email(scene.poisoned)
    scene.sandbox.clock.advance(hours=1)
    expected = ["beside@example.com", "honest@example.com"]
    return lambda: sorted(scene.mailbox.got) == expected


def send_confirmations(scene: Scene) -> Check:
    """Fail to compose a confirmation email."""
    services, now = scene.sandbox.services, scene.sandbox.clock.now()
    rows = []
    for tenant, email in zip(scene.both, ("c@[", "new@example.com"), strict=True):
        owner = services.workspaces.owner(tenant.workspace_id).user.id
        rows.append({"user_id": owner, "email": email, "requested_at": now, "due_at": now})
    with write_behind(scene.sandbox.database) as tx:
        tx.execute(schema.email_confirmations.insert(), rows)
    return lambda: scene.mailbox.got == ["new@example.com"]


def deliver(scene: Scene) -> Check:
    """Fail to read an event that is to be delivered; the attempts at the others succeed."""
    for tenant in scene.both:
        create_webhook(scene.sandbox.installation, tenant, "http://127.0.0.1:9/")
    _spoil_events(scene)
    delivered = schema.deliveries.c.status == "delivered"
    query = select(schema.deliveries.c.workspace_id).where(delivered)

    def is_done() -> bool:
        with read_behind(scene.sandbox.database) as tx:
            return tx.execute(query).scalars().all() == [scene.honest.workspace_id]

    return is_done


def _spoil_events(scene: Scene) -> None:
    theirs = schema.events.c.workspace_id == scene.poisoned.workspace_id
    with write_behind(scene.sandbox.database) as tx:
        tx.execute(update(schema.events).where(theirs).values(type="of.the.future"))


USE_CASES: Final[Mapping[str, Callable[[Scene], Check]]] = {
    "flush_use": flush_use,
    "place_events": place_events,
    "key_lifecycle": watch_keys,
    "quiet_ends": end_silent,
    "expired_rows": sweep,
    "retention": forget,
    "collection_deletions": finish_deletions,
    "webhook_deletions": forget_deleted_webhooks,
    "workspace_deletions": purge,
    "notification_digests": send_digests,
    "email_confirmations": send_confirmations,
    DELIVER: deliver,
}


@contextmanager
def mail_server() -> Iterator[tuple[Mailbox, str]]:
    """Start a mail server on this machine. Returns it and its URL."""
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname=HOST, port=free_port())
    controller.start()
    try:
        yield mailbox, f"smtp://{HOST}:{controller.port}"
    finally:
        controller.stop()


@pytest.fixture(params=ENGINES)
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """The two workspaces, on a fresh database of each engine."""
    clock = ManualClock()
    with (
        mail_server() as (mailbox, smtp),
        fresh_url(request, tmp_path_factory, request.param) as url,
        open_webhook_installation(
            url, clock, smtp=smtp, mail_from="keys@example.com"
        ) as installation,
    ):
        yield Scene(SandboxInstallation(url, installation, clock), mailbox)


def tasks(scene: Scene) -> list[Task]:
    """Return all background tasks, with one run of the delivery of webhooks as a task."""
    background = background_of(scene.sandbox.installation, None, deliver=True)
    assert background.worker is not None
    return [*background.loop.tasks, Task(DELIVER, 0, lambda: _deliver_once(scene))]


def task_of(scene: Scene, name: str) -> Task:
    """Return the task of that name."""
    return next(task for task in tasks(scene) if task.name == name)


def _deliver_once(scene: Scene) -> None:
    """Do the worker's work of one round, with receivers that accept everything."""
    deliveries = scene.sandbox.services.deliveries
    batches = deliveries.claim(endpoints=32, messages=40)
    assert len(deliveries.extend(batches)) == len(batches)
    deliveries.settle(_taken(scene, batches), batches)


def _taken(scene: Scene, batches: Sequence[Batch]) -> list[Sent]:
    """Return the outcomes of attempts at receivers that accept everything."""
    taken = Outcome(Attempt(scene.sandbox.clock.now(), 204, None, 1))
    return [Sent(message.delivery, taken) for batch in batches for message in batch.messages]


def test_every_task_has_a_poisoned_item(scene: Scene) -> None:
    """A new task needs a setup with a poisoned item here. Two tasks need none.

    The installation's log belongs to no tenant, and expired sign-ins of terminals go with one statement.
    """
    assert {task.name for task in tasks(scene)} == USE_CASES.keys() | {
        events.TASK,
        device_logins.TASK,
    }


def test_an_event_of_the_future_holds_up_no_other(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """An event of the installation of a type that this version does not know is logged like the one after it."""
    credentials = scene.sandbox.services.credentials
    credentials.create("before", operator("tests", scene.honest.workspace_id).actor)
    with write_behind(scene.sandbox.database) as tx:
        tx.execute(update(schema.installation_events).values(type="of.the.future"))
    scene.sandbox.clock.advance(seconds=1)
    credentials.create("after", operator("tests", scene.honest.workspace_id).actor)
    task_of(scene, events.TASK).run()
    types = [fields["type"] for fields in logged(caplog, "installation event")]
    assert types == ["of.the.future", "credential.created"]


@pytest.mark.parametrize("name", USE_CASES)
def test_a_poisoned_item_costs_only_itself(
    scene: Scene, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The item next to it is done in the same run; it itself is retried, given up in the end, and reported."""
    is_done = USE_CASES[name](scene)
    task = task_of(scene, name)
    caplog.clear()
    task.run()
    assert is_done()
    for _ in range(MANY):
        if logged(caplog, "item given up"):
            break
        scene.sandbox.clock.advance(hours=6)
        task.run()
    [given_up] = logged(caplog, "item given up")
    assert given_up["task"] == name
    failures = [fields["failures"] for fields in logged(caplog, "item failed")]
    assert failures == list(range(1, given_up["failures"]))
    scene.sandbox.clock.advance(hours=6)
    task.run()
    assert len(logged(caplog, "item given up")) == 1
    assert is_done()


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[Mapping[str, Any]]:
    """Return the fields of every line of that event."""
    lines = [record.msg for record in caplog.records if isinstance(record.msg, Line)]
    return [line.fields for line in lines if line.event == event]


@pytest.mark.parametrize("table", ["delivery_attempts", "webhook_queues"])
def test_a_poisoned_outcome_costs_only_itself(
    scene: Scene, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The outcomes of a workspace's deliveries can't be written: the outcomes written with them are, once."""
    for tenant in scene.both:
        create_webhook(scene.sandbox.installation, tenant, "http://127.0.0.1:9/")
    deliveries = scene.sandbox.services.deliveries
    batches = deliveries.claim(endpoints=32, messages=40)
    act = "INSERT" if table == "delivery_attempts" else "UPDATE"
    scene.poison(act, table, "workspace_id", scene.poisoned.workspace_id)
    assert scene.honest.workspace_id in {queue[0] for queue in deliveries.extend(batches)}
    caplog.clear()
    deliveries.settle(_taken(scene, batches), batches)
    assert len(logged(caplog, "item failed")) == 1
    assert scene.rows(schema.delivery_attempts, scene.honest) == 1
    assert scene.rows(schema.delivery_attempts, scene.poisoned) == 0


@pytest.mark.parametrize("scene", ["postgresql"], indirect=True)
def test_a_busy_workspace_costs_only_itself(scene: Scene) -> None:
    """An outcome waits too long for a workspace's lock: those settled with it are written, and it is later."""
    for tenant in scene.both:
        create_webhook(scene.sandbox.installation, tenant, "http://127.0.0.1:9/")
    deliveries = scene.sandbox.services.deliveries
    batches = deliveries.claim(endpoints=32, messages=40)
    gone = Outcome(Attempt(scene.sandbox.clock.now(), 410, AttemptError.STATUS, 1))
    sent = [
        replace(each, outcome=gone) if each.queue[0] == scene.poisoned.workspace_id else each
        for each in _taken(scene, batches)
    ]
    with scene.sandbox.database.write(scene.poisoned.workspace_id):
        deliveries.settle(sent, batches)
    assert scene.rows(schema.delivery_attempts, scene.honest) == 1
    assert scene.rows(schema.delivery_attempts, scene.poisoned) == 0
    scene.sandbox.clock.advance(LEASE)
    assert [batch.queue[0] for batch in deliveries.claim(endpoints=32, messages=40)] == [
        scene.poisoned.workspace_id
    ]
    deliveries.settle(sent)
    assert scene.sandbox.events(scene.poisoned)[-1].type == "webhook.disabled"


def test_the_worker_survives_what_it_cannot_read(scene: Scene) -> None:
    """With the real worker too: another workspace's webhook is delivered next to events that can't be read."""
    with Receiver() as receiver:
        for tenant in scene.both:
            create_webhook(
                scene.sandbox.installation, tenant, f"{receiver.url}/{tenant.workspace_id}"
            )
        _spoil_events(scene)
        with delivering(scene.sandbox.installation):
            received = receiver.wait_for(1)
            scene.sandbox.services.keys.create(scene.honest, KeyDraft("sync"))
            receiver.wait_for(2)
        assert all(each.path.endswith(scene.honest.workspace_id) for each in received)


def test_a_digest_is_given_up_and_the_next_is_sent(scene: Scene) -> None:
    """Once the email of the poisoned digest is fixed, later events are sent."""
    send_digests(scene)
    post = task_of(scene, "notification_digests")
    for _ in range(MANY):
        post.run()
        scene.sandbox.clock.advance(hours=6)
    with write_behind(scene.sandbox.database) as tx:
        spoiled = update(schema.users).where(schema.users.c.email == "c@[")
        tx.execute(spoiled.values(email="fixed@example.com"))
    scene.mailbox.got.clear()
    with pytest.raises(LimitReached):
        scene.sandbox.key(scene.poisoned)
    scene.sandbox.clock.advance(DAY)
    post.run()
    assert sorted(scene.mailbox.got) == ["beside@example.com", "fixed@example.com"]
