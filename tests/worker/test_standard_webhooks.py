"""Deliveries as stock receivers see them: libraries for Standard Webhooks in Python and JavaScript, unchanged."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from keystead.client import UnverifiedWebhook, verify_webhook
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import operator
from tests.support.clocks import ManualClock
from tests.support.receivers import (
    Received,
    Receiver,
    create_webhook,
    delivering,
    open_webhook_installation,
)

HERE = Path(__file__).parent
VENDORED = HERE.parent / "vendored" / "standardwebhooks"
SIGNED = ("webhook-id", "webhook-timestamp")
Delivered = tuple[str, Received]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Delivered]:
    """Deliveries with the secret each receiver knows: an ordinary one, and one with both secrets of a rotation."""
    url = f"sqlite:///{tmp_path_factory.mktemp('office') / 'keystead.db'}"
    with (
        open_webhook_installation(url) as installation,
        Receiver() as plain,
        Receiver() as rotating,
    ):
        tenant = operator("tests", installation.services.workspaces.create("W", plan_id="scale").id)
        first = create_webhook(installation, tenant, plain.url, "key.created")
        old = create_webhook(installation, tenant, rotating.url, "key.created")
        new = installation.services.webhooks.rotate_secret(tenant, old.endpoint.id)
        installation.services.keys.create(tenant, KeyDraft("Zürich · sync"))
        with delivering(installation):
            (ordinary,), (rotated,) = plain.wait_for(1), rotating.wait_for(1)
    return [(first.secret, ordinary), (old.secret, rotated), (new.secret, rotated)]


def tampered(delivery: Delivered) -> Iterator[Delivered]:
    """Yield the delivery with one byte changed, for each byte of its id, its timestamp and its body."""
    secret, received = delivery
    for name in SIGNED:
        value = received.headers[name]
        for place, character in enumerate(value):
            other = str((int(character) + 1) % 10) if character.isdigit() else character.swapcase()
            other = "-" if other == character else other
            changed = value[:place] + other + value[place + 1 :]
            yield secret, Received("/", {**received.headers, name: changed}, received.body)
    for place, byte in enumerate(received.body):
        changed_body = bytearray(received.body)
        changed_body[place] = byte ^ 1
        yield secret, Received("/", received.headers, bytes(changed_body))


def refused_by_python(delivery: Delivered) -> bool:
    """Return whether the stock Python library refuses it."""
    secret, received = delivery
    try:
        Webhook(secret).verify(received.body, dict(received.headers), json_parse=False)
    except (WebhookVerificationError, UnicodeDecodeError):
        return True
    return False


def refused_by_sdk(delivery: Delivered) -> bool:
    """Return whether the SDK refuses it."""
    secret, received = delivery
    try:
        verify_webhook(secret, received.body, received.headers)
    except UnverifiedWebhook:
        return True
    return False


def refused_by_node(deliveries: Sequence[Delivered]) -> list[bool]:
    """Return which of them the stock JavaScript library refuses."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js on this machine")
    cases = [
        {
            "secret": secret,
            "headers": dict(received.headers),
            "body": base64.b64encode(received.body).decode(),
        }
        for secret, received in deliveries
    ]
    done = subprocess.run(
        [node, str(HERE / "verify.js")],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    verdicts: list[Any] = json.loads(done.stdout)
    return [verdict is not None for verdict in verdicts]


def test_the_stock_python_library_verifies_what_is_sent(delivered: Sequence[Delivered]) -> None:
    """Each delivery verifies with its one secret, and during a rotation with either."""
    assert [refused_by_python(each) for each in delivered] == [False] * 3


def test_the_stock_javascript_library_verifies_what_is_sent(
    delivered: Sequence[Delivered],
) -> None:
    """The guarantee holds in Node.js."""
    assert refused_by_node(delivered) == [False] * 3


def test_the_sdk_verifies_what_is_sent(delivered: Sequence[Delivered]) -> None:
    """It returns the event, and refuses what is more than five minutes off, with a wrong secret, or unsigned."""
    for secret, received in delivered:
        event = verify_webhook(secret, received.body, received.headers)
        assert (event.id, event.type) == (received.id, "key.created")
        assert event.data["description"] == "Zürich · sync"
        signed_at = datetime.fromtimestamp(timestamp_of(received), UTC)
        for seconds in (-301, 301):
            late = signed_at + timedelta(seconds=seconds)
            with pytest.raises(UnverifiedWebhook, match="five minutes"):
                verify_webhook(secret, received.body, received.headers, now=late)
    (own, received), (other, _), _ = delivered
    assert refused_by_sdk((other, received))
    assert refused_by_sdk((own, Received("/", {}, received.body)))
    for malformed in ("", "whsec_", own.removeprefix("whsec_"), "whsec_!"):
        with pytest.raises(ValueError, match=r"whsec_|base64|padding"):
            verify_webhook(malformed, received.body, received.headers)


@pytest.mark.parametrize("refused", [refused_by_python, refused_by_sdk])
def test_a_changed_byte_is_noticed_in_python(
    delivered: Sequence[Delivered], refused: Callable[[Delivered], bool]
) -> None:
    """Each byte of id, timestamp and body counts."""
    cases = [case for each in delivered for case in tampered(each)]
    assert len(cases) > 1000
    assert all(map(refused, cases))


@pytest.mark.slow
def test_a_changed_byte_is_noticed_in_javascript(delivered: Sequence[Delivered]) -> None:
    """The guarantee holds in Node.js, also for a byte that makes the body invalid UTF-8."""
    cases = [case for each in delivered for case in tampered(each)]
    assert all(refused_by_node(cases))


def test_another_s_secret_verifies_nothing(delivered: Sequence[Delivered]) -> None:
    """A secret belongs to one endpoint."""
    (own, received), (other, _), _ = delivered
    assert own != other
    assert refused_by_python((other, received))


def test_each_attempt_is_signed_again_under_the_same_id(tmp_path: Path) -> None:
    """The id and the body stay, the timestamp is the attempt's own; both attempts verify."""
    refusals, clock = iter([503]), ManualClock(datetime.now(UTC))
    with (
        open_webhook_installation(f"sqlite:///{tmp_path / 'keystead.db'}", clock) as installation,
        Receiver(lambda _: (next(refusals, 204), {})) as receiver,
    ):
        tenant = operator("tests", installation.services.workspaces.create("W", plan_id="scale").id)
        webhook = create_webhook(installation, tenant, receiver.url, "key.created")
        installation.services.keys.create(tenant, KeyDraft("sync"))
        with delivering(installation):
            receiver.wait_for(1)
            clock.advance(seconds=6)
            first, second = receiver.wait_for(2)[:2]
    assert (first.id, first.body) == (second.id, second.body)
    assert timestamp_of(second) - timestamp_of(first) == 6
    assert not refused_by_python((webhook.secret, first))
    assert not refused_by_python((webhook.secret, second))


def timestamp_of(received: Received) -> int:
    """Return its timestamp."""
    return int(received.headers["webhook-timestamp"])


def test_the_vendored_library_is_the_published_one() -> None:
    """Each file has the digest that was recorded when it was copied."""
    for line in (VENDORED / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((VENDORED / name).read_bytes()).hexdigest() == digest
