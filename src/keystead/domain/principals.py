"""Principals: a key, a member, an operator or the system, each within one workspace."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from keystead.domain.errors import Forbidden, InsufficientScope, ReauthenticationRequired
from keystead.domain.ids import WorkspaceId
from keystead.domain.key_metadata import Metadata
from keystead.domain.networks import ANYWHERE, Networks
from keystead.domain.renewals import Renewal
from keystead.domain.roles import PERMISSIONS, ROLE_SCOPES, Permission, may
from keystead.domain.scopes import EVERYTHING, KEYS_WRITE, Scopes
from keystead.domain.sessions import Authentication
from keystead.domain.step_up import SensitiveAction
from keystead.domain.workspaces import Member, Role


class PrincipalKind(StrEnum):
    """The kinds of principals in events and in `created_by`."""

    KEY = "key"
    MEMBER = "member"
    OPERATOR = "operator"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """A principal as events record it: `id` is a key id, a user id, a credential's id or a name of the installation."""

    kind: PrincipalKind
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts, in which workspace, with which scopes. Members have `role` and `authentication`, keys `expires_at`.

    `networks`, `renewal` and `metadata` are a key's. No decision depends on its metadata: it is a label.
    """

    kind: PrincipalKind
    id: str
    name: str
    workspace_id: WorkspaceId
    scopes: Scopes
    expires_at: datetime | None = None
    role: Role | None = None
    authentication: Authentication | None = None
    networks: Networks = ANYWHERE
    renewal: Renewal | None = None
    metadata: Metadata = field(default_factory=dict, hash=False)

    @classmethod
    def of_key(
        cls,
        id: str,
        name: str,
        workspace_id: str,
        scopes: Scopes,
        expires_at: datetime | None = None,
        networks: Networks = ANYWHERE,
        metadata: Metadata = MappingProxyType({}),
        renewal: Renewal | None = None,
    ) -> Principal:
        """Return the principal of a verified key. Applications create one for their tests.

        Args:
            id: The key's id, `key_...`.
            name: The key's description.
            workspace_id: The workspace of the key, which is the tenant.
            scopes: What the key may do.
            expires_at: When the key expires, aware; None: never.
            networks: Where the key works from.
            metadata: The key's labels.
            renewal: Until when the key may renew itself.
        """
        return cls(
            PrincipalKind.KEY,
            id,
            name,
            WorkspaceId(workspace_id),
            scopes,
            expires_at,
            networks=networks,
            metadata=dict(metadata),
            renewal=renewal,
        )

    @property
    def actor(self) -> Actor:
        """Return this principal as events record it."""
        return Actor(self.kind, self.id, self.name)

    @property
    def is_key(self) -> bool:
        """Return whether the principal is a key, not a person or the installation."""
        return self.kind is PrincipalKind.KEY

    @property
    def is_operator(self) -> bool:
        """Return whether the principal is an operator of the installation."""
        return self.kind is PrincipalKind.OPERATOR

    def require(self, scope: str) -> None:
        """Raise InsufficientScope (Forbidden for members) unless this principal has `scope`.

        A member must have it by name: the `*` of a role applies only to the keys that it may create.
        """
        if self.role is None:
            if not self.scopes.permit(scope):
                raise InsufficientScope(scope)
        elif scope not in set(self.scopes):
            raise Forbidden(scope, f"The role {self.role} does not allow this ({scope}).")

    def may(self, permission: Permission) -> bool:
        """Return whether it has a permission of people: a member by role, a key never, the installation always."""
        if self.role is not None:
            return may(self.role, permission)
        return not self.is_key

    def require_permission(self, permission: Permission) -> None:
        """Raise Forbidden unless this principal has that permission."""
        if not self.may(permission):
            who = "A key" if self.role is None else f"The role {self.role}"
            label = PERMISSIONS[permission].label
            raise Forbidden(
                permission, f"{who} does not allow this: {label[0].lower()}{label[1:]}."
            )

    def require_recent_authentication(self, action: SensitiveAction, now: datetime) -> None:
        """Raise ReauthenticationRequired for a member who signed in 15 or more minutes ago. Keys are exempt."""
        last = self.authentication
        if self.role is not None and not (last and last.is_recent(now)):
            raise ReauthenticationRequired(action, last.return_url if last else None)

    @property
    def manages_every_key(self) -> bool:
        """Return whether it may change and revoke other people's keys: all except developers and viewers."""
        return self.role is None or may(self.role, Permission.MANAGE_KEYS)

    def may_manage(self, creator: Actor) -> bool:
        """Return whether this principal may change or revoke a key that `creator` created."""
        is_creator = creator.kind is PrincipalKind.MEMBER and creator.id == self.id
        return is_creator or self.manages_every_key


_ALL = Scopes([EVERYTHING, KEYS_WRITE])


def of_member(member: Member) -> Principal:
    """Return the principal of a signed-in member, with the scopes of their role."""
    return Principal(
        PrincipalKind.MEMBER,
        member.user.id,
        member.user.name,
        member.workspace_id,
        ROLE_SCOPES[member.role],
        role=member.role,
        authentication=member.authentication,
    )


def operator(name: str, workspace_id: WorkspaceId, *, id: str | None = None) -> Principal:
    """Return an operator within one workspace: the command line, or the credential with that id."""
    return Principal(PrincipalKind.OPERATOR, id or name, name, workspace_id, _ALL)


def system(workspace_id: WorkspaceId) -> Principal:
    """Return the installation itself, as the principal of set-up, housekeeping and expiry."""
    return Principal(PrincipalKind.SYSTEM, "system", "System", workspace_id, _ALL)
