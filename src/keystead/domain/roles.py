"""Roles and permissions: the table behind the checks of services and the page that people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from keystead.domain import scopes
from keystead.domain.scopes import Scopes
from keystead.domain.workspaces import Role


class Permission(StrEnum):
    """The permissions of members."""

    READ = "read"
    WRITE_DOCUMENTS = "write_documents"
    MAKE_KEYS = "make_keys"
    MANAGE_KEYS = "manage_keys"
    MANAGE_WEBHOOKS = "manage_webhooks"
    MANAGE_MEMBERS = "manage_members"
    RENAME_WORKSPACE = "rename_workspace"
    MANAGE_OWNERS = "manage_owners"
    CHOOSE_PLAN = "choose_plan"
    SET_POLICY = "set_policy"


@dataclass(frozen=True, slots=True)
class PermissionInfo:
    """A permission's label for people, the roles that have it, and its scopes."""

    label: str
    roles: frozenset[Role]
    scopes: Scopes = Scopes()  # noqa: RUF009 - immutable


_OWNERS = frozenset({Role.OWNER})
_ADMINS = _OWNERS | {Role.ADMIN}
_DEVELOPERS = _ADMINS | {Role.DEVELOPER}
_ALL_ROLES = frozenset(Role)

PERMISSIONS: Final[Mapping[Permission, PermissionInfo]] = {
    Permission.READ: PermissionInfo(
        "View keys, collections, documents, webhooks, members, activity and the plan",
        _ALL_ROLES,
        Scopes(scopes.READ_ONLY),
    ),
    Permission.WRITE_DOCUMENTS: PermissionInfo(
        "Change collections and documents",
        _DEVELOPERS,
        Scopes([scopes.COLLECTIONS_WRITE, scopes.DOCUMENTS_WRITE]),
    ),
    Permission.MAKE_KEYS: PermissionInfo(
        "Create keys; change, rotate and revoke their own",
        _DEVELOPERS,
        Scopes([scopes.EVERYTHING, scopes.KEYS_WRITE]),
    ),
    Permission.MANAGE_KEYS: PermissionInfo("Change, rotate and revoke every key", _ADMINS),
    Permission.MANAGE_WEBHOOKS: PermissionInfo(
        "Set up, change and test webhooks", _ADMINS, Scopes([scopes.WEBHOOKS_WRITE])
    ),
    Permission.MANAGE_MEMBERS: PermissionInfo(
        "Invite and remove members, change their roles", _ADMINS
    ),
    Permission.RENAME_WORKSPACE: PermissionInfo("Rename the workspace", _ADMINS),
    Permission.MANAGE_OWNERS: PermissionInfo("Make owners, and change or remove them", _OWNERS),
    Permission.CHOOSE_PLAN: PermissionInfo("Choose the plan", _OWNERS),
    Permission.SET_POLICY: PermissionInfo("Set the policy of keys", _OWNERS),
}
"""From the permissions of all roles to those of owners only."""


def permissions_of(*, has_documents: bool) -> Mapping[Permission, PermissionInfo]:
    """Return the permissions for display, with or without the document store."""
    if has_documents:
        return PERMISSIONS
    label = "View keys, webhooks, members, activity and the plan"
    read = replace(PERMISSIONS[Permission.READ], label=label)
    shown = {**PERMISSIONS, Permission.READ: read}
    del shown[Permission.WRITE_DOCUMENTS]
    return shown


def may(role: Role, permission: Permission) -> bool:
    """Return whether members of that role have that permission."""
    return role in PERMISSIONS[permission].roles


def scopes_of(role: Role) -> Scopes:
    """Return the scopes of all permissions of the role."""
    permissions = [each for each in PERMISSIONS.values() if role in each.roles]
    return Scopes(scope for permission in permissions for scope in permission.scopes)


ROLE_SCOPES: Final[Mapping[Role, Scopes]] = {role: scopes_of(role) for role in Role}


def permission_to_assign(role: Role) -> Permission:
    """Return the permission to give, change or remove a role. Only owners manage owners."""
    return Permission.MANAGE_OWNERS if role is Role.OWNER else Permission.MANAGE_MEMBERS


def may_assign(own: Role, role: Role) -> bool:
    """Return whether members of the role `own` may give, change or remove `role`."""
    return may(own, permission_to_assign(role))
