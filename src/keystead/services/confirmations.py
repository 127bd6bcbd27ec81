"""Confirming emails: letters with a one-time link, and what opening the link changes."""

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
from keystead.storage import confirmations as rows
from keystead.storage.clock import Clock
from keystead.storage.confirmations import ClaimedConfirmation
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import anew
from keystead.storage.tables import users, workspaces

TASK: Final = "send confirmations"
LEASE: Final = timedelta(minutes=10)
BATCH: Final = 20


@dataclass(frozen=True, slots=True)
class Confirmation:
    """One letter that is to be sent."""

    claimed: ClaimedConfirmation
    letters: list[Email]
    at: datetime

    @property
    def name(self) -> str:
        """The item's name in the log."""
        return self.claimed.user_id

    @property
    def once(self) -> str:
        """A text that no other sending has."""
        return f"{self.claimed.user_id} {self.claimed.lease}"


class Confirmations:
    """Confirmation letters. A link works once, for a day, on any device: opening it needs no session."""

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
        """`product`: the name that letters give the installation. `sends`: whether any server of it sends mail."""
        self.sends = sends
        self._database = database
        self._clock = clock
        self._base_url = base_url
        self._product = product
        self._on_failure = on_failure or (lambda _: None)

    @anew
    def find(self, link: Secret) -> tuple[User, str]:
        """Return whose link it is and the email that it confirms, without using it up. Invalid if it can't be used."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            found = rows.find_by_link(tx, link.fingerprint(), self._clock.now())
            user_id, email = _usable(found)
            return users.get_user(tx, user_id), email

    @anew
    def confirm(self, link: Secret, origin: Origin = NO_ORIGIN) -> User:
        """Use the link up: from now on its email signs the user in, and mail goes there.

        Raises:
            Invalid: the link was used, has expired or never was.
            EmailTaken: the email signs another user in; only a reader of its mail learns that.
        """
        with self._database.write_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            user_id, email = _usable(rows.consume_link(tx, link.fingerprint(), now))
            user = users.get_user(tx, user_id)
            users.set_email(tx, user_id, email, confirmed_at=now)
            if email != user.email:
                _record_change(tx, user, email, now, origin)
            return users.get_user(tx, user_id)

    def claim(self) -> list[Confirmation]:
        """Claim the letters that are due, at most twenty. Looks first, so that idle workers write nothing."""
        return self._claim() if self._is_any_due() else []

    def note(self, _: Confirmation, __: Email) -> bool:
        """Return True: a confirmation has one letter, and settling records it."""
        return True

    @anew
    def settle(self, sent: Confirmation) -> None:
        """Record that the letter was sent."""
        with self._database.write_across(Purpose.WORKER) as tx:
            rows.settle_confirmation(tx, sent.claimed)

    @anew
    def fail(self, unsent: Confirmation, error: Exception) -> None:
        """Postpone a letter that can't be sent, or give it up after many failures; then the user asks again."""
        claimed, failures = unsent.claimed, unsent.claimed.failures + 1
        given_up = is_given_up(failures)
        with self._database.write_across(Purpose.WORKER) as tx:
            if given_up:
                rows.settle_confirmation(tx, claimed)
            else:
                until = self._clock.now() + retry_delay(failures)
                rows.postpone_confirmation(tx, claimed, until, failures)
        self._on_failure(Failure(TASK, unsent.name, failures, given_up, error))

    @anew
    def wait(self, unsent: Confirmation) -> None:
        """Try again in a while: the mail server is away, and the letter is not at fault."""
        claimed = unsent.claimed
        with self._database.write_across(Purpose.WORKER) as tx:
            until = self._clock.now() + SERVER_RETRY_DELAY
            rows.postpone_confirmation(tx, claimed, until, claimed.failures)

    @anew
    def _is_any_due(self) -> bool:
        with self._database.read_across(Purpose.WORKER) as tx:
            return rows.is_any_due(tx, self._clock.now())

    @anew
    def _claim(self) -> list[Confirmation]:
        now = self._clock.now()
        with self._database.write_across(Purpose.WORKER) as tx:
            found = rows.claim_confirmations(tx, now, now + LEASE, BATCH)
            return [self._with_link(tx, claimed, now) for claimed in found]

    def _with_link(self, tx: Tx, claimed: ClaimedConfirmation, now: datetime) -> Confirmation:
        """Give the letter a fresh link. The secret is made here and stays nowhere, so a retry needs another."""
        secret = Secret.fresh()
        rows.set_link(tx, claimed, secret.fingerprint(), now + CONFIRMATION_LIFETIME)
        letter = rules.compose(
            claimed.user_id, claimed.email, secret.reveal(), self._product, self._base_url
        )
        return Confirmation(claimed, [letter], now)


def _record_change(tx: Tx, user: User, email: str, now: datetime, origin: Origin) -> None:
    members = workspaces.memberships_of(tx, user.id)
    data = {"from": user.email, "to": email}
    record(tx, members, EventType.MEMBER_EMAIL_CHANGED, now, origin, data)


def _usable(found: tuple[UserId, str] | None) -> tuple[UserId, str]:
    if found is None:
        raise Invalid.field("/link", "was used, has expired or never was; ask for a new one")
    return found
