"""Invitations: create, list, revoke; accept with the link, as a new user or as one who is signed in."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime

from keystead.domain.errors import EmailTaken, Forbidden, Invalid, NotFound
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin
from keystead.domain.ids import InvitationId, UserId, WorkspaceId, is_id, new_id
from keystead.domain.invitations import (
    INVITATION_LIFETIME,
    Invitation,
    InvitationStatus,
    require_few_open,
)
from keystead.domain.passwords import Password, check_length
from keystead.domain.principals import Actor, Principal, PrincipalKind, system
from keystead.domain.roles import Permission, permission_to_assign
from keystead.domain.sessions import AuthenticationMethod
from keystead.domain.throttle import NEW_PASSWORD, new_password_subject
from keystead.domain.token import Secret
from keystead.domain.users import check_email, fold_email
from keystead.domain.workspaces import Member, Role, User, Workspace, check_name
from keystead.services.authorization import Authorization
from keystead.services.members import (
    add_member,
    record_invitation,
    require_proof_for_roles,
    revoke_invitation,
)
from keystead.services.paging import Page, page_of
from keystead.services.passwords import Passwords
from keystead.services.sessions import (
    Browser,
    SignedIn,
    record,
    remember_device,
    require_session,
    start_session,
)
from keystead.services.throttle import Throttle
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import invitations as rows
from keystead.storage.tables import users, workspaces


@dataclass(frozen=True, slots=True)
class OpenInvitation:
    """An invitation that can be accepted, and its workspace."""

    invitation: Invitation
    workspace: Workspace


class Invitations:
    """Invitations by link. No mail is sent: the link is shown once to the inviter, and its holder may accept.

    The plan's limit of members counts at acceptance, not before.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        passwords: Passwords,
        *,
        plans_url: str | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)
        self._passwords = passwords
        self._throttle = Throttle(database, clock)
        self._plans_url = plans_url

    @retry_on_conflict
    def invite(
        self, principal: Principal, email: str, role: Role, origin: Origin = NO_ORIGIN
    ) -> tuple[Secret, Invitation]:
        """Create a one-time link for seven days, which replaces an open one of the same address.

        Raises Forbidden if the replaced one makes an owner and the principal may not revoke it.
        """
        check_email(email)
        secret = Secret.fresh()
        with self._authorization.changing(principal, origin, permission_to_assign(role)) as (
            tx,
            act,
        ):
            if workspaces.find_member_by_email(tx, principal.workspace_id, email):
                raise Invalid.field("/email", "is a member already")
            require_proof_for_roles(principal, None, role, act.at)
            self._replace_open(tx, act.principal, email, act)
            invitation = _draft(principal, email, role, act.at)
            rows.insert_invitation(tx, secret.fingerprint(), invitation)
            record_invitation(tx, EventType.MEMBER_INVITED, invitation, act)
        return secret, invitation

    @retry_on_conflict
    def list(
        self, principal: Principal, *, limit: int = 50, before: InvitationId | None = None
    ) -> Page[Invitation, InvitationId]:
        """Return one page of invitations, open or not, newest first."""
        principal.require_permission(Permission.MANAGE_MEMBERS)
        with self._database.read_once(principal.workspace_id) as tx:
            invitations = rows.page_of_invitations(
                tx, principal.workspace_id, limit=limit + 1, before=before
            )
        return page_of(invitations, limit, lambda invitation: invitation.id)

    @retry_on_conflict
    def get(self, principal: Principal, invitation_id: InvitationId) -> Invitation:
        """Return one invitation, open or not. Raises NotFound."""
        principal.require_permission(Permission.MANAGE_MEMBERS)
        with self._database.read_once(principal.workspace_id) as tx:
            return _find(tx, principal, invitation_id)

    @retry_on_conflict
    def revoke(
        self, principal: Principal, invitation_id: InvitationId, origin: Origin = NO_ORIGIN
    ) -> Invitation:
        """Revoke an open invitation immediately; nothing happens to one that isn't open."""
        with self._authorization.changing(principal, origin, Permission.MANAGE_MEMBERS) as (
            tx,
            act,
        ):
            invitation = _find(tx, principal, invitation_id)
            act.principal.require_permission(permission_to_assign(invitation.role))
            return revoke_invitation(tx, invitation, act)

    @retry_on_conflict
    def find(self, link: Secret) -> OpenInvitation:
        """Return the link's invitation without using it up. Raises Invalid if it isn't open."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            invitation = _find_open(tx, link, self._clock.now())
            workspace = workspaces.find_workspace(tx, invitation.workspace_id)
        if workspace is None:
            raise _not_open()
        return OpenInvitation(invitation, workspace)

    def accept(
        self,
        link: Secret,
        name: str,
        password: Password | None = None,
        origin: Origin = NO_ORIGIN,
        agent: str | None = None,
        device: Secret | None = None,
        time_zone: str = "",
    ) -> SignedIn:
        """Create the user with the invitation's address, and sign them in.

        Raises:
            EmailTaken: The address has an account: its user signs in, and joins.
        """
        check_name(name)
        opened = self.find(link)
        hashed = None if password is None else self._hash(opened, name, password)
        browser = Browser(origin, agent, device, time_zone)
        return self._accept(link, opened.workspace.id, name, hashed, browser)

    def _hash(self, opened: OpenInvitation, name: str, password: Password) -> str:
        invitation, workspace = opened.invitation, opened.workspace
        # Hashing is slow, so everything that can be refused cheaply comes before it.
        check_length(password)
        self._require_free(invitation.email)
        self._throttle.require_rate(
            new_password_subject(invitation.id), NEW_PASSWORD, "passwords with one invitation"
        )
        context = [name, invitation.email, workspace.name]
        return self._passwords.hash(password, context, owner=workspace.id)

    @retry_on_conflict
    def _require_free(self, email: str) -> None:
        with self._database.read_across(Purpose.PEOPLE) as tx:
            if users.find_account(tx, email) is not None:
                raise EmailTaken

    @retry_on_conflict
    def _accept(
        self,
        link: Secret,
        workspace_id: WorkspaceId,
        name: str,
        hashed: str | None,
        browser: Browser,
    ) -> SignedIn:
        with (
            self._reporting_limits(workspace_id, browser.origin),
            self._database.write_across(Purpose.PEOPLE, locks=workspace_id) as tx,
        ):
            now = self._clock.now()
            user = User(
                UserId(new_id("usr", now)),
                name,
                _find_open(tx, link, now).email,
                now,
                password_set_at=now if hashed else None,
                email_confirmed_at=now,
            )
            users.insert_user(tx, user, password_hash=hashed)
            member = self._admit(tx, link, user, _own_act(user, now, browser.origin))
            secret, session = start_session(tx, user, browser, now, AuthenticationMethod.INVITATION)
            device = remember_device(tx, user.id, browser.device, now)
            data = {"by": AuthenticationMethod.INVITATION}
            record(tx, [member], EventType.MEMBER_SIGNED_IN, now, browser.origin, data)
        return SignedIn(secret, replace(member, authentication=session.authentication), device)

    @retry_on_conflict
    def join(self, link: Secret, session_secret: Secret, origin: Origin = NO_ORIGIN) -> Member:
        """Make the signed-in user a member, whatever their address: the link is the proof."""
        workspace_id = self.find(link).workspace.id
        with (
            self._reporting_limits(workspace_id, origin),
            self._database.write_across(Purpose.PEOPLE, locks=workspace_id) as tx,
        ):
            now = self._clock.now()
            session = require_session(tx, session_secret, now)
            user = users.get_user(tx, session.user_id)
            if user.is_of_portal:
                raise Forbidden(Permission.READ, "A user of the product belongs to one workspace.")
            if workspaces.find_member(tx, workspace_id, user.id):
                raise Invalid.field("/link", "leads to a workspace that you are a member of")
            member = self._admit(tx, link, user, _own_act(user, now, origin))
        return replace(member, authentication=session.authentication)

    def _reporting_limits(
        self, workspace_id: WorkspaceId, origin: Origin
    ) -> AbstractContextManager[None]:
        # The refused user is not a member, so the event's actor is the system.
        actor = system(workspace_id).actor
        return self._authorization.reporting_limits(workspace_id, actor, origin)

    def _replace_open(self, tx: Tx, principal: Principal, email: str, act: Act) -> None:
        invitations = rows.open_invitations(tx, principal.workspace_id, act.at)
        same = [one for one in invitations if fold_email(one.email) == fold_email(email)]
        for invitation in same:
            # Replacing an invitation revokes it, which takes the right to appoint its role.
            principal.require_permission(permission_to_assign(invitation.role))
            revoke_invitation(tx, invitation, act)
        require_few_open(len(invitations) - len(same))

    def _admit(self, tx: Tx, link: Secret, user: User, act: Act) -> Member:
        """Use the link up and add the member, if the plan has room. The lock is held."""
        accepted = rows.accept_invitation(tx, link.fingerprint(), user.id, act.at)
        if accepted is None:
            raise _not_open()
        if user.email is not None and fold_email(accepted.email) == fold_email(user.email):
            users.confirm_email(tx, user.id, act.at)
        data = {"invitation": accepted.id, "invited_by": accepted.invited_by.name}
        member = Member(accepted.workspace_id, user, accepted.role, act.at)
        add_member(tx, member, act, data, self._plans_url)
        return member


def _draft(principal: Principal, email: str, role: Role, now: datetime) -> Invitation:
    return Invitation(
        id=InvitationId(new_id("inv", now)),
        workspace_id=principal.workspace_id,
        email=email,
        role=role,
        invited_by=principal.actor,
        created_at=now,
        expires_at=now + INVITATION_LIFETIME,
    )


def _own_act(user: User, now: datetime, origin: Origin) -> Act:
    return Act(Actor(PrincipalKind.MEMBER, user.id, user.name), now, origin)


def _find(tx: Tx, principal: Principal, invitation_id: InvitationId) -> Invitation:
    invitation = None
    if is_id("inv", invitation_id):
        invitation = rows.find_invitation(tx, principal.workspace_id, invitation_id)
    return NotFound.unless(invitation, "invitation")


def _find_open(tx: Tx, link: Secret, now: datetime) -> Invitation:
    invitation = rows.invitation_of_link(tx, link.fingerprint())
    if invitation is None or invitation.status(now) is not InvitationStatus.OPEN:
        raise _not_open()
    return invitation


def _not_open() -> Invalid:
    return Invalid.field(
        "/link", "was used, was revoked, has expired or never was; ask for a new one"
    )
