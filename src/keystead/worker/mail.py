"""Mail: a letter as a message (RFC 5322), handed to an SMTP server or laid into a folder."""

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
    """The server will never take this message (RFC 5321 section 4.2.1, 5yz)."""


class MailDeferred(Exception):
    """The server is there, but couldn't take this message now (4yz, or the connection broke over it)."""


class MailAway(Exception):
    """No message can be handed over now."""


class Mailer(Protocol):
    """Hands messages on."""

    async def send(self, message: EmailMessage) -> None:
        """Return when the message was taken over. Raises MailRefused, MailDeferred or MailAway."""
        ...


@dataclass(frozen=True, slots=True)
class Smtp:
    """A mail server (RFC 5321)."""

    server: MailServer

    async def send(self, message: EmailMessage) -> None:
        """Hand it to the server, on a connection of its own."""
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
        # From here on the server is there: what goes wrong is this message's own failure.
        try:
            await client.send_message(message)
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit()
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _verdict(*(refused.code for refused in error.recipients)) from None
        except aiosmtplib.SMTPSenderRefused as error:
            if str(message["To"]).isascii():
                raise MailAway from None  # all mail has the same sender
            # With a non-ASCII recipient the sender asks for SMTPUTF8, and may be refused for that alone.
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
    """A folder for messages as files (`.eml`), which mail programs open: for a start without a mail server."""

    path: Path

    async def send(self, message: EmailMessage) -> None:
        """Writes the message to a file of its own, for its owner's eyes only; again: the same file."""
        name = sha256(str(message["Message-ID"]).encode()).hexdigest()[:24]
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            descriptor, made = tempfile.mkstemp(prefix=f".{name}.", dir=self.path)
            with os.fdopen(descriptor, "wb") as file:
                file.write(message.as_bytes(policy=SMTP_FORM))
            draft = self.path / made
            draft.replace(self.path / f"{name}.eml")
        except OSError:
            raise MailAway from None


def message_of(
    letter: Email, *, sender: str, base_url: str, once: str, now: datetime
) -> EmailMessage:
    """The letter as a message. `once` tells one sending apart from every other, so that a second copy can be told."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = check_email(letter.to)  # a stored one may be older than the check
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(now)
    digest = sha256(f"{once} {letter.to}".encode()).hexdigest()[:32]
    message["Message-ID"] = f"<{digest}@{(sender_of(sender) or 'localhost').rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 section 5: nobody's vacation answers it
    if letter.settings_path is not None:
        message["List-Unsubscribe"] = f"<{base_url}{letter.settings_path}>"
    message.set_content(letter.text)
    return message
