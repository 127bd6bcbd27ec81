"""What each role may do: the one table, which services ask through the principal, and which people read on a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from keystead.domain import scopes
from keystead.domain.scopes import Scopes
from keystead.domain.workspaces import Role


class Permission(StrEnum):
    """What a member may be allowed to do."""

    READ = "read"
    WRITE_DOCUMENTS = "write_documents"
    MAKE_KEYS = "make_keys"
    MANAGE_KEYS = "manage_keys"
    MANAGE_WEBHOOKS = "manage_webhooks"
    MANAGE_MEMBERS = "manage_members"
    RENAME_WORKSPACE = "rename_workspace"
    MANAGE_OWNERS = "manage_owners"
    CHOOSE_PLAN = "choose_plan"


@dataclass(frozen=True, slots=True)
class PermissionDefinition:
    """One row of the table: what it is, in words for people, which roles have it, and the scopes that come with it."""

    words: str
    roles: frozenset[Role]
    scopes: Scopes = Scopes()  # noqa: RUF009 - immutable


_OWNERS = frozenset({Role.OWNER})
_ADMINS = _OWNERS | {Role.ADMIN}
_DEVELOPERS = _ADMINS | {Role.DEVELOPER}
_EVERYBODY = frozenset(Role)

PERMISSIONS: Final[Mapping[Permission, PermissionDefinition]] = {
    Permission.READ: PermissionDefinition(
        "See keys, collections, documents, webhooks, members, activity and the plan",
        _EVERYBODY,
        Scopes(scopes.READ_ONLY),
    ),
    Permission.WRITE_DOCUMENTS: PermissionDefinition(
        "Change collections and documents",
        _DEVELOPERS,
        Scopes([scopes.COLLECTIONS_WRITE, scopes.DOCUMENTS_WRITE]),
    ),
    Permission.MAKE_KEYS: PermissionDefinition(
        "Create keys; change, rotate and revoke their own",
        _DEVELOPERS,
        Scopes([scopes.EVERYTHING, scopes.KEYS_WRITE]),
    ),
    Permission.MANAGE_KEYS: PermissionDefinition("Change, rotate and revoke every key", _ADMINS),
    Permission.MANAGE_WEBHOOKS: PermissionDefinition(
        "Set up, change and test webhooks", _ADMINS, Scopes([scopes.WEBHOOKS_WRITE])
    ),
    Permission.MANAGE_MEMBERS: PermissionDefinition(
        "Invite and remove members, change their roles", _ADMINS
    ),
    Permission.RENAME_WORKSPACE: PermissionDefinition("Rename the workspace", _ADMINS),
    Permission.MANAGE_OWNERS: PermissionDefinition(
        "Make owners, and change or remove them", _OWNERS
    ),
    Permission.CHOOSE_PLAN: PermissionDefinition("Choose the plan", _OWNERS),
}
"""From what everybody may do to what only owners may."""


def may(role: Role, permission: Permission) -> bool:
    """Whether members of that role have that permission."""
    return role in PERMISSIONS[permission].roles


def scopes_of(role: Role) -> Scopes:
    """The scopes of everything that the role may do."""
    rights = [right for right in PERMISSIONS.values() if role in right.roles]
    return Scopes(scope for right in rights for scope in right.scopes)


ROLE_SCOPES: Final[Mapping[Role, Scopes]] = {role: scopes_of(role) for role in Role}


def permission_to_assign(role: Role) -> Permission:
    """What it takes to give, change or take away a role: owners are for owners."""
    return Permission.MANAGE_OWNERS if role is Role.OWNER else Permission.MANAGE_MEMBERS


def may_assign(appointer: Role, role: Role) -> bool:
    """Whether members of one role may give, change or take away another."""
    return may(appointer, permission_to_assign(role))
