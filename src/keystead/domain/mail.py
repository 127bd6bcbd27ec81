"""Where mail is handed over, and whom it comes from: what an operator may set."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parseaddr
from typing import Final
from urllib.parse import unquote, urlsplit

_PORTS: Final = {"smtp": 587, "smtps": 465}
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_FORM: Final = "must be smtp://user:password@host:587 or smtps://user:password@host:465"


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
    _, plain = parseaddr(address)
    local, at, domain = plain.rpartition("@")
    if not (local and at and domain) or not plain.isascii() or not address.isprintable():
        raise ValueError("must be an address such as keys@example.com")
    return address
