"""The post: sends what is due, each letter by itself, so that one that fails holds up no other."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar

import structlog

from keystead.domain.errors import StorageError
from keystead.domain.mail import Email
from keystead.http.redaction import places, type_names
from keystead.worker.mail import MailAway, Mailer, MailRefused, message_of

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("keystead.post")


class Sending(Protocol):
    """Letters that are settled together."""

    @property
    def name(self) -> str:
        """Its name in the log."""
        ...

    @property
    def once(self) -> str:
        """A text that no other sending has."""
        ...

    @property
    def letters(self) -> list[Email]:
        """What is left to send."""
        ...

    @property
    def at(self) -> datetime:
        """When it was composed."""
        ...


S = TypeVar("S", bound=Sending)


class Outbox(Protocol[S]):
    """The source of sendings, which also records their outcomes."""

    def claim(self) -> list[S]:
        """Lease some of what is due."""
        ...

    def note(self, sending: S, letter: Email, /) -> bool:
        """Record that one letter was sent. Return False if the lease is lost."""
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


class Post(Generic[S]):
    """One worker's share of sending what one outbox holds."""

    def __init__(self, outbox: Outbox[S], mailer: Mailer, *, sender: str, base_url: str) -> None:
        self._outbox, self._mailer = outbox, mailer
        self._sender, self._base_url = sender, base_url

    def send_due(self) -> int:
        """Send everything that is due. Return how many sendings were settled."""
        sent = 0
        while claimed := self._outbox.claim():
            for position, sending in enumerate(claimed):
                try:
                    sent += self._sent(sending)
                except MailAway:
                    # Every other letter would wait for the same time-out: the run ends here.
                    for unsent in claimed[position:]:
                        self._outbox.wait(unsent)
                    _log.warning("mail is away", item=sending.name)
                    return sent
        return sent

    def _sent(self, sending: S) -> bool:
        """Return whether everything was sent. MailAway and StorageError end the run; nothing else does."""
        failure: Exception | None = None
        try:
            for letter in sending.letters:
                try:
                    self._send(sending, letter)
                except MailAway:
                    raise
                except Exception as error:  # noqa: BLE001 - the next member's letter may be fine
                    failure = error
                    continue
                if not self._outbox.note(sending, letter):
                    return False
            if failure is None:
                self._outbox.settle(sending)
            else:
                self._outbox.fail(sending, failure)
        except (MailAway, StorageError):
            raise
        except Exception as error:  # noqa: BLE001 - its lease runs out, and then it is tried again
            _log.error(
                "sending failed", item=sending.name, errors=type_names(error), places=places(error)
            )
            return False
        return failure is None

    def _send(self, sending: S, letter: Email) -> None:
        message = message_of(
            letter,
            sender=self._sender,
            base_url=self._base_url,
            once=sending.once,
            now=sending.at,
        )
        try:
            asyncio.run(self._mailer.send(message))
        except MailRefused:
            _log.warning("address refused", item=sending.name)
