"""From a change to its receiver: signed, complete, at least once, and never with a secret."""

from __future__ import annotations

from standardwebhooks import Webhook

from keystead.bootstrap import Installation
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal
from keystead.wire.webhooks import MAX_PAYLOAD
from tests.support.receivers import Receiver, create_webhook, delivering


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
        assert len(each.body) <= MAX_PAYLOAD
