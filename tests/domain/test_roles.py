"""What each role may do."""

from __future__ import annotations

from itertools import pairwise

import pytest

from keystead.domain.errors import Forbidden
from keystead.domain.ids import KeyId, UserId, WorkspaceId
from keystead.domain.principals import Principal, of_member, operator, system
from keystead.domain.roles import PERMISSIONS, ROLE_SCOPES, Permission, may, may_assign
from keystead.domain.scopes import BUILT_IN, EVERYTHING, KEYS_WRITE, READ_ONLY, Scopes
from keystead.domain.workspaces import Member, Role, User
from tests.support.clocks import NOON

WORKSPACE = WorkspaceId("ws_1")
FROM_LEAST = [Role.VIEWER, Role.DEVELOPER, Role.ADMIN, Role.OWNER]
PROMISED = {
    Role.VIEWER: {Permission.READ},
    Role.DEVELOPER: {Permission.READ, Permission.WRITE_DOCUMENTS, Permission.MAKE_KEYS},
    Role.ADMIN: {
        Permission.READ,
        Permission.WRITE_DOCUMENTS,
        Permission.MAKE_KEYS,
        Permission.MANAGE_KEYS,
        Permission.MANAGE_WEBHOOKS,
        Permission.MANAGE_MEMBERS,
        Permission.RENAME_WORKSPACE,
    },
    Role.OWNER: set(Permission),
}
"""Viewers read; developers also create keys and change their own; admins all keys, webhooks, members; owners all."""


def _member(role: Role) -> Principal:
    return of_member(Member(WORKSPACE, User(UserId("usr_1"), "Ada", None, NOON), role))


@pytest.mark.parametrize("role", Role)
def test_the_table(role: Role) -> None:
    """Each role has the promised permissions, and no other."""
    assert {permission for permission in Permission if may(role, permission)} == PROMISED[role]


def test_every_permission_is_in_words() -> None:
    """Every permission has a sentence of its own, and the rows are ordered from least to most."""
    assert list(PERMISSIONS) == list(Permission)
    assert len({right.label for right in PERMISSIONS.values()}) == len(Permission)
    holders = [len(right.roles) for right in PERMISSIONS.values()]
    assert holders == sorted(holders, reverse=True)


def test_more_is_never_less() -> None:
    """A higher role has all permissions of a lower one."""
    for lower, higher in pairwise(FROM_LEAST):
        assert PROMISED[lower] < PROMISED[higher]
        assert ROLE_SCOPES[higher].cover(ROLE_SCOPES[lower])


@pytest.mark.parametrize("role", Role)
def test_what_members_may_do_by_scope(role: Role) -> None:
    """A role's own permissions are the named scopes: `*` is only for keys, and gives the user nothing."""
    allowed = set(READ_ONLY)
    if role is not Role.VIEWER:
        allowed |= {"documents:write", "collections:write", KEYS_WRITE, EVERYTHING}
    if role in {Role.ADMIN, Role.OWNER}:
        allowed |= {"webhooks:write"}
    for scope in BUILT_IN:
        if scope in allowed:
            _member(role).require(scope)
        else:
            with pytest.raises(Forbidden):
                _member(role).require(scope)


@pytest.mark.parametrize("permission", Permission)
def test_a_key_has_no_permissions_of_users(permission: Permission) -> None:
    """No key has a permission of users, whatever its scopes; the installation has all."""
    key = Principal.of_key(KeyId("key_1"), "all", WORKSPACE, Scopes([EVERYTHING, KEYS_WRITE]), None)
    with pytest.raises(Forbidden):
        key.require_permission(permission)
    operator("cli", WORKSPACE).require_permission(permission)
    system(WORKSPACE).require_permission(permission)


def test_a_refusal_is_in_words() -> None:
    """The refusal names the permission and the role."""
    with pytest.raises(Forbidden, match="role developer does not allow this: invite and remove"):
        _member(Role.DEVELOPER).require_permission(Permission.MANAGE_MEMBERS)


@pytest.mark.parametrize("appointer", Role)
@pytest.mark.parametrize("role", Role)
def test_who_appoints_whom(appointer: Role, role: Role) -> None:
    """Only owners appoint owners; admins appoint the others; developers and viewers can't appoint."""
    expected = appointer is Role.OWNER or (appointer is Role.ADMIN and role is not Role.OWNER)
    assert may_assign(appointer, role) == expected
