"""Which actions need a recent sign-in, and how long a sign-in is recent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keystead.domain.errors import ReauthenticationRequired
from keystead.domain.ids import KeyId, SessionId, UserId, WorkspaceId
from keystead.domain.keys import UNSET, ApiKey, KeyDraft, Unset, grant
from keystead.domain.policies import NO_POLICY
from keystead.domain.principals import Principal, of_member, operator
from keystead.domain.rotations import plan_rotation
from keystead.domain.scopes import FULL, KEYS_WRITE, ScopeCatalog, Scopes
from keystead.domain.sessions import (
    REAUTHENTICATION_AGE,
    Authentication,
    AuthenticationMethod,
    LinkPurpose,
    Session,
    SignInLink,
)
from keystead.domain.workspaces import Member, Role, User
from tests.support.clocks import NOON
from tests.support.people import acting

WORKSPACE = WorkspaceId("ws_1")
CATALOG = ScopeCatalog({})
MOMENT = timedelta(microseconds=1)
MEMBER = Member(WORKSPACE, User(UserId("usr_1"), "Ada", None, NOON), Role.OWNER)


def _proven(ago: timedelta) -> Principal:
    return acting(MEMBER, NOON - ago)


def _key(scopes: Scopes) -> ApiKey:
    return ApiKey(
        id=KeyId("key_1"),
        workspace_id=WORKSPACE,
        description="sync",
        hint="ks_…abcd",
        scopes=scopes,
        created_at=NOON,
        created_by=operator("cli", WORKSPACE).actor,
    )


def test_fifteen_minutes() -> None:
    """An authentication is recent for a quarter of an hour, to the microsecond (R69)."""
    assert timedelta(minutes=15) == REAUTHENTICATION_AGE
    proof = Authentication(NOON, AuthenticationMethod.PASSWORD)
    assert proof.is_recent(NOON + REAUTHENTICATION_AGE - MOMENT)
    assert not proof.is_recent(NOON + REAUTHENTICATION_AGE)


def test_a_sessions_proof() -> None:
    """A session has the time, method and return URL of the last authentication, not of its start."""
    later = NOON + timedelta(hours=1)
    session = Session(SessionId("ses_1"), UserId("usr_1"), NOON, later, later)
    session = replace(
        session, proven_by=AuthenticationMethod.PORTAL, return_url="https://app.example.com/"
    )
    assert session.authentication == Authentication(
        later, AuthenticationMethod.PORTAL, "https://app.example.com/"
    )


@pytest.mark.parametrize("purpose", LinkPurpose)
def test_what_a_link_proves(purpose: LinkPurpose) -> None:
    """A portal link proves what the product says, every other link the user's own authentication."""
    link = SignInLink(WORKSPACE, UserId("usr_1"), NOON, purpose)
    expected = (
        AuthenticationMethod.PORTAL if purpose is LinkPurpose.PORTAL else AuthenticationMethod.LINK
    )
    assert link.method is expected


@pytest.mark.parametrize("scopes", [["*"], [KEYS_WRITE], ["documents:read", KEYS_WRITE], UNSET])
def test_full_rights_need_a_recent_proof(scopes: list[str] | Unset) -> None:
    """15 minutes after a sign-in, a person can no longer create a full-access key; a moment earlier they can."""
    draft = KeyDraft("all", scopes=scopes)
    grant(draft, _proven(REAUTHENTICATION_AGE - MOMENT), CATALOG, NO_POLICY, NOON)
    with pytest.raises(ReauthenticationRequired):
        grant(draft, _proven(REAUTHENTICATION_AGE), CATALOG, NO_POLICY, NOON)


def test_few_rights_need_none() -> None:
    """Creating a key with named scopes needs no recent authentication."""
    draft = KeyDraft("reads", scopes=["documents:read", "documents:write"])
    granted = grant(draft, _proven(timedelta(hours=23)), CATALOG, NO_POLICY, NOON)
    assert granted.scopes == Scopes(["documents:read", "documents:write"])


def test_rotation_grants_full_access_again() -> None:
    """A full-access successor needs recent authentication, as its token is new; one with few scopes does not."""
    late = _proven(REAUTHENTICATION_AGE)
    with pytest.raises(ReauthenticationRequired):
        plan_rotation(_key(FULL), timedelta(), UNSET, late, NO_POLICY, NOON)
    plan_rotation(_key(Scopes(["documents:read"])), timedelta(), UNSET, late, NO_POLICY, NOON)


def test_only_people_prove_themselves() -> None:
    """Keys within their scopes and operators create full keys without it; a member without a session never."""
    rights = Scopes(["*", KEYS_WRITE])
    caller = Principal.of_key(KeyId("key_9"), "caller", WORKSPACE, rights, None)
    for principal in (caller, operator("cli", WORKSPACE)):
        grant(KeyDraft("all", scopes=["*"]), principal, CATALOG, NO_POLICY, NOON)
    with pytest.raises(ReauthenticationRequired):
        grant(KeyDraft("all", scopes=["*"]), of_member(MEMBER), CATALOG, NO_POLICY, NOON)


def test_where_the_proof_is_given() -> None:
    """A product's own user is sent back to the product; all others sign in again."""
    long_ago = NOON - timedelta(hours=1)
    portal = Authentication(long_ago, AuthenticationMethod.PORTAL, "https://app.example.com/back")
    with pytest.raises(ReauthenticationRequired, match="Come back from the product") as refused:
        grant(
            KeyDraft("all"),
            of_member(replace(MEMBER, authentication=portal)),
            CATALOG,
            NO_POLICY,
            NOON,
        )
    assert refused.value.extras()["return_url"] == "https://app.example.com/back"
    with pytest.raises(ReauthenticationRequired, match="Sign in again") as refused:
        grant(KeyDraft("all"), acting(MEMBER, long_ago), CATALOG, NO_POLICY, NOON)
    assert refused.value.extras()["return_url"] is None
