"""Mail transports: an SMTP server or a folder; and the message (RFC 5322) of an email."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_FORM
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

import aiosmtplib

from keystead.domain.mail import Email, MailServer, sender_of
from keystead.domain.users import check_email

TIMEOUT_SECONDS: Final = 20.0


class MailRefused(Exception):
    """The server refuses this message permanently (RFC 5321 section 4.2.1, 5yz)."""


class MailDeferred(Exception):
    """The server is available but cannot take this message now (4yz, or the connection broke)."""


class MailAway(Exception):
    """The mail server is unavailable, for any message."""


class MailTransport(Protocol):
    """Where messages are sent: an SMTP server or a folder."""

    async def send(self, message: EmailMessage) -> None:
        """Send the message. Raises MailRefused, MailDeferred or MailAway."""
        ...


@dataclass(frozen=True, slots=True)
class Smtp:
    """A mail server (RFC 5321)."""

    server: MailServer

    async def send(self, message: EmailMessage) -> None:
        """Send the message on a new connection."""
        server = self.server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.implicit_tls,
            start_tls=server.start_tls,
            timeout=TIMEOUT_SECONDS,
        )
        try:
            await client.connect()
        except (aiosmtplib.SMTPException, OSError):
            raise MailAway from None
        # The server is available: from here on a failure concerns this message only.
        try:
            await client.send_message(message)
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit()
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _verdict(*(refused.code for refused in error.recipients)) from None
        except aiosmtplib.SMTPSenderRefused as error:
            if str(message["To"]).isascii():
                raise MailAway from None  # all mail has this sender
            # For a non-ASCII recipient, MAIL FROM asks for SMTPUTF8 and may be refused for that alone.
            raise _verdict(error.code) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _verdict(error.code) from None
        except aiosmtplib.SMTPNotSupported:
            raise MailRefused from None  # a non-ASCII address, and the server lacks SMTPUTF8
        except (aiosmtplib.SMTPException, OSError):
            raise MailDeferred from None
        finally:
            client.close()


def _verdict(*codes: int) -> MailRefused | MailDeferred:
    return MailRefused() if all(500 <= code < 600 for code in codes) else MailDeferred()


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of `.eml` files, for trying Keystead without a mail server."""

    path: Path

    async def send(self, message: EmailMessage) -> None:
        """Write the message to a private file. Sending it again replaces the same file."""
        name = sha256(str(message["Message-ID"]).encode()).hexdigest()[:24]
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            descriptor, draft_name = tempfile.mkstemp(prefix=f".{name}.", dir=self.path)
            with os.fdopen(descriptor, "wb") as file:
                file.write(message.as_bytes(policy=SMTP_FORM))
            (self.path / draft_name).replace(self.path / f"{name}.eml")
        except OSError:
            raise MailAway from None


def message_of(
    letter: Email, *, sender: str, base_url: str, once: str, now: datetime
) -> EmailMessage:
    """Return the message of an email.

    `once` is unique to a sending: a second copy of the email gets the same Message-ID.
    """
    message = EmailMessage()
    message["From"] = sender
    message["To"] = check_email(letter.to)  # it may have been stored before this check existed
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(now)
    digest = sha256(f"{once} {letter.to}".encode()).hexdigest()[:32]
    message["Message-ID"] = f"<{digest}@{(sender_of(sender) or 'localhost').rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 section 5: no automatic replies
    if letter.settings_path is not None:
        message["List-Unsubscribe"] = f"<{base_url}{letter.settings_path}>"
    message.set_content(letter.text)
    return message
