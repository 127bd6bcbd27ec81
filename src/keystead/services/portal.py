"""Portal sessions: the product vouches for its own user, who gets a one-time link into the Developer area."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from keystead.domain.credentials import ActingCredential
from keystead.domain.errors import NotFound
from keystead.domain.events import NO_ORIGIN, Origin
from keystead.domain.ids import is_id
from keystead.domain.portal import PortalRequest, check_portal_request
from keystead.domain.sessions import PORTAL_LINK_LIFETIME, LinkPurpose, SignInLink
from keystead.domain.token import Secret
from keystead.services.authorization import Authorization
from keystead.services.members import put_portal_member
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import sessions


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
        become those of the request. An owner stays one: only the operator's calls for members change who owns a
        workspace.

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
            member, _ = put_portal_member(
                tx,
                principal,
                request.user,
                request.role,
                act,
                self._plans_url,
                keeps_owner=True,
                by="portal",
            )
            link = SignInLink(
                request.workspace_id,
                member.user.id,
                act.at + PORTAL_LINK_LIFETIME,
                LinkPurpose.PORTAL,
                request.return_url,
            )
            sessions.insert_link(tx, secret.fingerprint(), link, act.at)
        return secret, link.expires_at
