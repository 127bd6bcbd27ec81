"""Invitations: made, listed, revoked, and accepted by who holds the link, as a new user or as one who is signed in."""

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
from keystead.services.limits import tells_of_limits
from keystead.services.membership import (
    add_member,
    record_invitation,
    require_proof_for_roles,
    revoke_invitation,
)
from keystead.services.passwords import Passwords
from keystead.services.sessions import (
    Browser,
    SignedIn,
    begin,
    record,
    remember_device,
    require_standing,
)
from keystead.services.throttle import Throttle
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import anew
from keystead.storage.tables import invitations as rows
from keystead.storage.tables import users, workspaces


@dataclass(frozen=True, slots=True)
class InvitationPage:
    """Invitations, newest first; `next` is the id to continue after, None at the end."""

    invitations: list[Invitation]
    next: InvitationId | None


@dataclass(frozen=True, slots=True)
class OpenInvitation:
    """An invitation that can be accepted, and where it leads."""

    invitation: Invitation
    workspace: Workspace


class Invitations:
    """No mail is sent: the link is shown once to who invites, and whoever holds it may accept.

    The plan's limit of members counts when one is accepted, and not before.
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

    @anew
    def invite(
        self, principal: Principal, email: str, role: Role, origin: Origin = NO_ORIGIN
    ) -> tuple[Secret, Invitation]:
        """Make a one-time link for seven days, which replaces an open one of the same address.

        Forbidden if the replaced one makes an owner and the principal may not revoke it.
        """
        check_email(email)
        secret = Secret.fresh()
        needed = permission_to_assign(role)
        with self._authorization.changing(principal, origin, needed) as (tx, acting, act):
            if workspaces.find_member_by_email(tx, principal.workspace_id, email):
                raise Invalid.field("/email", "is a member already")
            require_proof_for_roles(principal, None, role, act.at)
            self._replace_open(tx, acting, email, act)
            invitation = _draft(principal, email, role, act.at)
            rows.insert_invitation(tx, secret.fingerprint(), invitation)
            record_invitation(tx, EventType.MEMBER_INVITED, invitation, act)
        return secret, invitation

    @anew
    def list(
        self, principal: Principal, *, limit: int = 50, before: InvitationId | None = None
    ) -> InvitationPage:
        """One page of invitations, open or not, newest first."""
        principal.require_permission(Permission.MANAGE_MEMBERS)
        workspace_id = principal.workspace_id
        with self._database.read(workspace_id) as tx:
            found = rows.page_of_invitations(tx, workspace_id, limit=limit + 1, before=before)
        page = found[:limit]
        return InvitationPage(page, page[-1].id if len(found) > limit else None)

    @anew
    def get(self, principal: Principal, invitation_id: InvitationId) -> Invitation:
        """One invitation, open or not; NotFound for what is none here."""
        principal.require_permission(Permission.MANAGE_MEMBERS)
        with self._database.read(principal.workspace_id) as tx:
            found = rows.find_invitation(tx, principal.workspace_id, invitation_id)
        if found is None:
            raise NotFound("There is no such invitation.")
        return found

    @anew
    def revoke(
        self, principal: Principal, invitation_id: InvitationId, origin: Origin = NO_ORIGIN
    ) -> Invitation:
        """Ends an open invitation, at once; nothing happens to one that was not open."""
        needed = Permission.MANAGE_MEMBERS
        with self._authorization.changing(principal, origin, needed) as (tx, acting, act):
            named = is_id("inv", invitation_id)
            found = None
            if named:
                found = rows.find_invitation(tx, principal.workspace_id, invitation_id)
            if found is None:
                raise NotFound("There is no such invitation.")
            acting.require_permission(permission_to_assign(found.role))
            return revoke_invitation(tx, found, act)

    @anew
    def find(self, link: Secret) -> OpenInvitation:
        """What the link invites to; it is not used up. Invalid for one that does not stand."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            invitation = _open_of(tx, link, self._clock.now())
            return OpenInvitation(invitation, _workspace(tx, invitation.workspace_id))

    def accept(
        self,
        link: Secret,
        name: str,
        password: Password | None = None,
        origin: Origin = NO_ORIGIN,
        agent: str | None = None,
        device: Secret | None = None,
    ) -> SignedIn:
        """Makes the user with the invitation's address, and signs them in. EmailTaken: they sign in, and join."""
        check_name(name)
        opened = self.find(link)
        hashed = None if password is None else self._hash(opened, name, password)
        browser = Browser(origin, agent, device)
        return self._accept(link, opened.workspace.id, name, hashed, browser)

    def _hash(self, opened: OpenInvitation, name: str, password: Password) -> str:
        """Hash the password of a new person; what costs little to refuse is refused first."""
        invitation, workspace = opened.invitation, opened.workspace
        check_length(password)
        self._require_free(invitation.email)
        self._throttle.keep_pace(
            new_password_subject(invitation.id), NEW_PASSWORD, "passwords with one invitation"
        )
        context = [name, invitation.email, workspace.name]
        return self._passwords.hash(password, context, owner=workspace.id)

    @anew
    def _require_free(self, email: str) -> None:
        with self._database.read_across(Purpose.PEOPLE) as tx:
            if users.find_account(tx, email) is not None:
                raise EmailTaken

    @anew
    def _accept(
        self,
        link: Secret,
        workspace_id: WorkspaceId,
        name: str,
        hashed: str | None,
        browser: Browser,
    ) -> SignedIn:
        origin, device = browser.origin, browser.device
        with (
            self._telling(workspace_id, origin),
            self._database.write_across(Purpose.PEOPLE, locks=workspace_id) as tx,
        ):
            now = self._clock.now()
            set_at = now if hashed else None
            email = _open_of(tx, link, now).email
            user = User(
                UserId(new_id("usr", now)),
                name,
                email,
                now,
                password_set_at=set_at,
                email_confirmed_at=now,
            )
            users.insert_user(tx, user, password_hash=hashed)
            member = self._admit(tx, link, user, _own_act(user, now, origin))
            secret, session = begin(tx, user.id, browser, now, AuthenticationMethod.INVITATION)
            known = remember_device(tx, user.id, device, now)
            told: dict[str, object] = {"by": AuthenticationMethod.INVITATION}
            record(tx, [member], EventType.MEMBER_SIGNED_IN, now, origin, told)
        return SignedIn(secret, replace(member, authentication=session.authentication), known)

    @anew
    def join(self, link: Secret, session: Secret, origin: Origin = NO_ORIGIN) -> Member:
        """Makes the signed-in person a member, whatever their address: the link is what counts."""
        workspace_id = self.find(link).workspace.id
        with (
            self._telling(workspace_id, origin),
            self._database.write_across(Purpose.PEOPLE, locks=workspace_id) as tx,
        ):
            now = self._clock.now()
            standing = require_standing(tx, session, now)
            user = users.get_user(tx, standing.user_id)
            if user.is_of_portal:
                raise Forbidden(Permission.READ, "A user of the product belongs to one workspace.")
            if workspaces.find_member(tx, workspace_id, user.id):
                raise Invalid.field("/link", "leads to a workspace that you are a member of")
            member = self._admit(tx, link, user, _own_act(user, now, origin))
        return replace(member, authentication=standing.authentication)

    def _telling(self, workspace_id: WorkspaceId, origin: Origin) -> AbstractContextManager[None]:
        """Who is refused for want of room is nobody of the workspace: the system tells."""
        actor = system(workspace_id).actor
        return tells_of_limits(self._database, self._clock, workspace_id, actor, origin)

    def _replace_open(self, tx: Tx, acting: Principal, email: str, act: Act) -> None:
        found = rows.open_invitations(tx, acting.workspace_id, act.at)
        same = [one for one in found if fold_email(one.email) == fold_email(email)]
        for invitation in same:
            # Replacing an invitation revokes it, which takes the right to appoint its role.
            acting.require_permission(permission_to_assign(invitation.role))
            revoke_invitation(tx, invitation, act)
        require_few_open(len(found) - len(same))

    def _admit(self, tx: Tx, link: Secret, user: User, act: Act) -> Member:
        """Uses the link up and makes the member, if the plan has room. The lock is held."""
        accepted = rows.accept_invitation(tx, link.fingerprint(), user.id, act.at)
        if accepted is None:
            raise _spent()
        if user.email is not None and fold_email(accepted.email) == fold_email(user.email):
            users.confirm_email(tx, user.id, act.at)
        told = {"invitation": accepted.id, "invited_by": accepted.invited_by.name}
        member = Member(accepted.workspace_id, user, accepted.role, act.at)
        add_member(tx, member, act, told, self._plans_url)
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


def _open_of(tx: Tx, link: Secret, now: datetime) -> Invitation:
    invitation = rows.invitation_of_link(tx, link.fingerprint())
    if invitation is None or invitation.status(now) is not InvitationStatus.OPEN:
        raise _spent()
    return invitation


def _workspace(tx: Tx, workspace_id: WorkspaceId) -> Workspace:
    workspace = workspaces.find_workspace(tx, workspace_id)
    if workspace is None:
        raise _spent()
    return workspace


def _spent() -> Invalid:
    return Invalid.field(
        "/link", "was used, was revoked, has expired or never was; ask for a new one"
    )
