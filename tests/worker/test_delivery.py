"""From a change to its receiver: signed, complete, at least once, and never with a secret."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from standardwebhooks import Webhook

from keystead.bootstrap import Installation
from keystead.domain.events import Act, EventType, Target
from keystead.domain.ids import DeliveryId, WebhookId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal
from keystead.domain.webhooks import DeliveryStatus
from keystead.storage.tables.events import append_event
from keystead.wire.webhooks import MAX_PAYLOAD
from keystead.worker import deliver
from keystead.worker.deliver import ATTEMPTS_PER_ENDPOINT, DeliveryWorker
from tests.support.postgres import wait_until
from tests.support.receivers import HOST, Receiver, create_webhook, delivering, sender

NEVER = 3600.0


def test_every_change_reaches_its_receiver(
    installation: Installation, tenant: Principal, receiver: Receiver
) -> None:
    """A stock receiver verifies every delivery; the body has the event, and no token."""
    webhook = create_webhook(installation, tenant, receiver.url)
    keys = installation.services.keys
    created = keys.create(tenant, KeyDraft("sync"))
    keys.revoke(tenant, created.key.id)
    with delivering(installation):
        got = receiver.wait_for(3)
    verifier = Webhook(webhook.secret)
    bodies = [verifier.verify(each.body, dict(each.headers)) for each in got]
    assert {body["type"] for body in bodies} == {"webhook.created", "key.created", "key.revoked"}
    assert created.token is not None
    for each, body in zip(got, bodies, strict=True):
        assert body["data"]["id"] == each.id
        assert body["timestamp"] == body["data"]["occurred_at"]
        assert created.token.reveal() not in each.body.decode()
        assert webhook.secret not in repr(each.headers)
        assert dict(each.headers)["user-agent"] == "keystead (webhooks)"
        assert len(each.body) <= MAX_PAYLOAD


def test_a_commit_wakes_the_worker_of_its_process(
    installation: Installation,
    tenant: Principal,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that doesn't poll sends each event, and again what is resent."""
    monkeypatch.setattr(deliver, "LONGEST_WAIT", NEVER)
    webhook = create_webhook(installation, tenant, receiver.url, "key.created").endpoint.id
    webhooks, keys = installation.services.webhooks, installation.services.keys
    worker = DeliveryWorker(installation.services.deliveries, sender(), poll=NEVER)
    worker.start()
    try:
        for number in range(1, 4):
            keys.create(tenant, KeyDraft("sync"))
            receiver.wait_for(number)
        delivery = webhooks.deliveries(tenant, webhook).items[0]
        wait_until(lambda: is_delivered(installation, tenant, delivery.id), "it is settled")
        webhooks.redeliver(tenant, delivery.id)
        receiver.wait_for(4)
    finally:
        worker.stop()


def is_delivered(installation: Installation, tenant: Principal, delivery: DeliveryId) -> bool:
    """Return whether the delivery's outcome is written."""
    status = installation.services.webhooks.delivery(tenant, delivery).delivery.status
    return status is DeliveryStatus.DELIVERED


def test_only_committed_deliveries_wake_the_worker(
    installation: Installation, tenant: Principal
) -> None:
    """Changes that no webhook chose, and changes that are rolled back, wake nothing."""
    woken: list[None] = []
    installation.services.deliveries.notify(lambda: woken.append(None))
    keys = installation.services.keys
    key = keys.create(tenant, KeyDraft("sync")).key.id
    create_webhook(installation, tenant, "http://127.0.0.1:9/", "key.revoked")
    keys.create(tenant, KeyDraft("sync"))
    act = Act(tenant.actor, installation.clock.now())
    with suppress(ValueError), installation.database.write(tenant.workspace_id) as tx:
        append_event(tx, tenant.workspace_id, EventType.KEY_REVOKED, act, Target("key", key))
        raise ValueError
    keys.create(tenant, KeyDraft("sync"))
    assert woken == []
    keys.revoke(tenant, key)
    assert woken == [None]


def test_a_backlog_is_sent_over_few_connections(
    installation: Installation, tenant: Principal, receiver: Receiver
) -> None:
    """Each concurrent attempt keeps its connection; afterwards none is left open."""
    create_webhook(installation, tenant, receiver.url, "key.created")
    for _ in range(30):
        installation.services.keys.create(tenant, KeyDraft("sync"))
    with delivering(installation):
        receiver.wait_for(30)
        wait_until(lambda: receiver.open_connections == 0, "all connections are closed")
    assert receiver.connections <= ATTEMPTS_PER_ENDPOINT


def all_attempted(installation: Installation, tenant: Principal, webhook: WebhookId) -> bool:
    """Return whether each delivery has an attempt."""
    page = installation.services.webhooks.deliveries(tenant, webhook).items
    return all(delivery.attempts for delivery in page)


def test_a_connection_that_the_receiver_closed_is_no_failure(
    installation: Installation, tenant: Principal
) -> None:
    """A receiver that drops the second request of each connection gets every event, and each has one attempt."""
    with Receiver(drops=True) as receiver:
        webhook = create_webhook(installation, tenant, receiver.url, "key.created").endpoint.id
        for _ in range(12):
            installation.services.keys.create(tenant, KeyDraft("sync"))
        with delivering(installation):
            receiver.wait_for(12)
            wait_until(lambda: all_attempted(installation, tenant, webhook), "all are settled")
    page = installation.services.webhooks.deliveries(tenant, webhook).items
    attempts = [attempt.status for delivery in page for attempt in delivery.attempts]
    assert attempts == [204] * 12


@pytest.mark.slow_on("postgresql")
def test_a_stopped_worker_leaves_no_lease(installation: Installation, tenant: Principal) -> None:
    """What it could not finish in time is due to the next worker immediately, under the same id."""
    with socket.create_server((HOST, 0)) as silent:
        url = f"http://{HOST}:{silent.getsockname()[1]}/"
        webhook = create_webhook(installation, tenant, url, "key.created").endpoint.id
        installation.services.keys.create(tenant, KeyDraft("sync"))
        with delivering(installation, seconds=NEVER):
            connection, _ = silent.accept()
        connection.close()
    (batch,) = installation.services.deliveries.claim(endpoints=9, messages=9)
    assert (batch.endpoint.id, len(batch.messages)) == (webhook, 1)
    assert batch.messages[0].delivery.attempted == 0
