"""Mail: given to a real SMTP server or written into a folder, complete and private, or reported as unavailable."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from keystead.domain.ids import UserId
from keystead.domain.mail import Email, MailServer, check_sender, mail_server_of
from keystead.worker.mail import (
    Folder,
    MailAway,
    MailDeferred,
    MailRefused,
    Smtp,
    message_of,
)
from tests.support.server_process import HOST, free_port

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ADA = UserId("usr_1")
LETTER = Email(
    "ada@acme.example",
    "Acme: “nightly” ends",
    "The key “nightly” ends.\n",
    ADA,
    "/w/ws_1/notices",
)


class Receiver:
    """A mail server that keeps its messages; addresses that begin with `gone` or `full` are refused.

    It offers SMTPUTF8 (RFC 6531), and refuses every sender that requests it.
    """

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.refuses_all = False

    async def handle_MAIL(  # noqa: N802 - the library's own name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Accept or refuse a sender."""
        if self.refuses_all or "SMTPUTF8" in options:
            return "550 5.6.7 not this way"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - the library's own name
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        """Accept or refuse an address."""
        if address.startswith("gone"):
            return "550 no such mailbox"
        if address.startswith("full"):
            return "452 no room now"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Keep the message."""
        self.got.append(envelope)
        return "250 OK"


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, MailServer]]:
    """A mail server on this machine."""
    handler = Receiver()
    controller = Controller(handler, hostname=HOST, port=free_port(), enable_SMTPUTF8=True)
    controller.start()
    try:
        yield handler, MailServer(HOST, controller.port, implicit_tls=False)
    finally:
        controller.stop()


def test_an_email_arrives_whole(receiver: tuple[Receiver, MailServer]) -> None:
    """The receiver has the email's own words, its sender, and the way to unsubscribe."""
    handler, server = receiver
    asyncio.run(Smtp(server).send(_message()))
    [envelope] = handler.got
    assert (envelope.mail_from, envelope.rcpt_tos) == ("keys@example.com", ["ada@acme.example"])
    message = message_from_bytes(envelope.content, policy=default)
    assert message["Subject"] == LETTER.subject
    assert message.get_content().replace("\r\n", "\n") == LETTER.text
    assert message["List-Unsubscribe"] == "<https://keys.example.com/w/ws_1/notices>"
    assert message["Auto-Submitted"] == "auto-generated"


def test_refused_for_good_and_for_now(receiver: tuple[Receiver, MailServer]) -> None:
    """An address that is refused permanently is distinguished from one that may accept mail later."""
    _, server = receiver
    with pytest.raises(MailRefused):
        asyncio.run(Smtp(server).send(_message(to="gone@acme.example")))
    with pytest.raises(MailDeferred):
        asyncio.run(Smtp(server).send(_message(to="full@acme.example")))
    with pytest.raises(MailAway):
        asyncio.run(Smtp(MailServer(HOST, free_port(), implicit_tls=False)).send(_message()))


def test_an_address_that_the_server_does_not_send_to_is_not_the_server_away(
    receiver: tuple[Receiver, MailServer],
) -> None:
    """Such a server refuses the sender for one email alone; if it does so for any email, none can be sent."""
    handler, server = receiver
    with pytest.raises(MailRefused):
        asyncio.run(Smtp(server).send(_message(to="jürgen@acme.example")))
    handler.refuses_all = True
    with pytest.raises(MailAway):
        asyncio.run(Smtp(server).send(_message()))


def test_nothing_is_said_in_clear_to_another_machine(
    receiver: tuple[Receiver, MailServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that offers no TLS gets neither password nor email, unless it is on this machine."""
    handler, server = receiver
    elsewhere = MailServer("mail.example.com", server.port, False, "user", "password")
    assert elsewhere.start_tls
    assert not server.start_tls
    monkeypatch.setattr("keystead.domain.mail.is_loopback", lambda host: False)
    with pytest.raises(MailAway):
        asyncio.run(Smtp(server).send(_message()))
    assert handler.got == []


def test_a_folder_keeps_emails_for_its_owner(tmp_path: Path) -> None:
    """Each email is a file that only its owner reads; sent again, it is the same file."""
    folder = Folder(tmp_path / "mail")
    for _ in range(2):
        asyncio.run(folder.send(_message()))
    asyncio.run(folder.send(_message(to="bob@acme.example")))
    files = sorted((tmp_path / "mail").iterdir())
    assert [file.suffix for file in files] == [".eml", ".eml"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "mail").stat().st_mode) == 0o700
    recipients = {message_from_bytes(file.read_bytes(), policy=default)["To"] for file in files}
    assert recipients == {"ada@acme.example", "bob@acme.example"}


def test_a_folder_that_cannot_be_written_is_away(tmp_path: Path) -> None:
    """If the folder cannot be created, the email waits."""
    (tmp_path / "mail").write_text("a file")
    with pytest.raises(MailAway):
        asyncio.run(Folder(tmp_path / "mail").send(_message()))


def test_the_same_sending_has_the_same_id() -> None:
    """A second copy has the id of the first, and another email does not."""
    first, second, other = _message(), _message(), _message(once="ws_1 8")
    assert first["Message-ID"] == second["Message-ID"] != other["Message-ID"]
    assert first["Message-ID"].endswith("@example.com>")


@pytest.mark.parametrize("hostile", ["a\r\nBcc: eve@example.com", "a\nb", "a\rb"])
def test_no_text_makes_a_field(hostile: str) -> None:
    """Text that could begin a header field is refused, wherever it comes from."""
    letter = Email("ada@acme.example", hostile, "text", ADA, "/w/ws_1/notices")
    with pytest.raises(ValueError, match=r"linefeed|newline"):
        message_of(letter, sender="keys@example.com", base_url="https://k", once="1", now=NOW)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", MailServer("mail.example.com", 587, False)),
        ("smtps://mail.example.com", MailServer("mail.example.com", 465, True)),
        ("smtp://u%40x:p%3A@h:25", MailServer("h", 25, False, "u@x", "p:")),
    ],
)
def test_mail_servers_by_url(url: str, server: MailServer) -> None:
    """Port, TLS and credentials come from the URL."""
    assert mail_server_of(url) == server
    assert "p:" not in repr(server)


@pytest.mark.parametrize(
    "url", ["http://mail", "smtp://", "smtp://h:x", "mail.example.com", "smtp://u:secret@h/path"]
)
def test_invalid_mail_servers(url: str) -> None:
    """It is refused without repeating any of it: it may contain a password."""
    with pytest.raises(ValueError, match="must be smtp://") as refused:
        mail_server_of(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("keys@example.com", True),
        ("Keystead <keys@example.com>", True),
        ("keys", False),
        ("", False),
        ("keys@example.com\r\nBcc: eve@example.com", False),
        ("@example.com", False),
        ("keys@example.com, eve@example.com", False),
        ("root,x@example.com", False),
        ("c@[", False),
    ],
)
def test_senders(address: str, *, good: bool) -> None:
    """Mail comes from one address that can be written in a header field."""
    if good:
        assert check_sender(address) == address
    else:
        with pytest.raises(ValueError, match="must be an address"):
            check_sender(address)


def _message(to: str = LETTER.to, once: str = "ws_1 7") -> EmailMessage:
    letter = Email(to, LETTER.subject, LETTER.text, ADA, LETTER.settings_path)
    return message_of(
        letter,
        sender="Keystead <keys@example.com>",
        base_url="https://keys.example.com",
        once=once,
        now=NOW,
    )
