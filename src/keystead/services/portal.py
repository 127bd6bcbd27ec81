"""Portal sessions: the product vouches for its own user, who gets a one-time link into the Developer area."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from keystead.domain.credentials import ActingCredential
from keystead.domain.errors import NotFound
from keystead.domain.events import NO_ORIGIN, Act, Origin
from keystead.domain.ids import UserId, is_id, new_id
from keystead.domain.portal import PortalRequest, check_portal_request
from keystead.domain.sessions import PORTAL_LINK_LIFETIME, LinkPurpose, SignInLink
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member, User
from keystead.services.authorization import Authorization
from keystead.services.members import add_member, set_role
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import sessions, users, workspaces


class PortalSessions:
    """Sign-in links for the product's users. The product decides their name, email and role, but makes no owners."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        origins: Collection[str] = (),
        plans_url: str | None = None,
    ) -> None:
        """`origins`: where users may be sent back to, such as `https://app.example.com`."""
        self._authorization = Authorization(database, clock)
        self._origins = tuple(origins)
        self._plans_url = plans_url

    @retry_on_conflict
    def create(
        self, operator: ActingCredential, request: PortalRequest, origin: Origin = NO_ORIGIN
    ) -> tuple[Secret, datetime]:
        """Create a link that signs the product's user in once, within five minutes.

        The user of that id is created, or made a member of the workspace, if needed; their name, email and role
        become those of the request.

        Returns:
            The link's secret, and when it expires.

        Raises:
            NotFound: There is no such workspace.
            LimitReached: The plan has no room for another member.
        """
        check_portal_request(request, self._origins)
        if not is_id("ws", request.workspace_id):
            raise NotFound("There is no such workspace.")
        secret = Secret.fresh()
        principal = operator.within(request.workspace_id)
        with self._authorization.changing(principal, origin, keeps_access=True) as (tx, act):
            user = _update_user(tx, request, act)
            self._ensure_member(tx, Member(request.workspace_id, user, request.role, act.at), act)
            link = SignInLink(
                request.workspace_id,
                user.id,
                act.at + PORTAL_LINK_LIFETIME,
                LinkPurpose.PORTAL,
                request.return_url,
            )
            sessions.insert_link(tx, secret.fingerprint(), link, act.at)
        return secret, link.expires_at

    def _ensure_member(self, tx: Tx, member: Member, act: Act) -> None:
        current = workspaces.find_member(tx, member.workspace_id, member.user.id)
        if current is None:
            add_member(tx, member, act, {"by": "portal"}, self._plans_url)
        elif current.role is not member.role:
            set_role(tx, current, member.role, act)


def _update_user(tx: Tx, request: PortalRequest, act: Act) -> User:
    """Return the request's user with its name and email, after creating or updating the row."""
    wanted = request.user
    confirmed_at = None if wanted.email is None else act.at  # the product vouches for it
    user = users.find_portal_user(tx, request.workspace_id, wanted.id)
    if user is None:
        user = User(
            UserId(new_id("usr", act.at)),
            wanted.name,
            wanted.email,
            act.at,
            portal_workspace_id=request.workspace_id,
            email_confirmed_at=confirmed_at,
        )
        users.insert_user(tx, user, portal_user_id=wanted.id)
    elif (user.name, user.email) != (wanted.name, wanted.email):
        user = replace(user, name=wanted.name, email=wanted.email, email_confirmed_at=confirmed_at)
        users.refresh_portal_user(tx, user)
    return user
