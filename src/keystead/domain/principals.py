"""Who acts: a key, a member, an operator or the system; always within one workspace, operators aside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from keystead.domain.errors import Forbidden, InsufficientScope, ReauthenticationRequired
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.roles import PERMISSIONS, ROLE_SCOPES, Permission, may
from keystead.domain.scopes import EVERYTHING, KEYS_WRITE, Scopes
from keystead.domain.sessions import Authentication
from keystead.domain.step_up import SensitiveAction
from keystead.domain.workspaces import Member, Role


class PrincipalKind(StrEnum):
    """The kinds of principals, as events and `created_by` name them."""

    KEY = "key"
    MEMBER = "member"
    OPERATOR = "operator"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, as it is recorded: `id` is a key id, a user id, or a name of the installation."""

    kind: PrincipalKind
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts, where, and with which rights. `role` and `proof` are a member's; `expires_at` a key's."""

    kind: PrincipalKind
    id: str
    name: str
    workspace_id: WorkspaceId
    scopes: Scopes
    expires_at: datetime | None = None
    role: Role | None = None
    authentication: Authentication | None = None

    @property
    def actor(self) -> Actor:
        """This principal as it is recorded."""
        return Actor(self.kind, self.id, self.name)

    @property
    def is_key(self) -> bool:
        """Whether a key acts, and not a person or the installation."""
        return self.kind is PrincipalKind.KEY

    def require(self, scope: str) -> None:
        """InsufficientScope (for members Forbidden) unless this principal holds `scope`.

        A member must hold it by name: the `*` of a role is what its keys may be given, and no right of its own.
        """
        if self.role is None:
            if not self.scopes.permit(scope):
                raise InsufficientScope(scope)
        elif scope not in set(self.scopes):
            raise Forbidden(scope, f"The role {self.role} does not allow this ({scope}).")

    def may(self, permission: Permission) -> bool:
        """Whether it may do what only people do: a member by their role, a key never, the installation always."""
        if self.role is not None:
            return may(self.role, permission)
        return not self.is_key

    def require_permission(self, permission: Permission) -> None:
        """Forbidden unless this principal has that permission."""
        if not self.may(permission):
            who = "A key" if self.role is None else f"The role {self.role}"
            words = PERMISSIONS[permission].words
            raise Forbidden(
                permission, f"{who} does not allow this: {words[0].lower()}{words[1:]}."
            )

    def require_recent_authentication(self, act: SensitiveAction, now: datetime) -> None:
        """Raise ReauthenticationRequired for a member whose last proof of identity is 15 minutes old; keys need none."""
        if self.role is None or (
            self.authentication is not None and self.authentication.is_recent(now)
        ):
            return
        raise ReauthenticationRequired(
            act, self.authentication.return_url if self.authentication else None
        )

    @property
    def manages_every_key(self) -> bool:
        """Whether keys that others made may be changed and ended too: all but developers and viewers."""
        return self.role is None or may(self.role, Permission.MANAGE_KEYS)

    def may_manage(self, maker: Actor) -> bool:
        """Whether this principal may change or end a key that `maker` made."""
        made_it = maker.kind is PrincipalKind.MEMBER and maker.id == self.id
        return made_it or self.manages_every_key


_ALL = Scopes([EVERYTHING, KEYS_WRITE])


def of_key(
    key_id: KeyId,
    description: str,
    workspace_id: WorkspaceId,
    scopes: Scopes,
    expires_at: datetime | None,
) -> Principal:
    """The principal of a verified key."""
    return Principal(PrincipalKind.KEY, key_id, description, workspace_id, scopes, expires_at)


def of_member(member: Member) -> Principal:
    """The principal of a signed-in member, with the rights of their role."""
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
    """Who runs the installation, acting on one workspace: by the command line, or with the credential of that id."""
    return Principal(PrincipalKind.OPERATOR, id or name, name, workspace_id, _ALL)


def system(workspace_id: WorkspaceId) -> Principal:
    """The installation itself: set-up, housekeeping, expiry."""
    return Principal(PrincipalKind.SYSTEM, "keystead", "Keystead", workspace_id, _ALL)
