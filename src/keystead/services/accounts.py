"""One's own account: name, address, password, time zone, and the sessions that are signed in to it."""

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
from keystead.domain.token import Secret
from keystead.domain.users import check_email, check_time_zone, fold_email
from keystead.domain.workspaces import Member, User, check_name
from keystead.services.passwords import Passwords
from keystead.services.reauthentication import Proofs
from keystead.services.sessions import (
    Admitted,
    proven,
    record,
    remember_device,
    renew,
    require_standing,
)
from keystead.services.throttle import Throttle
from keystead.storage import confirmations
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import anew
from keystead.storage.tables import known_devices, throttles, users, workspaces
from keystead.storage.tables import sessions as rows

OWN_ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class SessionLine:
    """A session as its person sees it in their list."""

    session: Session
    current: bool


class Accounts:
    """What people change of themselves. Who acts is a session's secret; SessionEnded where it opens nothing."""

    def __init__(
        self, database: Database, clock: Clock, passwords: Passwords, *, confirms: bool = False
    ) -> None:
        """`confirms`: mail can be sent, so that an email changes only once its link was opened."""
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._proofs = Proofs(database, clock, passwords)
        self._throttle = Throttle(database, clock)
        self.confirms = confirms

    @anew
    def rename(self, secret: Secret, name: str) -> User:
        """Another name, from now on: what was recorded before keeps the old one."""
        check_name(name)
        with self._database.write_across(Purpose.PEOPLE) as tx:
            user = self._own(tx, secret)
            users.set_name(tx, user.id, name)
            return users.get_user(tx, user.id)

    @anew
    def set_time_zone(self, secret: Secret, time_zone: str | None) -> User:
        """The zone in which instants are shown; None is UTC."""
        if time_zone is not None:
            check_time_zone(time_zone)
        with self._database.write_across(Purpose.PEOPLE) as tx:
            session = require_standing(tx, secret, self._clock.now())
            users.set_time_zone(tx, session.user_id, time_zone)
            return users.get_user(tx, session.user_id)

    def change_email(self, secret: Secret, email: str, origin: Origin = NO_ORIGIN) -> User:
        """Ask for another email to sign in by, or for a new confirmation letter to one's own.

        If mail confirms, nothing changes yet, and a letter goes to the email: the answer is the same whether it
        signs another user in or not. Without mail it changes immediately, unconfirmed.

        Raises:
            ReauthenticationRequired: the last proof is too old.
            RateLimited: the user asked too often, or too many letters went to that email.
            EmailTaken: it signs another user in; only if mail doesn't confirm.
        """
        check_email(email)
        user = self._who_changes_email(secret)
        if email == user.confirmed_email:
            return user
        self._throttle.keep_pace(change_subject(user.id), CHANGE_LIMIT, "changes of your email")
        if self.confirms:
            self._throttle.keep_pace(email_subject(email), EMAIL_LIMIT, "letters to one email")
        return self._change_email(secret, email, origin)

    @anew
    def _who_changes_email(self, secret: Secret) -> User:
        with self._database.read_across(Purpose.PEOPLE) as tx:
            return self._own_fresh(tx, secret, SensitiveAction.CHANGE_EMAIL)[0]

    @anew
    def pending_email(self, secret: Secret) -> PendingConfirmation | None:
        """Return the email that the user has yet to confirm."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            session = require_standing(tx, secret, self._clock.now())
            return confirmations.find_pending(tx, session.user_id)

    @anew
    def change_password(
        self,
        secret: Secret,
        new: Password,
        current: Password | None = None,
        origin: Origin = NO_ORIGIN,
    ) -> Admitted:
        """A new password, and this session under a new secret; the others end, and so do links and known devices.

        Raises ReauthenticationRequired without a recent authentication; Invalid (/current) if the present password is
        needed and missing. A person without a password, or one who came by a one-time link, needs none.
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
                raise Invalid.field("/current", "is needed: your present password")
            self._proofs.again(secret, session, stored, current, "/current")
        check_length(new, "/new")
        self._throttle.keep_pace(new_password_subject(user.id), NEW_PASSWORD, "new passwords")
        hashed = self._passwords.hash(new, context, "/new", owner=user.id)
        return self._set_password(secret, hashed, origin)

    @anew
    def sessions(self, secret: Secret) -> list[SessionLine]:
        """Where one is signed in, the newest first."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            current = require_standing(tx, secret, now)
            found = rows.standing_sessions(tx, current.user_id, now)
        return [SessionLine(session, session.id == current.id) for session in found]

    @anew
    def end_session(
        self, secret: Secret, session_id: SessionId, origin: Origin = NO_ORIGIN
    ) -> None:
        """Ends one of one's own sessions, at once; NotFound for one that is not, or has ended."""
        with self._database.write_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            current = require_standing(tx, secret, now)
            named = is_id("ses", session_id)
            if not named or not rows.end_session_of(tx, current.user_id, session_id, now):
                raise NotFound("There is no such session.")
            confirmations.withdraw_change(tx, current.user_id)
            self._record_ends(tx, current, origin, 1)

    @anew
    def end_other_sessions(self, secret: Secret, origin: Origin = NO_ORIGIN) -> int:
        """Ends all of one's sessions but this one, at once; how many that were."""
        with self._database.write_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            current = require_standing(tx, secret, now)
            standing = len(rows.standing_sessions(tx, current.user_id, now)) - 1
            rows.end_other_sessions(tx, current.user_id, current.id, now)
            # One of them may have asked for another email, by which it would come back.
            confirmations.withdraw_change(tx, current.user_id)
            if standing:
                self._record_ends(tx, current, origin, standing)
            return standing

    @anew
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

    @anew
    def _set_password(self, secret: Secret, hashed: str, origin: Origin) -> Admitted:
        with self._database.write_across(Purpose.PEOPLE) as tx:
            user, session = self._own_fresh(tx, secret, SensitiveAction.CHANGE_PASSWORD)
            now = self._clock.now()
            users.set_password(tx, user.id, hashed, now)
            rows.delete_unused_links(tx, user.id)
            confirmations.withdraw_change(tx, user.id)
            rows.end_other_sessions(tx, user.id, session.id, now)
            renewed = renew(tx, secret, replace(session, seen_at=now))
            known_devices.delete_devices(tx, user.id)
            device = remember_device(tx, user.id, None, now)
            throttles.delete_failures(tx, account_subject(fold_email(user.email or "")))
            members = workspaces.memberships_of(tx, user.id)
            record(tx, members, EventType.MEMBER_PASSWORD_CHANGED, now, origin)
            return Admitted(renewed, users.get_user(tx, user.id), proven(members, session), device)

    def _record_ends(self, tx: Tx, session: Session, origin: Origin, ended: int) -> None:
        members = workspaces.memberships_of(tx, session.user_id)
        now, told = self._clock.now(), {"sessions": ended}
        record(tx, members, EventType.MEMBER_SIGNED_OUT, now, origin, told)

    def _own(self, tx: Tx, secret: Secret) -> User:
        session = require_standing(tx, secret, self._clock.now())
        user = users.get_user(tx, session.user_id)
        if user.is_of_portal:
            raise Forbidden(
                OWN_ACCOUNT, "Your name and address come from the product; change them there."
            )
        return user

    def _own_fresh(self, tx: Tx, secret: Secret, act: SensitiveAction) -> tuple[User, Session]:
        user = self._own(tx, secret)
        now = self._clock.now()
        session = require_standing(tx, secret, now)
        if not session.authentication.is_recent(now):
            raise ReauthenticationRequired(act)
        return user, session


def _names(tx: Tx, members: list[Member]) -> list[str]:
    found = (workspaces.find_workspace(tx, member.workspace_id) for member in members)
    return [workspace.name for workspace in found if workspace]
