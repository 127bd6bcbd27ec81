"""Email: one message to one user, and the mail server and sender that an operator configures."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import unquote, urlsplit

from keystead.domain.destinations import is_loopback
from keystead.domain.ids import UserId
from keystead.domain.users import is_email

MAX_FAILURES: Final = 8
"""Failures of one message, over more than half a day, after which it is abandoned."""
MAX_RETRY_DELAY: Final = timedelta(hours=6)
SERVER_RETRY_DELAY: Final = timedelta(minutes=5)
"""The delay between attempts while the mail server is unavailable."""
_PORTS: Final = {"smtp": 587, "smtps": 465}
_FORM: Final = "must be smtp://user:password@host:587 or smtps://user:password@host:465"


@dataclass(frozen=True, slots=True)
class Email:
    """An email to one user. `settings_path` is the page of their notification settings, if it has one."""

    to: str
    subject: str
    text: str = field(repr=False)
    user_id: UserId
    settings_path: str | None = None


@dataclass(frozen=True, slots=True)
class MailServer:
    """A mail server: TLS from the first byte (`smtps`), or STARTTLS unless it is on this machine (`smtp`)."""

    host: str
    port: int
    implicit_tls: bool
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def start_tls(self) -> bool:
        """Return whether the connection must switch to TLS before anything else (RFC 3207)."""
        return not self.implicit_tls and not is_loopback(self.host)


def retry_delay(failures: int) -> timedelta:
    """Return the delay after that many failures: five minutes, doubled up to six hours."""
    doubled: int = 2 ** min(failures - 1, 10)
    return min(MAX_RETRY_DELAY, timedelta(minutes=5) * doubled)


def is_given_up(failures: int) -> bool:
    """Return whether a message with that many failures is abandoned."""
    return failures >= MAX_FAILURES


def mail_server_of(url: str) -> MailServer:
    """Return the mail server of a URL. ValueError, without quoting the URL and its password, if it is malformed."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise ValueError(_FORM) from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(_FORM)
    user, password = parts.username, parts.password
    return MailServer(
        parts.hostname,
        port,
        parts.scheme == "smtps",
        None if user is None else unquote(user),
        None if password is None else unquote(password),
    )


def check_sender(address: str) -> str:
    """Return `address`, such as `Keystead <keys@example.com>`. ValueError unless email can be sent from it."""
    if not address.isprintable() or sender_of(address) is None:
        raise ValueError("must be an address such as keys@example.com")
    return address


def sender_of(address: str) -> str | None:
    """Return the addr-spec of the mailbox in `address`; None unless there is exactly one."""
    from email.policy import default  # slow to import, and seldom needed

    try:
        mailboxes = default.header_factory("From", address).addresses
    except Exception:  # noqa: BLE001 - the parser raises IndexError and AttributeError on some input
        return None
    plain = mailboxes[0].addr_spec if len(mailboxes) == 1 else ""
    return plain if plain.isascii() and is_email(plain) else None
