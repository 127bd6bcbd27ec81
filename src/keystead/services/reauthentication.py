"""Checks of passwords: counted before the password is compared, and refused alike if there is no such account."""

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
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import sessions, throttles, users
from keystead.storage.tables.users import Account


@dataclass(frozen=True, slots=True)
class CheckedPassword:
    """An account whose password was right. `wrong_before`: the wrong ones that strangers had tried."""

    account: Account
    renewed_hash: str | None = field(repr=False)
    allowances: Mapping[Subject, BackoffPolicy]
    wrong_before: int


class Reauthentication:
    """Checks of passwords at sign-in, and again within a session."""

    def __init__(self, database: Database, clock: Clock, passwords: Passwords) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._throttle = Throttle(database, clock)

    @retry_on_conflict
    def check_sign_in(
        self, email: str, password: Password, address: str | None, device: Secret | None
    ) -> CheckedPassword:
        """Check a password. Raises Invalid, alike for every reason; RateLimited before the password is compared."""
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
            # A known device has an allowance of its own: strangers can't lock an account's owner out.
            allowances = {device_subject(device.fingerprint()): DEVICE}
        stored = account.password_hash if account else None
        with self._throttle.attempt(allowances):
            right = self._passwords.verify(stored, password, owner=place, known=known)
        if account is None or stored is None or not right:
            raise _wrong()
        renewed = self._renew_hash(stored, password, place)
        return CheckedPassword(account, renewed, allowances, wrong_before)

    def settle(self, tx: Tx, checked: CheckedPassword) -> None:
        """Forget the failures that the right password forgives. Raises Invalid if the password was changed since."""
        user_id, stored = checked.account.user.id, checked.account.password_hash
        # The check ran without a lock. A password that was changed meanwhile must not sign anyone in.
        if stored is None or users.lock_password_hash(tx, user_id) != stored:
            raise _wrong()
        if checked.renewed_hash is not None:
            users.renew_hash(tx, user_id, stored, checked.renewed_hash)
        for subject in sorted(checked.allowances):
            if checked.allowances[subject] is ADDRESS:
                # One right password says nothing about the others that came from this address.
                throttles.take_back_failure(tx, subject)
            else:
                throttles.delete_failures(tx, subject)

    def check_again(
        self, secret: Secret, session: Session, stored: str, password: Password, pointer: str
    ) -> None:
        """Check the password of a session's user. Raises Invalid, RateLimited; SessionEnded after ten wrong ones."""
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

    @retry_on_conflict
    def _forgive(self, subject: Subject) -> None:
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            throttles.delete_failures(tx, subject)

    @retry_on_conflict
    def _end(self, secret: Secret) -> None:
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            sessions.end_session(tx, secret.fingerprint(), self._clock.now())

    def _renew_hash(self, stored: str, password: Password, place: Subject) -> str | None:
        """Return a hash with today's parameters, if the stored one is weaker and there is time for it now."""
        with suppress(RateLimited):
            return self._passwords.rehash(stored, password, owner=place)
        return None

    def _knows(self, tx: Tx, account: Account, device: Secret | None) -> bool:
        """Return whether the user signed in on that device before, and its allowance isn't used up since."""
        if device is None:
            return False
        digest = device.fingerprint()
        known = sessions.find_device(tx, digest)
        if known is None or known.user_id != account.user.id:
            return False
        if not known.is_active(self._clock.now()):
            return False
        subject = device_subject(digest)
        return throttles.find_failures(tx, [subject])[subject].count < (DEVICE.most or 0)


def _wrong() -> Invalid:
    return Invalid.field(
        "/password", "or email is wrong; after several wrong attempts you have to wait"
    )
