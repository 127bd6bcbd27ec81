"""A user's own account: name, email, password, time zone, and sessions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from keystead.domain.confirmations import (
    CHANGE_LIMIT,
    EMAIL_LIMIT,
    PendingConfirmation,
    change_subject,
    email_subject,
)
from keystead.domain.errors import Forbidden, Invalid, NotFound, ReauthenticationRequired
from keystead.domain.events import NO_ORIGIN, EventType, Origin
from keystead.domain.ids import SessionId, is_id
from keystead.domain.passwords import Password, check_length
from keystead.domain.sessions import AuthenticationMethod, Session
from keystead.domain.step_up import SensitiveAction
from keystead.domain.throttle import NEW_PASSWORD, account_subject, new_password_subject
from keystead.domain.time_zones import check_time_zone
from keystead.domain.token import Secret
from keystead.domain.users import check_email, fold_email
from keystead.domain.workspaces import Member, User, check_name
from keystead.services.passwords import Passwords
from keystead.services.reauthentication import Reauthentication
from keystead.services.sessions import (
    Admitted,
    record,
    remember_device,
    renew_session,
    require_session,
    with_proof,
)
from keystead.services.throttle import Throttle
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import confirmations, throttles, users, workspaces
from keystead.storage.tables import sessions as rows

OWN_ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class SessionLine:
    """A session in its user's list."""

    session: Session
    current: bool


class Accounts:
    """Changes of a user's own account. Each method takes the session's secret, and raises SessionEnded."""

    def __init__(
        self, database: Database, clock: Clock, passwords: Passwords, *, confirms: bool = False
    ) -> None:
        """`confirms`: mail can be sent, so that an email changes only once its link was opened."""
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._reauthentication = Reauthentication(database, clock, passwords)
        self._throttle = Throttle(database, clock)
        self.confirms = confirms

    @retry_on_conflict
    def rename(self, secret: Secret, name: str) -> User:
        """Change the user's name. Earlier events keep the old one."""
        check_name(name)
        with self._database.write_across(Purpose.PEOPLE) as tx:
            user = self._own(tx, secret)
            users.set_name(tx, user.id, name)
            return users.get_user(tx, user.id)

    @retry_on_conflict
    def set_time_zone(self, secret: Secret, time_zone: str | None) -> User:
        """Change the zone that times are shown in; None is UTC."""
        if time_zone is not None:
            check_time_zone(time_zone)
        with self._database.write_across(Purpose.PEOPLE) as tx:
            session = require_session(tx, secret, self._clock.now())
            users.set_time_zone(tx, session.user_id, time_zone)
            return users.get_user(tx, session.user_id)

    def change_email(self, secret: Secret, email: str, origin: Origin = NO_ORIGIN) -> User:
        """Ask for another email to sign in with, or for a new confirmation of one's own.

        If mail confirms, nothing changes yet, and a confirmation goes to the email: the answer is the same whether it
        signs another user in or not. Without mail it changes immediately, unconfirmed.

        Raises:
            ReauthenticationRequired: The last proof of identity is too old.
            RateLimited: The user asked too often, or too many confirmations went to that email.
            EmailTaken: It signs another user in; only if mail doesn't confirm.
        """
        check_email(email)
        user = self._own_before_email_change(secret)
        if email == user.confirmed_email:
            return user
        self._throttle.require_rate(change_subject(user.id), CHANGE_LIMIT, "changes of your email")
        if self.confirms:
            self._throttle.require_rate(email_subject(email), EMAIL_LIMIT, "messages to one email")
        return self._change_email(secret, email, origin)

    @retry_on_conflict
    def _own_before_email_change(self, secret: Secret) -> User:
        with self._database.read_across(Purpose.PEOPLE) as tx:
            return self._own_fresh(tx, secret, SensitiveAction.CHANGE_EMAIL)[0]

    @retry_on_conflict
    def pending_email(self, secret: Secret) -> PendingConfirmation | None:
        """Return the email that the user has yet to confirm."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            session = require_session(tx, secret, self._clock.now())
            return confirmations.find_pending(tx, session.user_id)

    @retry_on_conflict
    def change_password(
        self,
        secret: Secret,
        new: Password,
        current: Password | None = None,
        origin: Origin = NO_ORIGIN,
    ) -> Admitted:
        """Set a new password. This session gets a new secret; all others, links and known devices end.

        Raises:
            ReauthenticationRequired: The last proof of identity is too old.
            Invalid: At /current, if the current password is missing. It is needed unless the user signed in with a
                one-time link, or never had a password.
        """
        with self._database.read_across(Purpose.PEOPLE) as tx:
            user, session = self._own_fresh(tx, secret, SensitiveAction.CHANGE_PASSWORD)
            if user.email is None:
                raise Invalid.field("/email", "is needed first: it is what you sign in with")
            stored = users.password_hash_of(tx, user.id)
            members = workspaces.memberships_of(tx, user.id)
            context = [user.name, user.email, *_names(tx, members)]
        if stored is not None and session.proven_by is not AuthenticationMethod.LINK:
            if current is None:
                raise Invalid.field("/current", "is needed: your current password")
            self._reauthentication.check_again(secret, session, stored, current, "/current")
        check_length(new, "/new")
        self._throttle.require_rate(new_password_subject(user.id), NEW_PASSWORD, "new passwords")
        hashed = self._passwords.hash(new, context, "/new", owner=user.id)
        return self._set_password(secret, hashed, origin)

    @retry_on_conflict
    def sessions(self, secret: Secret) -> list[SessionLine]:
        """Return the user's active sessions, the newest first."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            current = require_session(tx, secret, now)
            sessions = rows.standing_sessions(tx, current.user_id, now)
        return [SessionLine(session, session.id == current.id) for session in sessions]

    @retry_on_conflict
    def end_session(
        self, secret: Secret, session_id: SessionId, origin: Origin = NO_ORIGIN
    ) -> None:
        """End one of the user's sessions immediately. Raises NotFound if there is none, or it has ended."""
        with self._database.write_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            current = require_session(tx, secret, now)
            is_session_id = is_id("ses", session_id)
            if not is_session_id or not rows.end_session_of(tx, current.user_id, session_id, now):
                raise NotFound("There is no such session.")
            confirmations.withdraw_change(tx, current.user_id)
            self._record_ends(tx, current, origin, 1)

    @retry_on_conflict
    def end_other_sessions(self, secret: Secret, origin: Origin = NO_ORIGIN) -> int:
        """End all of the user's sessions but this one immediately. Returns how many that were."""
        with self._database.write_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            current = require_session(tx, secret, now)
            others = len(rows.standing_sessions(tx, current.user_id, now)) - 1
            rows.end_other_sessions(tx, current.user_id, current.id, now)
            # One of them may have asked for another email, by which it would come back.
            confirmations.withdraw_change(tx, current.user_id)
            if others:
                self._record_ends(tx, current, origin, others)
            return others

    @retry_on_conflict
    def _change_email(self, secret: Secret, email: str, origin: Origin) -> User:
        with self._database.write_across(Purpose.PEOPLE) as tx:
            user, _ = self._own_fresh(tx, secret, SensitiveAction.CHANGE_EMAIL)
            now = self._clock.now()
            confirmations.request_confirmation(tx, user.id, email, now)
            if not self.confirms and email != user.email:
                users.set_email(tx, user.id, email)
                members = workspaces.memberships_of(tx, user.id)
                data = {"from": user.email, "to": email}
                record(tx, members, EventType.MEMBER_EMAIL_CHANGED, now, origin, data)
            return users.get_user(tx, user.id)

    @retry_on_conflict
    def _set_password(self, secret: Secret, hashed: str, origin: Origin) -> Admitted:
        with self._database.write_across(Purpose.PEOPLE) as tx:
            # Read again: the session may have ended, or its proof grown old, while the password was hashed.
            user, session = self._own_fresh(tx, secret, SensitiveAction.CHANGE_PASSWORD)
            now = self._clock.now()
            users.set_password(tx, user.id, hashed, now)
            rows.delete_unused_links(tx, user.id)
            confirmations.withdraw_change(tx, user.id)
            rows.end_other_sessions(tx, user.id, session.id, now)
            renewed = renew_session(tx, secret, replace(session, seen_at=now))
            rows.delete_devices(tx, user.id)
            device = remember_device(tx, user.id, None, now)
            throttles.delete_failures(tx, account_subject(fold_email(user.email or "")))
            members = workspaces.memberships_of(tx, user.id)
            record(tx, members, EventType.MEMBER_PASSWORD_CHANGED, now, origin)
            user = users.get_user(tx, user.id)
            return Admitted(renewed, user, with_proof(members, session), device)

    def _record_ends(self, tx: Tx, session: Session, origin: Origin, ended: int) -> None:
        members = workspaces.memberships_of(tx, session.user_id)
        now, data = self._clock.now(), {"sessions": ended}
        record(tx, members, EventType.MEMBER_SIGNED_OUT, now, origin, data)

    def _own(self, tx: Tx, secret: Secret) -> User:
        session = require_session(tx, secret, self._clock.now())
        user = users.get_user(tx, session.user_id)
        if user.is_of_portal:
            raise Forbidden(
                OWN_ACCOUNT, "Your name and email come from the product; change them there."
            )
        return user

    def _own_fresh(self, tx: Tx, secret: Secret, act: SensitiveAction) -> tuple[User, Session]:
        user = self._own(tx, secret)
        now = self._clock.now()
        session = require_session(tx, secret, now)
        if not session.authentication.is_recent(now):
            raise ReauthenticationRequired(act)
        return user, session


def _names(tx: Tx, members: list[Member]) -> list[str]:
    found = (workspaces.find_workspace(tx, member.workspace_id) for member in members)
    return [workspace.name for workspace in found if workspace]
