"""Whether somebody knows a password: counted before it is looked at, answered alike whether they exist or not."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from keystead.domain.errors import Invalid, RateLimited, SessionEnded
from keystead.domain.passwords import Password
from keystead.domain.sessions import Session
from keystead.domain.text import is_one_line
from keystead.domain.throttle import (
    ACCOUNT,
    ADDRESS,
    DEVICE,
    SESSION,
    BackoffPolicy,
    Subject,
    account_subject,
    address_subject,
    device_subject,
    session_subject,
)
from keystead.domain.token import Secret
from keystead.domain.users import MAX_EMAIL, fold_email
from keystead.services.passwords import Passwords
from keystead.services.throttle import Throttle
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import anew
from keystead.storage.tables import known_devices, sessions, throttles, users
from keystead.storage.tables.users import Account


@dataclass(frozen=True, slots=True)
class Proven:
    """An account whose password was right. `wrong_before`: what strangers had tried in vain."""

    account: Account
    renewed_hash: str | None = field(repr=False)
    allowances: Mapping[Subject, BackoffPolicy]
    wrong_before: int


class Proofs:
    """Looks at passwords, so many and no more."""

    def __init__(self, database: Database, clock: Clock, passwords: Passwords) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._throttle = Throttle(database, clock)

    @anew
    def by_password(
        self, email: str, password: Password, address: str | None, device: Secret | None
    ) -> Proven:
        """Whose password it is. Invalid, alike for all, where it is nobody's; RateLimited before it is looked at."""
        if len(email) > MAX_EMAIL or not is_one_line(email):
            raise _wrong()
        stranger = account_subject(fold_email(email))
        with self._database.read_across(Purpose.PEOPLE) as tx:
            account = users.find_account(tx, email)
            known = account is not None and self._knows(tx, account, device)
            wrong_before = throttles.find_failures(tx, [stranger])[stranger].count
        place = address_subject(address)
        allowances = {stranger: ACCOUNT, place: ADDRESS}
        if known and device is not None:
            allowances = {device_subject(device.fingerprint()): DEVICE}
        stored = account.password_hash if account else None
        with self._throttle.attempt(allowances):
            right = self._passwords.verify(stored, password, owner=place, known=known)
        if account is None or stored is None or not right:
            raise _wrong()
        return Proven(account, self._renewed(stored, password, place), allowances, wrong_before)

    def settle(self, tx: Tx, proven: Proven) -> None:
        """Forgives what the right password makes forgivable. Invalid where there is another password by now."""
        user_id, stored = proven.account.user.id, proven.account.password_hash
        if stored is None or users.lock_password_hash(tx, user_id) != stored:
            raise _wrong()
        if proven.renewed_hash is not None:
            users.renew_hash(tx, user_id, stored, proven.renewed_hash)
        for subject in sorted(proven.allowances):
            if (
                proven.allowances[subject] is ADDRESS
            ):  # one right password says nothing of the others
                throttles.take_back_failure(tx, subject)
            else:
                throttles.delete_failures(tx, subject)

    def again(
        self, secret: Secret, session: Session, stored: str, password: Password, pointer: str
    ) -> None:
        """Nothing, where the session's person knows their password. Invalid, RateLimited; after ten it ends."""
        subject = session_subject(session.id)
        with self._throttle.attempt({subject: SESSION}) as before:
            right = self._passwords.verify(stored, password, owner=session.user_id, known=True)
        if right:
            self._forgive(subject)
            return
        if before[subject].count + 1 == SESSION.most:
            self._end(secret)
            raise SessionEnded
        raise Invalid.field(pointer, "is not your password")

    @anew
    def _forgive(self, subject: Subject) -> None:
        with self._database.write_across(Purpose.PEOPLE) as tx:
            throttles.delete_failures(tx, subject)

    @anew
    def _end(self, secret: Secret) -> None:
        with self._database.write_across(Purpose.PEOPLE) as tx:
            sessions.end_session(tx, secret.fingerprint(), self._clock.now())

    def _renewed(self, stored: str, password: Password, place: Subject) -> str | None:
        """A hash of today's parameters, where the stored one is none and there is time for it now."""
        with suppress(RateLimited):
            return self._passwords.rehash(stored, password, owner=place)
        return None

    def _knows(self, tx: Tx, account: Account, device: Secret | None) -> bool:
        """Whether the person signed in on that device before, and it did not use its allowance up since."""
        if device is None:
            return False
        digest = device.fingerprint()
        found = known_devices.find_device(tx, digest)
        if found is None or found.user_id != account.user.id or not found.is_active(self._clock.now()):
            return False
        subject = device_subject(digest)
        return throttles.find_failures(tx, [subject])[subject].count < (DEVICE.most or 0)


def _wrong() -> Invalid:
    return Invalid.field(
        "/password", "and e-mail do not fit; after some tries there is a wait between them"
    )
