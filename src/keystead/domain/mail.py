"""E-mail: a letter to one person, and the mail server and sender that an operator may set."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from email.policy import default
from typing import Final
from urllib.parse import unquote, urlsplit

from keystead.domain.ids import UserId
from keystead.domain.users import is_email

MAX_FAILURES: Final = 8
"""Failures of one sending that are its own, after which it is given up: more than half a day."""
MAX_RETRY_DELAY: Final = timedelta(hours=6)
SERVER_RETRY_DELAY: Final = timedelta(minutes=5)
"""Between two looks whether the mail server is back."""
_PORTS: Final = {"smtp": 587, "smtps": 465}
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_FORM: Final = "must be smtp://user:password@host:587 or smtps://user:password@host:465"


@dataclass(frozen=True, slots=True)
class Email:
    """An e-mail to one user. `settings_path` leads to where they choose what they receive, if they can."""

    to: str
    subject: str
    text: str = field(repr=False)
    user_id: UserId
    settings_path: str | None = None


@dataclass(frozen=True, slots=True)
class MailServer:
    """A mail server: TLS from the first byte (`smtps`), or by STARTTLS unless it is on this machine (`smtp`)."""

    host: str
    port: int
    implicit_tls: bool
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def start_tls(self) -> bool:
        """Whether the connection must be made private before anything is said on it (RFC 3207)."""
        return not self.implicit_tls and self.host not in _HERE


def retry_delay(failures: int) -> timedelta:
    """How long to wait after that many attempts to send: five minutes, doubled up to six hours."""
    doubled: int = 2 ** min(failures - 1, 10)
    return min(MAX_RETRY_DELAY, timedelta(minutes=5) * doubled)


def is_given_up(failures: int) -> bool:
    """Return whether a sending with that many failures is given up."""
    return failures >= MAX_FAILURES


def mail_server_of(url: str) -> MailServer:
    """The mail server of that URL. ValueError, without a word of the URL, where it is none."""
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
    """`address`, if mail can come from it: `keys@example.com` or `Keystead <keys@example.com>`. ValueError else."""
    if not address.isprintable() or sender_of(address) is None:
        raise ValueError("must be an address such as keys@example.com")
    return address


def sender_of(address: str) -> str | None:
    """Return the addr-spec of the one mailbox in `address`; None unless there is exactly one."""
    try:
        found = default.header_factory("From", address).addresses
    except Exception:  # noqa: BLE001 - the parser raises IndexError and AttributeError on some input
        return None
    plain = found[0].addr_spec if len(found) == 1 else ""
    return plain if plain.isascii() and is_email(plain) else None
