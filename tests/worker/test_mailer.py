"""The mailer: every due digest is sent, a failed one is kept, and a refused address delays no other."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from keystead.domain.errors import LimitReached
from keystead.domain.notification_digests import GATHERING_DELAY
from keystead.domain.principals import operator
from keystead.services.notifications import Digest
from keystead.worker.mail import MailAway, MailRefused
from keystead.worker.mailer import Mailer
from tests.support.installations import SandboxInstallation


class Postman:
    """A mail transport that accepts messages, refuses one address permanently, and can be made unavailable."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.is_away = False

    async def send(self, message: EmailMessage) -> None:
        """Accept a message."""
        if self.is_away:
            raise MailAway
        if message["To"].startswith("gone"):
            raise MailRefused
        self.taken.append(message["To"])


@pytest.fixture
def postman() -> Postman:
    """A transport that is available."""
    return Postman()


def _full_workspace(sandbox: SandboxInstallation, email: str) -> None:
    workspace = sandbox.services.workspaces.create(
        "Acme", plan_id="scale", owner="Owner", email=email
    )
    tenant = operator("tests", workspace.id)
    sandbox.limit(tenant, 1)
    sandbox.key(tenant)
    with pytest.raises(LimitReached):
        sandbox.key(tenant)


def _post(sandbox: SandboxInstallation, postman: Postman) -> Mailer[Digest]:
    return Mailer(
        sandbox.services.notification_digests,
        postman,
        sender="keys@example.com",
        base_url="https://k.example",
    )


def test_what_is_due_is_sent_once(own_sandbox: SandboxInstallation, postman: Postman) -> None:
    """However often the mailer runs, each digest leaves once; a refused address causes no second sending."""
    for name in ("ada", "gone", "bob"):
        _full_workspace(own_sandbox, f"{name}@acme.example")
    own_sandbox.clock.advance(GATHERING_DELAY)
    post = _post(own_sandbox, postman)
    assert post.send_due() == 3
    assert post.send_due() == 0
    assert sorted(postman.taken) == ["ada@acme.example", "bob@acme.example"]


def test_what_cannot_be_sent_is_kept(own_sandbox: SandboxInstallation, postman: Postman) -> None:
    """While mail is unavailable nothing is lost; once it is back, everything leaves."""
    for name in ("ada", "bob"):
        _full_workspace(own_sandbox, f"{name}@acme.example")
    own_sandbox.clock.advance(GATHERING_DELAY)
    postman.is_away = True
    post = _post(own_sandbox, postman)
    assert post.send_due() == 0
    postman.is_away = False
    assert post.send_due() == 0
    own_sandbox.clock.advance(minutes=5)
    assert post.send_due() == 2
    assert sorted(postman.taken) == ["ada@acme.example", "bob@acme.example"]
