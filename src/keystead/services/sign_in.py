"""Signing in to the Developer area: one-time links, passwords, and sessions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from keystead.domain.errors import Invalid, NotFound, StorageError
from keystead.domain.events import NO_ORIGIN, EventType, Origin
from keystead.domain.ids import WorkspaceId
from keystead.domain.passwords import Password
from keystead.domain.sessions import LINK_LIFETIME, AuthenticationMethod, LinkPurpose, SignInLink
from keystead.domain.throttle import account_subject
from keystead.domain.token import Secret
from keystead.domain.users import fold_email
from keystead.domain.workspaces import Member, User
from keystead.services.passwords import Passwords
from keystead.services.reauthentication import CheckedPassword, Reauthentication
from keystead.services.sessions import (
    Admitted,
    Browser,
    SignedIn,
    Visitor,
    record,
    remember_device,
    renew_session,
    require_session,
    start_session,
    with_proof,
)
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import sessions as rows
from keystead.storage.tables import throttles, users, workspaces


class SignIn:
    """Sign-in by link or password. A session ends by itself, by signing out, or with the last membership."""

    def __init__(
        self, database: Database, clock: Clock, passwords: Passwords | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._reauthentication = Reauthentication(database, clock, passwords or Passwords())

    @retry_on_conflict
    def make_link(
        self, member: Member, purpose: LinkPurpose = LinkPurpose.SIGN_IN
    ) -> tuple[Secret, datetime]:
        """Create a link that signs the member in once. PASSWORD takes them to where they set a new one.

        Returns:
            The link's secret, and when it expires.
        """
        secret, now = Secret.fresh(), self._clock.now()
        link = SignInLink(member.workspace_id, member.user.id, now + LINK_LIFETIME, purpose)
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            rows.insert_link(tx, secret.fingerprint(), link, now)
        return secret, link.expires_at

    @retry_on_conflict
    def find_link(self, secret: Secret) -> SignInLink | None:
        """Return the link if it still works, without using it up."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            return rows.find_link(tx, secret.fingerprint(), self._clock.now())

    @retry_on_conflict
    def redeem(
        self,
        secret: Secret,
        origin: Origin = NO_ORIGIN,
        agent: str | None = None,
        device: Secret | None = None,
        time_zone: str = "",
    ) -> SignedIn:
        """Use a link up and start a session. Raises Invalid if the link was used, has expired or never was."""
        browser = Browser(origin, agent, device, time_zone)
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            now = self._clock.now()
            link = rows.consume_link(tx, secret.fingerprint(), now)
            if link is None:
                raise Invalid.field("/link", "was used, has expired or never was; get a new one")
            member = workspaces.find_member(tx, link.workspace_id, link.user_id)
            if member is None:
                raise Invalid.field("/link", "belongs to a former member")
            session_secret, session = start_session(
                tx, member.user, browser, now, link.method, link.return_url
            )
            new_device = _trust_device(tx, member.user, device, now)
            record(tx, [member], EventType.MEMBER_SIGNED_IN, now, origin, {"by": link.method})
        member = replace(member, authentication=session.authentication)
        return SignedIn(session_secret, member, new_device, link.purpose)

    def with_password(
        self,
        email: str,
        password: Password,
        origin: Origin = NO_ORIGIN,
        agent: str | None = None,
        device: Secret | None = None,
        time_zone: str = "",
    ) -> Admitted:
        """Start a session. Raises Invalid for a wrong email or password alike, RateLimited after too many."""
        checked = self._reauthentication.check_sign_in(email, password, origin.address, device)
        return self._admit(checked, Browser(origin, agent, device, time_zone))

    @retry_on_conflict
    def reauthenticate(
        self, secret: Secret, password: Password, origin: Origin = NO_ORIGIN
    ) -> Admitted:
        """Renew the session's proof of identity, under a new secret. Raises SessionEnded, Invalid, RateLimited."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            session = require_session(tx, secret, self._clock.now())
            stored = users.password_hash_of(tx, session.user_id)
        if stored is None:
            raise Invalid.field("/password", "is not set for this account; use a one-time link")
        self._reauthentication.check_again(secret, session, stored, password, "/password")
        return self._renew(secret, origin)

    @retry_on_conflict
    def visitor(self, secret: Secret) -> Visitor | None:
        """Return the signed-in user, or None if the session has ended or never was."""
        digest = secret.fingerprint()
        with self._database.read_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            session = rows.find_session(tx, digest)
            if session is None or not session.is_active(now):
                return None
            members = workspaces.memberships_of(tx, session.user_id)
            user = members[0].user if members else users.get_user(tx, session.user_id)
            if user.is_of_portal and not any(session.began_since(m.joined_at) for m in members):
                return None
            own = {each.id: each for each in workspaces.workspaces_of(tx, session.user_id)}
        return Visitor(session, user, with_proof(members, session), own)

    def touch(self, secret: Secret) -> None:
        """Keep the session of that secret alive: write that it was seen now."""
        # Reading goes on when nothing can be written, so a full disk doesn't sign users out.
        with suppress(StorageError):
            self._touch(secret.fingerprint(), self._clock.now())

    def now(self) -> datetime:
        """Return the time that sessions are judged by."""
        return self._clock.now()

    def memberships(self, secret: Secret) -> list[Member]:
        """Return the memberships of the session's user, the oldest workspace first; none if it has ended."""
        visitor = self.visitor(secret)
        return visitor.members if visitor else []

    def member(self, secret: Secret, workspace_id: WorkspaceId) -> Member:
        """Return the session's user as a member of that workspace. Raises NotFound."""
        members = (m for m in self.memberships(secret) if m.workspace_id == workspace_id)
        return NotFound.unless(next(members, None), "workspace")

    @retry_on_conflict
    def sign_out(self, secret: Secret, origin: Origin = NO_ORIGIN) -> None:
        """End the session immediately. Again: nothing happens."""
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            now = self._clock.now()
            session = rows.find_session(tx, secret.fingerprint())
            if session is None or not session.is_active(now):
                return
            rows.end_session(tx, secret.fingerprint(), now)
            members = workspaces.memberships_of(tx, session.user_id)
            record(tx, members, EventType.MEMBER_SIGNED_OUT, now, origin)

    @retry_on_conflict
    def _admit(self, checked: CheckedPassword, browser: Browser) -> Admitted:
        user = checked.account.user
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            now = self._clock.now()
            self._reauthentication.settle(tx, checked)
            members = workspaces.memberships_of(tx, user.id)
            secret, session = start_session(tx, user, browser, now, AuthenticationMethod.PASSWORD)
            device = remember_device(tx, user.id, browser.device, now)
            data: dict[str, object] = {"by": AuthenticationMethod.PASSWORD}
            if checked.wrong_before:
                data["wrong_passwords_before"] = checked.wrong_before
            record(tx, members, EventType.MEMBER_SIGNED_IN, now, browser.origin, data)
        return Admitted(secret, user, with_proof(members, session), device)

    @retry_on_conflict
    def _renew(self, secret: Secret, origin: Origin) -> Admitted:
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            now = self._clock.now()
            session = require_session(tx, secret, now)
            session = replace(
                session, signed_in_at=now, seen_at=now, proven_by=AuthenticationMethod.PASSWORD
            )
            renewed = renew_session(tx, secret, session)
            members = workspaces.memberships_of(tx, session.user_id)
            user = users.get_user(tx, session.user_id)
            data = {"by": AuthenticationMethod.PASSWORD, "again": True}
            record(tx, members, EventType.MEMBER_SIGNED_IN, now, origin, data)
        return Admitted(renewed, user, with_proof(members, session))

    @retry_on_conflict
    def _touch(self, digest: bytes, now: datetime) -> None:
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            rows.touch_session(tx, digest, now)


def _trust_device(tx: Tx, user: User, device: Secret | None, now: datetime) -> Secret | None:
    """Make the device of a redeemed link known, and forget the wrong passwords that strangers tried."""
    if user.is_of_portal:
        return None
    if user.email is not None:
        throttles.delete_failures(tx, account_subject(fold_email(user.email)))
    return remember_device(tx, user.id, device, now)
