"""Signing in at a terminal: its request, a person's decision about it, and the key that it collects (RFC 8628)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from keystead.domain.device_logins import (
    INTERVAL,
    LIFETIME,
    MAX_PENDING,
    MAX_PENDING_OF_ADDRESS,
    WRONG_CODES,
    Approval,
    DeviceLogin,
    DeviceRequest,
    PollError,
    code_subjects,
    new_user_code,
    reason_of,
    user_code_digest,
)
from keystead.domain.errors import Forbidden, Invalid, KeysteadError, RateLimited, StorageError
from keystead.domain.events import Origin
from keystead.domain.ids import UserId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, of_member
from keystead.domain.roles import Permission
from keystead.domain.scopes import KEYS_WRITE
from keystead.domain.sessions import Authentication, AuthenticationMethod
from keystead.domain.throttle import Subject, address_subject
from keystead.domain.token import Secret
from keystead.domain.usage import printable
from keystead.services.authorization import Authorization
from keystead.services.key_issuer import CreatedKey
from keystead.services.keys import Keys
from keystead.services.throttle import Throttle
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import device_logins as rows
from keystead.storage.tables import throttles, workspaces

TASK: Final = "device_logins"
_ALL: Final = Subject("terminals")
"""Locked by each new request, so that the limits are exact on all servers together."""


@dataclass(frozen=True, slots=True)
class StartedLogin:
    """The two codes of a new request. Both leave once; only their digests are stored."""

    device_code: Secret
    user_code: str


@dataclass(frozen=True, slots=True)
class PollRefusal:
    """A poll that got no key, and why."""

    error: PollError
    reason: str


_PENDING: Final = PollRefusal(PollError.PENDING, "The code is waiting for approval.")
_TOO_SOON: Final = PollRefusal(
    PollError.SLOW_DOWN, f"Wait {INTERVAL.seconds} seconds between two polls."
)
_DENIED: Final = PollRefusal(PollError.DENIED, "The request was denied.")
# The same for every code that is not live, so that strangers learn nothing.
_EXPIRED: Final = PollRefusal(
    PollError.EXPIRED, "The code has expired, was used, or never existed. Start again."
)


class DeviceLogins:
    """Sign-ins from terminals. Until its approval a request belongs to no workspace."""

    def __init__(self, database: Database, clock: Clock, keys: Keys, throttle: Throttle) -> None:
        self._database = database
        self._clock = clock
        self._keys = keys
        self._throttle = throttle
        self._authorization = Authorization(database, clock)

    @retry_on_conflict
    def start(
        self, request: DeviceRequest, origin: Origin, agent: str | None = None
    ) -> StartedLogin:
        """Store a terminal's request. Raises RateLimited if the address or the installation has too many."""
        subject = address_subject(origin.address)
        # A flood costs one read each: counted without a lock first, and again under it.
        with self._database.read_across(Purpose.PEOPLE) as tx:
            _require_room(tx, subject, self._clock.now())
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            now = self._clock.now()
            throttles.lock_failures(tx, [_ALL], now)
            rows.delete_expired(tx, now)
            _require_room(tx, subject, now)
            login = DeviceLogin(request, origin.address, printable(agent), now, now + LIFETIME)
            return _insert(tx, subject, login)

    def poll(self, device_code: Secret, origin: Origin) -> CreatedKey | PollRefusal:
        """Return the key of an approved request, created now, once. Otherwise return why there is none."""
        digest = device_code.fingerprint()
        login = self._find(digest)
        if login is None:
            return _EXPIRED
        if login.denied_at is not None:
            self._delete(digest)
            return _DENIED
        if login.approval is None:
            # A flood of polls costs one read each: only a poll in time is written.
            is_too_soon = login.is_polled_too_soon(self._clock.now())
            return _TOO_SOON if is_too_soon else self._note_poll(digest)
        try:
            return self._collect(digest, login.approval, origin)
        except (StorageError, RateLimited):
            raise
        except KeysteadError as refusal:
            # What the person approved is no longer allowed. It is not tried again: the terminal has its answer.
            self._delete(digest)
            return PollRefusal(PollError.DENIED, reason_of(refusal))

    def look_up(self, user_code: str, user_id: UserId, origin: Origin) -> DeviceLogin:
        """Return the pending request with the code that a person typed.

        Raises:
            Invalid: No pending request has this code.
            RateLimited: The person or the address typed too many wrong ones.
        """
        subjects = code_subjects(origin.address, user_id)
        with self._counted(subjects):
            login = self._find_pending(user_code)
        if login is None:
            raise Invalid.field("/user_code", "This code is wrong, has expired or was used")
        self._throttle.take_back(subjects)
        return login

    def approve(
        self, principal: Principal, user_code: str, draft: KeyDraft, origin: Origin
    ) -> None:
        """Store that the terminal may collect the key of `draft`, which the principal could create now.

        Raises:
            Invalid: The code isn't that of a pending request, or a value of the draft is refused.
            ReauthenticationRequired: The key would be a wide one, and the person's last sign-in is not recent.
            LimitReached: The plan has no room for another key.
        """
        self.look_up(user_code, UserId(principal.id), origin)
        complete = self._check(principal, draft, origin)
        self._approve(principal, user_code, complete, origin)

    def deny(self, user_code: str, user_id: UserId, origin: Origin) -> None:
        """Refuse the request. Raises Invalid, RateLimited as `look_up` does."""
        self.look_up(user_code, user_id, origin)
        self._deny(user_code)

    @retry_on_conflict
    def _deny(self, user_code: str) -> None:
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            rows.deny_login(tx, user_code_digest(user_code), self._clock.now())

    @retry_on_conflict
    def purge(self) -> None:
        """Delete what has expired."""
        # Look before writing, so that idle servers never write.
        with self._database.read_across(Purpose.PEOPLE) as tx:
            if not rows.is_any_expired(tx, self._clock.now()):
                return
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            rows.delete_expired(tx, self._clock.now())

    @retry_on_conflict
    def _find(self, digest: bytes) -> DeviceLogin | None:
        with self._database.read_across(Purpose.PEOPLE) as tx:
            login = rows.find_login(tx, digest)
        return None if login is None or login.has_expired(self._clock.now()) else login

    @retry_on_conflict
    def _find_pending(self, user_code: str) -> DeviceLogin | None:
        with self._database.read_across(Purpose.PEOPLE) as tx:
            login = rows.find_by_user_code(tx, user_code_digest(user_code))
        return login if login is not None and login.is_pending(self._clock.now()) else None

    @retry_on_conflict
    def _note_poll(self, digest: bytes) -> PollRefusal:
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            now = self._clock.now()
            login = rows.lock_login(tx, digest)
            if login is not None and login.is_polled_too_soon(now):
                return _TOO_SOON
            rows.note_poll(tx, digest, now)
        return _PENDING

    @retry_on_conflict
    def _check(self, principal: Principal, draft: KeyDraft, origin: Origin) -> KeyDraft:
        """Return the draft with every attribute that a key of it would have now."""
        with self._authorization.changing(principal, origin, KEYS_WRITE, keeps_access=True) as (
            tx,
            act,
        ):
            granted, _ = self._keys.grant_in(tx, act, draft)
        return replace(draft, expires_at=granted.expires_at, scopes=granted.scopes)

    @retry_on_conflict
    def _approve(
        self, principal: Principal, user_code: str, draft: KeyDraft, origin: Origin
    ) -> None:
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            approval = Approval(
                principal.workspace_id,
                UserId(principal.id),
                self._clock.now(),
                origin.address,
                draft,
            )
            if not rows.approve_login(tx, user_code_digest(user_code), approval):
                raise Invalid.field("/user_code", "This code has expired or was used meanwhile")

    @retry_on_conflict
    def _collect(
        self, digest: bytes, approval: Approval, origin: Origin
    ) -> CreatedKey | PollRefusal:
        """Create the approved key, and spend the code in the same transaction."""
        principal = self._approver(approval)
        with self._authorization.changing(principal, origin, KEYS_WRITE, keeps_access=True) as (
            tx,
            act,
        ):
            # Under the workspace's lock: of two polls at the same time, one deletes the row.
            if not rows.collect_login(tx, approval.workspace_id, digest):
                return _EXPIRED
            return self._keys.create_in(tx, act, approval.draft, approved_from=approval.address)

    @retry_on_conflict
    def _approver(self, approval: Approval) -> Principal:
        with self._database.read(approval.workspace_id) as tx:
            member = workspaces.find_member(tx, approval.workspace_id, approval.user_id)
        if member is None:
            raise Forbidden(Permission.READ, "You are no longer a member of this workspace.")
        # Approving a wide key took a recent proof, and the approval is younger than such a proof may be.
        proof = Authentication(approval.at, AuthenticationMethod.LINK)
        return of_member(replace(member, authentication=proof))

    @retry_on_conflict
    def _delete(self, digest: bytes) -> None:
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            rows.delete_login(tx, digest)

    @contextmanager
    def _counted(self, subjects: list[Subject]) -> Iterator[None]:
        try:
            with self._throttle.attempt(dict.fromkeys(subjects, WRONG_CODES)):
                yield
        except RateLimited as refusal:
            seconds = refusal.retry_after
            raise RateLimited(
                seconds, f"There were too many wrong codes: wait {seconds} seconds."
            ) from None


def _require_room(tx: Tx, subject: Subject, now: datetime) -> None:
    total, own = rows.count_logins(tx, subject, now)
    if own >= MAX_PENDING_OF_ADDRESS or total >= MAX_PENDING:
        seconds = int(LIFETIME.total_seconds())
        raise RateLimited(seconds, "Too many sign-ins are waiting for approval; try again later.")


def _insert(tx: Tx, subject: Subject, login: DeviceLogin) -> StartedLogin:
    code, device_code = new_user_code(), Secret.fresh()
    while rows.find_by_user_code(tx, user_code_digest(code)) is not None:
        code = new_user_code()
    rows.insert_login(tx, device_code.fingerprint(), user_code_digest(code), subject, login)
    return StartedLogin(device_code, code)
