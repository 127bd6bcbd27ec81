"""Signing in to the Developer area: one-time links, passwords, sessions, and which member acts."""

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
from keystead.services.reauthentication import Proofs, Proven
from keystead.services.sessions import (
    Admitted,
    Browser,
    SignedIn,
    Visitor,
    begin,
    proven,
    record,
    remember_device,
    renew,
    require_standing,
)
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import anew
from keystead.storage.tables import sessions as rows
from keystead.storage.tables import throttles, users, workspaces


class SignIn:
    """Links are used once; sessions end by themselves, by signing out, and with the membership."""

    def __init__(
        self, database: Database, clock: Clock, passwords: Passwords | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._proofs = Proofs(database, clock, passwords or Passwords())

    @anew
    def make_link(
        self, member: Member, purpose: LinkPurpose = LinkPurpose.SIGN_IN
    ) -> tuple[Secret, datetime]:
        """A secret that signs the member in once, and until when. For PASSWORD they land where a new one is set."""
        secret, now = Secret.fresh(), self._clock.now()
        link = SignInLink(member.workspace_id, member.user.id, now + LINK_LIFETIME, purpose)
        with self._database.write_across(Purpose.PEOPLE) as tx:
            rows.insert_link(tx, secret.fingerprint(), link, now)
        return secret, link.expires_at

    @anew
    def redeem(
        self,
        secret: Secret,
        origin: Origin = NO_ORIGIN,
        agent: str | None = None,
        device: Secret | None = None,
    ) -> SignedIn:
        """Uses a link up and begins a session. Invalid for a link that was used, has expired or never was."""
        browser = Browser(origin, agent, device)
        with self._database.write_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            link = rows.consume_link(tx, secret.fingerprint(), now)
            if link is None:
                raise Invalid.field("/link", "was used, has expired or never was; get a new one")
            member = workspaces.find_member(tx, link.workspace_id, link.user_id)
            if member is None:
                raise Invalid.field("/link", "belongs to somebody who is no member any more")
            opened, session = begin(tx, link.user_id, browser, now, link.method, link.return_url)
            known = _welcome(tx, member.user, device, now)
            record(tx, [member], EventType.MEMBER_SIGNED_IN, now, origin, {"by": link.method})
        return SignedIn(
            opened, replace(member, authentication=session.authentication), known, link.purpose
        )

    def with_password(
        self,
        email: str,
        password: Password,
        origin: Origin = NO_ORIGIN,
        agent: str | None = None,
        device: Secret | None = None,
    ) -> Admitted:
        """Begins a session. Invalid, alike for all, where they do not fit; RateLimited where one has to wait."""
        found = self._proofs.by_password(email, password, origin.address, device)
        return self._admit(found, Browser(origin, agent, device))

    @anew
    def reauthenticate(
        self, secret: Secret, password: Password, origin: Origin = NO_ORIGIN
    ) -> Admitted:
        """Proves anew who they are: the same session, fresh, under a new secret. SessionEnded, Invalid, RateLimited."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            session = require_standing(tx, secret, self._clock.now())
            stored = users.password_hash_of(tx, session.user_id)
        if stored is None:
            raise Invalid.field("/password", "is not set for this account; use a one-time link")
        self._proofs.again(secret, session, stored, password, "/password")
        return self._freshen(secret, origin)

    @anew
    def visitor(self, secret: Secret) -> Visitor | None:
        """Who is signed in; None where the session has ended or never was."""
        digest = secret.fingerprint()
        with self._database.read_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            session = rows.find_session(tx, digest)
            if session is None or not session.is_active(now):
                return None
            members = workspaces.memberships_of(tx, session.user_id)
            user = members[0].user if members else users.get_user(tx, session.user_id)
        if session.needs_touch(now):
            with suppress(
                StorageError
            ):  # who may read goes on reading where nothing can be written
                self._touch(digest, now)
        return Visitor(session, user, proven(members, session))

    def memberships(self, secret: Secret) -> list[Member]:
        """Where the session's person is a member, the oldest workspace first; none where the session has ended."""
        visitor = self.visitor(secret)
        return visitor.members if visitor else []

    def member(self, secret: Secret, workspace_id: WorkspaceId) -> Member:
        """The session's person as a member of that workspace; NotFound where they are none."""
        for member in self.memberships(secret):
            if member.workspace_id == workspace_id:
                return member
        raise NotFound("There is no such workspace.")

    @anew
    def sign_out(self, secret: Secret, origin: Origin = NO_ORIGIN) -> None:
        """Ends the session at once; again, nothing happens."""
        with self._database.write_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            session = rows.find_session(tx, secret.fingerprint())
            if session is None or not session.is_active(now):
                return
            rows.end_session(tx, secret.fingerprint(), now)
            members = workspaces.memberships_of(tx, session.user_id)
            record(tx, members, EventType.MEMBER_SIGNED_OUT, now, origin)

    @anew
    def _admit(self, found: Proven, browser: Browser) -> Admitted:
        user = found.account.user
        with self._database.write_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            self._proofs.settle(tx, found)
            members = workspaces.memberships_of(tx, user.id)
            opened, session = begin(tx, user.id, browser, now, AuthenticationMethod.PASSWORD)
            known = remember_device(tx, user.id, browser.device, now)
            told: dict[str, object] = {"by": AuthenticationMethod.PASSWORD}
            if found.wrong_before:
                told["wrong_passwords_before"] = found.wrong_before
            record(tx, members, EventType.MEMBER_SIGNED_IN, now, browser.origin, told)
        return Admitted(opened, user, proven(members, session), known)

    @anew
    def _freshen(self, secret: Secret, origin: Origin) -> Admitted:
        with self._database.write_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            session = require_standing(tx, secret, now)
            session = replace(
                session,
                signed_in_at=now,
                seen_at=now,
                proven_by=AuthenticationMethod.PASSWORD,
            )
            renewed = renew(tx, secret, session)
            members = workspaces.memberships_of(tx, session.user_id)
            user = users.get_user(tx, session.user_id)
            told = {"by": AuthenticationMethod.PASSWORD, "again": True}
            record(tx, members, EventType.MEMBER_SIGNED_IN, now, origin, told)
        return Admitted(renewed, user, proven(members, session))

    @anew
    def _touch(self, digest: bytes, now: datetime) -> None:
        with self._database.write_across(Purpose.PEOPLE) as tx:
            rows.touch_session(tx, digest, now)


def _welcome(tx: Tx, user: User, device: Secret | None, now: datetime) -> Secret | None:
    """Whoever comes by a one-time link is known from now on, and strangers' wrong passwords are forgotten."""
    if user.is_of_portal:
        return None
    if user.email is not None:
        throttles.delete_failures(tx, account_subject(fold_email(user.email)))
    return remember_device(tx, user.id, device, now)
