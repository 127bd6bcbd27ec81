"""Which actions need recent authentication, judged by their effect and never by a scope's name."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain, combinations

import pytest

from keystead.domain.errors import ReauthenticationRequired
from keystead.domain.ids import KeyId, UserId, WorkspaceId
from keystead.domain.keys import ApiKey, KeyPatch, apply_patch
from keystead.domain.policies import NO_POLICY
from keystead.domain.principals import of_member, operator
from keystead.domain.roles import Permission, may
from keystead.domain.scopes import BUILT_IN, EVERYTHING, READ_ONLY, ScopeCatalog, Scopes
from keystead.domain.step_up import STEP_UP, SensitiveAction, actions_for_role_change, is_wide
from keystead.domain.workspaces import Member, Role, User
from tests.support.clocks import NOON
from tests.support.people import acting

WORKSPACE = WorkspaceId("ws_1")
ADA = Member(WORKSPACE, User(UserId("usr_1"), "Ada", None, NOON), Role.OWNER)
NAMED = [scope for scope in BUILT_IN if scope != EVERYTHING]
WIDE_ALONE = {"keys:write", "webhooks:write"}
"""These grant other keys, and send events elsewhere: each is an action of the table itself."""


def _sets(scopes: list[str]) -> list[Scopes]:
    sizes = range(1, len(scopes) + 1)
    return [Scopes(names) for names in chain(*(combinations(scopes, size) for size in sizes))]


def test_each_act_is_in_the_table_once() -> None:
    """Every action has a description, and those that need a role's permission name it."""
    assert list(STEP_UP) == list(SensitiveAction)
    assert len({step.label for step in STEP_UP.values()}) == len(SensitiveAction)
    own = {act for act, step in STEP_UP.items() if step.permission is None}
    assert own == {SensitiveAction.CHANGE_EMAIL, SensitiveAction.CHANGE_PASSWORD}


def test_a_wide_key_is_recognised_by_the_sum_of_its_scopes() -> None:
    """`*`, all scopes by name, all reading or all writing scopes are wide, with any other scope or without."""
    writes = [scope for scope in NAMED if scope.endswith(":write")]
    assert is_wide(Scopes([EVERYTHING]))
    for everything in (NAMED, READ_ONLY, writes, ["collections:write", "documents:write"]):
        assert is_wide(Scopes(everything))
    for scopes in _sets(NAMED):
        if is_wide(scopes):
            assert all(is_wide(Scopes([*scopes, more])) for more in NAMED)


@pytest.mark.parametrize("scope", NAMED)
def test_leaving_one_out_hides_nothing(scope: str) -> None:
    """All scopes except any one are as wide as all; a single scope is wide only if it grants access."""
    assert is_wide(Scopes(NAMED).without(scope))
    assert is_wide(Scopes([scope])) == (scope in WIDE_ALONE)


def test_an_ordinary_key_is_not_wide() -> None:
    """A key that reads and writes one kind of data needs none; nor does a product's own scope."""
    for scopes in (["documents:read", "documents:write"], ["plan:read", "keys:read"], ["x:run"]):
        assert not is_wide(Scopes(scopes))


@pytest.mark.parametrize("before", [None, *Role])
@pytest.mark.parametrize("after", [None, *Role])
def test_which_changes_of_a_role_ask(before: Role | None, after: Role | None) -> None:
    """Giving a role that creates keys needs it, and so does demoting an owner; other changes don't."""
    expected = set()
    if before is Role.OWNER and after is not Role.OWNER:
        expected.add(SensitiveAction.REMOVE_OWNER)
    if after is not None and after != before and may(after, Permission.MAKE_KEYS):
        expected.add(SensitiveAction.APPOINT)
    assert set(actions_for_role_change(before, after)) == expected


@pytest.mark.parametrize(("days", "asks"), [(None, True), (60, True), (30, False), (7, False)])
def test_a_longer_life_of_a_wide_key_asks(days: int | None, asks: bool) -> None:
    """Extending a wide key needs it as creating one does; shortening it never does."""
    key = ApiKey(
        id=KeyId("key_1"),
        workspace_id=WORKSPACE,
        description="sync",
        hint="ks_…abcd",
        scopes=Scopes([EVERYTHING]),
        created_at=NOON - timedelta(days=1),
        created_by=operator("cli", WORKSPACE).actor,
        expires_at=NOON + timedelta(days=30),
    )
    patch = KeyPatch(expires_at=None if days is None else NOON + timedelta(days=days))
    fresh = apply_patch(key, patch, acting(ADA), ScopeCatalog(), NO_POLICY, NOON)
    assert fresh.expires_at == patch.expires_at
    if asks:
        with pytest.raises(ReauthenticationRequired):
            apply_patch(key, patch, of_member(ADA), ScopeCatalog(), NO_POLICY, NOON)
    else:
        assert apply_patch(key, patch, of_member(ADA), ScopeCatalog(), NO_POLICY, NOON) == fresh
