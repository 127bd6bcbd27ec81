"""Portal sessions: the product vouches for its own user, who gets a one-time link into the Developer area."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from keystead.domain.credentials import ActingCredential
from keystead.domain.errors import NotFound
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin, Target
from keystead.domain.ids import UserId, is_id, new_id
from keystead.domain.portal import PortalRequest, check_portal_request
from keystead.domain.sessions import PORTAL_LINK_LIFETIME, LinkPurpose, SignInLink
from keystead.domain.token import Secret
from keystead.domain.workspaces import Member, User
from keystead.services.authorization import Authorization
from keystead.services.limits import tells_of_limits
from keystead.services.membership import add_member, revoke_invitations_of
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import anew
from keystead.storage.tables import events, sessions, users, workspaces


class PortalSessions:
    """The product's word counts for who its users are and what they may do; it makes no owners."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        origins: Collection[str] = (),
        plans_url: str | None = None,
    ) -> None:
        """`origins`: where users may be sent back to, such as `https://app.example.com`."""
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)
        self._origins = tuple(origins)
        self._plans_url = plans_url

    @anew
    def create(
        self, operator: ActingCredential, request: PortalRequest, origin: Origin = NO_ORIGIN
    ) -> tuple[Secret, datetime]:
        """A secret that signs the product's user in once, and until when: five minutes.

        The user is the one of that id in that workspace, made or made a member where there is none; name, address and
        role become what the product says. NotFound, Invalid, LimitReached.
        """
        check_portal_request(request, self._origins)
        if not is_id("ws", request.workspace_id):
            raise NotFound("There is no such workspace.")
        secret = Secret.fresh()
        with (
            tells_of_limits(
                self._database, self._clock, request.workspace_id, operator.actor, origin
            ),
            self._authorization.changing(operator.within(request.workspace_id), origin) as (
                tx,
                _,
                act,
            ),
        ):
            user = _known(tx, request, act)
            self._make_member(tx, Member(request.workspace_id, user, request.role, act.at), act)
            link = SignInLink(
                request.workspace_id,
                user.id,
                act.at + PORTAL_LINK_LIFETIME,
                LinkPurpose.PORTAL,
                request.return_url,
            )
            sessions.insert_link(tx, secret.fingerprint(), link, act.at)
        return secret, link.expires_at

    def _make_member(self, tx: Tx, member: Member, act: Act) -> None:
        found = workspaces.find_member(tx, member.workspace_id, member.user.id)
        if found is None:
            add_member(tx, member, act, {"by": "portal"}, self._plans_url)
        elif found.role is not member.role:
            workspaces.set_role(tx, member.workspace_id, member.user.id, member.role)
            revoke_invitations_of(tx, member, member.role, act)
            told = {"name": member.user.name, "from": found.role, "to": member.role}
            target = Target("member", member.user.id)
            type = EventType.MEMBER_ROLE_CHANGED
            events.append_event(tx, member.workspace_id, type, act, target, told)


def _known(tx: Tx, request: PortalRequest, act: Act) -> User:
    """The user with the name and the address of now."""
    told = request.user
    confirmed_at = None if told.email is None else act.at  # the product vouches for it
    found = users.find_portal_user(tx, request.workspace_id, told.id)
    if found is None:
        user = User(
            UserId(new_id("usr", act.at)),
            told.name,
            told.email,
            act.at,
            portal_workspace_id=request.workspace_id,
            email_confirmed_at=confirmed_at,
        )
        users.insert_user(tx, user, portal_user_id=told.id)
        return user
    if (found.name, found.email) == (told.name, told.email):
        return found
    user = replace(found, name=told.name, email=told.email, email_confirmed_at=confirmed_at)
    users.refresh_portal_user(tx, user)
    return user
