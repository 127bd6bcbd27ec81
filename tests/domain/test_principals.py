from __future__ import annotations

import pytest

from keystead.domain.errors import Forbidden, InsufficientScope
from keystead.domain.ids import KeyId, UserId, WorkspaceId
from keystead.domain.principals import (
    Actor,
    Principal,
    PrincipalKind,
    of_member,
    operator,
    system,
)
from keystead.domain.scopes import BUILT_IN, EVERYTHING, KEYS_WRITE, READ_ONLY, Scopes
from keystead.domain.workspaces import Member, Role, User
from tests.support.clocks import NOON

WORKSPACE = WorkspaceId("ws_1")


def _member(role: Role, user: str = "usr_1") -> Principal:
    return of_member(Member(WORKSPACE, User(UserId(user), "Ada", None, NOON), role))


def test_a_viewer_reads() -> None:
    """A viewer has the reading scopes and no other."""
    viewer = _member(Role.VIEWER)
    for scope in BUILT_IN:
        assert viewer.scopes.permit(scope) == (scope in READ_ONLY)


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.ADMIN, Role.OWNER])
def test_the_others_also_make_keys(role: Role) -> None:
    """Developers, admins and owners also write data and keys."""
    for scope in BUILT_IN:
        assert _member(role).scopes.permit(scope)


@pytest.mark.parametrize("role", Role)
def test_who_manages_which_key(role: Role) -> None:
    """Admins and owners manage every key of the workspace; developers those that they created."""
    principal = _member(role)
    own = principal.actor
    others = [
        Actor(PrincipalKind.MEMBER, "usr_2", "Bo"),
        Actor(PrincipalKind.KEY, "usr_1", "a key that bears a user's id"),
        Actor(PrincipalKind.OPERATOR, "cli", "Command line"),
    ]
    assert principal.may_manage(own)
    for maker in others:
        assert principal.may_manage(maker) == (role in {Role.ADMIN, Role.OWNER})


def test_a_key_lacks_a_scope() -> None:
    """The error for a key names the missing scope, and no role."""
    key = Principal.of_key(KeyId("key_1"), "sync", WORKSPACE, Scopes(["documents:read"]), None)
    key.require("documents:read")
    with pytest.raises(InsufficientScope) as refused:
        key.require(KEYS_WRITE)
    assert not isinstance(refused.value, Forbidden)
    assert refused.value.extras() == {"scope": KEYS_WRITE}


def test_a_member_lacks_a_right() -> None:
    """The error for a member names the role and the scope."""
    with pytest.raises(Forbidden, match="role viewer"):
        _member(Role.VIEWER).require(KEYS_WRITE)


def test_the_installation_may_do_everything() -> None:
    """Operators and the system itself act with every scope, keys included."""
    for principal in (operator("cli", WORKSPACE), system(WORKSPACE)):
        assert principal.scopes == Scopes([EVERYTHING, KEYS_WRITE])
        assert principal.manages_every_key
        assert not principal.is_key
