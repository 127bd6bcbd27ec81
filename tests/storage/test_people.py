"""Guarantees of the rows about users, for every writer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from keystead.domain.credentials import Credential, CredentialKind
from keystead.domain.digest import Digest
from keystead.domain.errors import EmailTaken
from keystead.domain.ids import CredentialId, SessionId, UserId, WorkspaceId, new_id
from keystead.domain.key_lists import ALL_KEYS
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.sessions import AuthenticationMethod, Session
from keystead.domain.throttle import NO_FAILURES, Subject, ThrottleState
from keystead.domain.users import fold_email
from keystead.domain.workspaces import User
from keystead.storage.database import Tx
from keystead.storage.schema.tables import users as user_rows
from keystead.storage.tables import credentials, sessions, throttles, users
from keystead.storage.tables.key_pages import _Part, _query
from tests.support.administrator import read_behind, write_behind
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, plan_of

MAKER = Actor(PrincipalKind.OPERATOR, "cli", "root")


def _user(email: str | None = None, **values: Any) -> User:
    return User(UserId(new_id("usr", NOON)), "Ada", email, NOON, **values)


def _address() -> str:
    return f"{new_id('a', NOON)}@Example.com"


def _write(sandbox: SandboxInstallation, act: Callable[[Tx], object]) -> None:
    with write_behind(sandbox.database) as tx:
        act(tx)


def test_an_address_is_one_persons(sandbox: SandboxInstallation) -> None:
    """Neither a new user nor a change takes another user's email, in any case; many users may have no email."""
    email = _address()
    ada, bo = _user(email), _user(_address())
    for user in (ada, bo, _user(), _user()):
        _write(sandbox, lambda tx, user=user: users.insert_user(tx, user))  # type: ignore[misc]
    with pytest.raises(EmailTaken):
        _write(sandbox, lambda tx: users.insert_user(tx, _user(email.upper())))
    with pytest.raises(EmailTaken):
        _write(sandbox, lambda tx: users.set_email(tx, bo.id, email.lower()))
    with read_behind(sandbox.database) as tx:
        account = users.find_account(tx, email.swapcase())
        assert account is not None
        assert account.user == ada
        assert users.get_user(tx, bo.id) == bo


def test_an_account_hides_its_hash() -> None:
    """A repr names the account's user, and hides the hash."""
    assert "$argon2" not in repr(users.Account(_user(), "$argon2id$v=19$…"))


@pytest.mark.parametrize(
    "values",
    [
        {"password_hash": "x"},
        {"sign_in_email": "taken@example.com"},
        {"portal_user_id": None},
    ],
)
def test_a_products_user_is_nothing_else(
    sandbox: SandboxInstallation, values: dict[str, object]
) -> None:
    """The database refuses a product's user with a password, with an email, or without the product's id."""
    workspace_id = sandbox.tenant().workspace_id
    user = _user(portal_workspace_id=workspace_id, portal_user_id="u1")
    _write(sandbox, lambda tx: users.insert_user(tx, user))
    changed = update(user_rows).where(user_rows.c.id == user.id).values(**values)
    with pytest.raises(Exception, match=r"IntegrityError|Violation"):
        _write(sandbox, lambda tx: tx.execute(changed))


def test_one_user_for_each_of_the_products_ids(sandbox: SandboxInstallation) -> None:
    """The database refuses a second user of one id in one workspace, and the error is not about emails."""
    here, there = sandbox.tenant().workspace_id, sandbox.tenant().workspace_id

    def add(workspace_id: WorkspaceId) -> None:
        user = _user(_address(), portal_workspace_id=workspace_id, portal_user_id="u1")
        _write(sandbox, lambda tx: users.insert_user(tx, user))

    add(here)
    add(there)
    with pytest.raises(Exception, match=r"IntegrityError|Violation"):
        add(here)


def test_a_renewed_hash_is_of_the_same_password(sandbox: SandboxInstallation) -> None:
    """A hash is renewed only while it is the one that was verified: no new password is overwritten by an old one's."""
    user = _user(_address())
    _write(sandbox, lambda tx: users.insert_user(tx, user, password_hash="old"))
    _write(sandbox, lambda tx: users.set_password(tx, user.id, "new", NOON))
    _write(sandbox, lambda tx: users.renew_hash(tx, user.id, "old", "renewed"))
    with read_behind(sandbox.database) as tx:
        assert users.password_hash_of(tx, user.id) == "new"


def test_a_session_that_ended_is_not_renewed(sandbox: SandboxInstallation) -> None:
    """A session keeps its first end, and gets no second secret after it."""
    user = _user()
    session = Session(
        SessionId(new_id("ses", NOON)),
        user.id,
        NOON,
        NOON,
        NOON,
        proven_by=AuthenticationMethod.LINK,
    )
    digest, other = new_id("d", NOON).encode(), new_id("d", NOON).encode()
    _write(sandbox, lambda tx: users.insert_user(tx, user))
    _write(sandbox, lambda tx: sessions.insert_session(tx, digest, session))
    _write(sandbox, lambda tx: sessions.end_session(tx, digest, NOON))
    with write_behind(sandbox.database) as tx:
        assert not sessions.renew_session(tx, digest, other, session)
        assert sessions.find_session(tx, other) is None
        assert sessions.find_session(tx, digest) == replace(session, ended_at=NOON)


def test_the_first_revocation_stays(sandbox: SandboxInstallation) -> None:
    """A second revocation of a credential leaves the first in place."""
    id = CredentialId(new_id("op", NOON))
    credential = Credential(id, CredentialKind.OPERATOR, "Backend", "ks_op_…abcd", NOON, MAKER)
    later = NOON + timedelta(days=1)
    with write_behind(sandbox.database) as tx:
        credentials.insert_credential(tx, credential, Digest("p1", bytes(32)))
        credentials.revoke_credential(tx, id, NOON, "root")
        credentials.revoke_credential(tx, id, later, "other")
        assert credentials.find_credential(tx, id) == replace(
            credential, revoked_at=NOON, revoked_by="root"
        )


# --- wrong passwords ---


def test_counting_failures(sandbox: SandboxInstallation) -> None:
    """A subject without failures counts zero; what is written is read; taking back never goes below zero."""
    one, other = Subject(new_id("account", NOON)), Subject(new_id("account", NOON))
    with write_behind(sandbox.database) as tx:
        assert throttles.lock_failures(tx, [one, other], NOON) == {
            one: NO_FAILURES,
            other: NO_FAILURES,
        }
        throttles.set_failures(tx, one, ThrottleState(2, NOON))
        assert throttles.find_failures(tx, [one, other])[one] == ThrottleState(2, NOON)
        for left in (1, 0, 0):
            throttles.take_back_failure(tx, one)
            assert throttles.find_failures(tx, [one])[one].count == left
        throttles.delete_failures(tx, one)
        assert throttles.find_failures(tx, [one]) == {one: NO_FAILURES}


def test_concurrent_failures_are_all_counted(sandbox: SandboxInstallation) -> None:
    """Sixteen threads that each count one failure of the same two subjects, in either order, count sixteen."""
    subjects = [Subject(new_id("account", NOON)), Subject(new_id("address", NOON))]
    gate = threading.Barrier(16)

    def count(number: int) -> None:
        gate.wait(30)
        with write_behind(sandbox.database) as tx:
            failures = throttles.lock_failures(tx, subjects[:: 1 if number % 2 else -1], NOON)
            for subject in subjects:
                throttles.set_failures(
                    tx, subject, ThrottleState(failures[subject].count + 1, NOON)
                )

    threads = [threading.Thread(target=count, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with read_behind(sandbox.database) as tx:
        failures = throttles.find_failures(tx, subjects)
    assert [failures[subject].count for subject in subjects] == [16, 16]


# --- plans ---


def test_what_signing_in_reads(sandbox: SandboxInstallation) -> None:
    """An email is found by its index, and marking keys whose creators left scans no members."""
    by_email = select(user_rows.c.id).where(user_rows.c.sign_in_email == fold_email("a@b"))
    plan = plan_of(sandbox.database, by_email, WorkspaceId("ws_1"))
    assert "sign_in_email" in plan or "SEARCH" in plan
    page = _query(_Part.BY_AGE, ALL_KEYS, True).statement.params(
        workspace="ws_1", id="key_1", limit=5
    )
    marked = plan_of(sandbox.database, page, WorkspaceId("ws_1"))
    assert "SCAN members" not in marked
    assert "Seq Scan on members" not in marked
