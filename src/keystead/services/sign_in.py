"""Signing in to the Developer area: one-time links, sessions, and which member acts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from keystead.domain.errors import Invalid, NotFound, StorageError
from keystead.domain.events import NOWHERE, Act, EventType, Origin, Target
from keystead.domain.ids import WorkspaceId
from keystead.domain.principals import of_member
from keystead.domain.sessions import LINK_LIFETIME, Session, SignInLink
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member
from keystead.storage import events, workspaces
from keystead.storage import sessions as rows
from keystead.storage.clock import Clock
from keystead.storage.database import Database


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A fresh session's secret, for the cookie, and where the person lands."""

    secret: Secret
    member: Member


class SignIn:
    """Links are used once; sessions end by themselves, by signing out, and with the membership."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def make_link(self, member: Member) -> tuple[Secret, datetime]:
        """A secret that signs the member in once, and until when."""
        secret, now = Secret.fresh(), self._clock.now()
        link = SignInLink(member.workspace_id, member.user.id, now + LINK_LIFETIME)
        with self._database.write_across() as tx:
            rows.insert_link(tx, secret.fingerprint(), link, now)
        return secret, link.expires_at

    def redeem(
        self, secret: Secret, origin: Origin = NOWHERE, agent: str | None = None
    ) -> SignedIn:
        """Uses a link up and begins a session. Invalid for a link that was used, has expired or never was."""
        with self._database.write_across() as tx:
            now = self._clock.now()
            link = rows.consume_link(tx, secret.fingerprint(), now)
            if link is None:
                raise Invalid.field("/link", "was used, has expired or never was; get a new one")
            member = workspaces.find_member(tx, link.workspace_id, link.user_id)
            if member is None:
                raise Invalid.field("/link", "belongs to somebody who is no member any more")
            session = Secret.fresh()
            begun = Session(member.user.id, now, now, now, address=origin.address, agent=agent)
            rows.insert_session(tx, session.fingerprint(), begun)
            act = Act(of_member(member).actor, now, origin)
            target = Target("member", member.user.id)
            events.append_event(tx, member.workspace_id, EventType.MEMBER_SIGNED_IN, act, target)
        return SignedIn(session, member)

    def memberships(self, secret: Secret) -> list[Member]:
        """Where the session's person is a member, the oldest workspace first; none where the session has ended."""
        digest = secret.fingerprint()
        with self._database.read_across() as tx:
            now = self._clock.now()
            session = rows.find_session(tx, digest)
            if session is None or not session.stands(now):
                return []
            found = workspaces.memberships_of(tx, session.user_id)
        if session.needs_touch(now):
            with suppress(StorageError):  # who may read goes on reading where nothing can be written
                self._touch(digest, now)
        return found

    def member(self, secret: Secret, workspace_id: WorkspaceId) -> Member:
        """The session's person as a member of that workspace; NotFound where they are none."""
        for member in self.memberships(secret):
            if member.workspace_id == workspace_id:
                return member
        raise NotFound("There is no such workspace.")

    def sign_out(self, secret: Secret) -> None:
        """Ends the session at once; again, nothing happens."""
        with self._database.write_across() as tx:
            rows.end_session(tx, secret.fingerprint(), self._clock.now())

    def _touch(self, digest: bytes, now: datetime) -> None:
        with self._database.write_across() as tx:
            rows.touch_session(tx, digest, now)
