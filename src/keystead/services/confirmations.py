"""Confirmation of email addresses: a message with a one-time link, and what opening the link changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystead.domain import confirmations as rules
from keystead.domain.confirmations import CONFIRMATION_LIFETIME
from keystead.domain.errors import Invalid
from keystead.domain.events import NO_ORIGIN, EventType, Origin
from keystead.domain.ids import UserId
from keystead.domain.mail import SERVER_RETRY_DELAY, Email, is_given_up, retry_delay
from keystead.domain.token import Secret
from keystead.domain.workspaces import User
from keystead.services.isolation import Failure, OnFailure
from keystead.services.sessions import record
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import confirmations as rows
from keystead.storage.tables import users, workspaces
from keystead.storage.tables.confirmations import ClaimedConfirmation

TASK: Final = "email_confirmations"
LEASE: Final = timedelta(minutes=10)
BATCH: Final = 20


@dataclass(frozen=True, slots=True)
class Confirmation:
    """One message that is to be sent."""

    claimed: ClaimedConfirmation
    emails: list[Email]
    at: datetime

    @property
    def name(self) -> str:
        """The item's name in the log."""
        return self.claimed.user_id

    @property
    def once(self) -> str:
        """A text that is unique to this sending."""
        return f"{self.claimed.user_id} {self.claimed.lease}"


class Confirmations:
    """Confirmations. A link works once, for a day, on any device: opening it needs no session."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        base_url: str,
        product: str,
        sends: bool = True,
        on_failure: OnFailure | None = None,
    ) -> None:
        """`product`: the installation's name in messages. `sends`: whether any server of it sends mail."""
        self.sends = sends
        self._database = database
        self._clock = clock
        self._base_url = base_url
        self._product = product
        self._on_failure = on_failure or (lambda _: None)

    @retry_on_conflict
    def find(self, link: Secret) -> tuple[User, str]:
        """Return the link's user and the email that it confirms, without using it up. Raises Invalid."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            user_id, email = _usable(rows.find_by_link(tx, link.fingerprint(), self._clock.now()))
            return users.get_user(tx, user_id), email

    @retry_on_conflict
    def confirm(self, link: Secret, origin: Origin = NO_ORIGIN) -> User:
        """Use the link up: its email signs the user in from now on, and mail goes there.

        Raises:
            Invalid: The link was used, has expired or never was.
            EmailTaken: The email signs another user in; only a reader of its mail learns that.
        """
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            now = self._clock.now()
            user_id, email = _usable(rows.consume_link(tx, link.fingerprint(), now))
            user = users.get_user(tx, user_id)
            users.set_email(tx, user_id, email, confirmed_at=now)
            if email != user.email:
                _record_change(tx, user, email, now, origin)
            return users.get_user(tx, user_id)

    def claim(self) -> list[Confirmation]:
        """Claim at most twenty messages that are due."""
        # Look before writing, so that idle workers never write.
        return self._claim() if self._is_any_due() else []

    def note(self, _: Confirmation, __: Email) -> bool:
        """Return True: a confirmation has one message, and settling records it."""
        return True

    @retry_on_conflict
    def settle(self, sent: Confirmation) -> None:
        """Record that the message was sent."""
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            rows.settle_confirmation(tx, sent.claimed)

    @retry_on_conflict
    def fail(self, unsent: Confirmation, error: Exception) -> None:
        """Postpone a message that can't be sent, or give it up after many failures: the user may ask again."""
        claimed, failures = unsent.claimed, unsent.claimed.failures + 1
        given_up = is_given_up(failures)
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            if given_up:
                rows.settle_confirmation(tx, claimed)
            else:
                until = self._clock.now() + retry_delay(failures)
                rows.postpone_confirmation(tx, claimed, until, failures)
        self._on_failure(Failure(TASK, unsent.name, failures, given_up, error))

    @retry_on_conflict
    def wait(self, unsent: Confirmation) -> None:
        """Try again in a while: the mail server is away, and the message is not at fault."""
        claimed = unsent.claimed
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            until = self._clock.now() + SERVER_RETRY_DELAY
            rows.postpone_confirmation(tx, claimed, until, claimed.failures)

    @retry_on_conflict
    def _is_any_due(self) -> bool:
        with self._database.read_across(Purpose.WORKER) as tx:
            return rows.is_any_due(tx, self._clock.now())

    @retry_on_conflict
    def _claim(self) -> list[Confirmation]:
        now = self._clock.now()
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            claims = rows.claim_confirmations(tx, now, now + LEASE, BATCH)
            return [self._with_link(tx, claimed, now) for claimed in claims]

    def _with_link(self, tx: Tx, claimed: ClaimedConfirmation, now: datetime) -> Confirmation:
        # Only the fingerprint of the secret is stored, so every attempt needs a fresh link.
        secret = Secret.fresh()
        rows.set_link(tx, claimed, secret.fingerprint(), now + CONFIRMATION_LIFETIME)
        email = rules.compose(
            claimed.user_id, claimed.email, secret.reveal(), self._product, self._base_url
        )
        return Confirmation(claimed, [email], now)


def _record_change(tx: Tx, user: User, email: str, now: datetime, origin: Origin) -> None:
    members = workspaces.memberships_of(tx, user.id)
    data = {"from": user.email, "to": email}
    record(tx, members, EventType.MEMBER_EMAIL_CHANGED, now, origin, data)


def _usable(row: tuple[UserId, str] | None) -> tuple[UserId, str]:
    if row is None:
        raise Invalid.field("/link", "was used, has expired or never was; ask for a new one")
    return row
