"""The mailer: sends what an outbox holds, each email by itself, so that one failure delays no other."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar

from keystead.domain.errors import StorageError
from keystead.domain.mail import Email
from keystead.http.redaction import places, type_names
from keystead.logger import Logger
from keystead.worker.mail import MailAway, MailRefused, MailTransport, message_of

_log: Final = Logger("keystead.mailer")


class Sending(Protocol):
    """Emails that are settled together."""

    @property
    def name(self) -> str:
        """Its name in the log."""
        ...

    @property
    def once(self) -> str:
        """A text that is unique to this sending."""
        ...

    @property
    def emails(self) -> list[Email]:
        """The emails that are not sent yet."""
        ...

    @property
    def at(self) -> datetime:
        """The time when it was composed."""
        ...


S = TypeVar("S", bound=Sending)


class Outbox(Protocol[S]):
    """The source of sendings, which also records their outcomes."""

    def claim(self) -> list[S]:
        """Lease some of what is due."""
        ...

    def note(self, sending: S, email: Email, /) -> bool:
        """Record that one email was sent. Returns False if the lease is lost."""
        ...

    def settle(self, sending: S, /) -> None:
        """Record that all was sent."""
        ...

    def fail(self, sending: S, error: Exception, /) -> None:
        """Postpone what is left, or give it up after many failures."""
        ...

    def wait(self, sending: S, /) -> None:
        """Postpone it without counting a failure."""
        ...


class Mailer(Generic[S]):
    """Sends the emails of one outbox. Several may run: each leases what it sends."""

    def __init__(
        self, outbox: Outbox[S], transport: MailTransport, *, sender: str, base_url: str
    ) -> None:
        self._outbox, self._transport = outbox, transport
        self._sender, self._base_url = sender, base_url

    def send_due(self) -> int:
        """Send everything that is due. Returns how many sendings were settled."""
        settled = 0
        while claimed := self._outbox.claim():
            for position, sending in enumerate(claimed):
                try:
                    settled += self._send_all(sending)
                except MailAway:
                    # Every other email would run into the same timeout: end this run.
                    for unsent in claimed[position:]:
                        self._outbox.wait(unsent)
                    _log.warning("mail server unavailable", item=sending.name)
                    return settled
        return settled

    def _send_all(self, sending: S) -> bool:
        """Return whether everything was sent. Only MailAway and StorageError are raised, and end the run."""
        failure: Exception | None = None
        try:
            for email in sending.emails:
                try:
                    self._send(sending, email)
                except MailAway:
                    raise
                except Exception as error:  # noqa: BLE001 - the next member's email may be fine
                    failure = error
                    continue
                # Recorded one by one: a retry, or another worker, sends no email twice.
                if not self._outbox.note(sending, email):
                    return False
            if failure is None:
                self._outbox.settle(sending)
            else:
                self._outbox.fail(sending, failure)
        except (MailAway, StorageError):
            raise
        except Exception as error:  # noqa: BLE001 - retried when its lease has expired
            _log.error(
                "mail outcome not recorded",
                item=sending.name,
                errors=type_names(error),
                places=places(error),
            )
            return False
        return failure is None

    def _send(self, sending: S, email: Email) -> None:
        message = message_of(
            email,
            sender=self._sender,
            base_url=self._base_url,
            once=sending.once,
            now=sending.at,
        )
        try:
            asyncio.run(self._transport.send(message))
        except MailRefused:
            _log.warning("email refused", item=sending.name)
