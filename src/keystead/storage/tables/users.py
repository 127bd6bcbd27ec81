"""Users, found by their sign-in address or by a product's own id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from keystead.domain.errors import EmailTaken
from keystead.domain.ids import UserId, WorkspaceId
from keystead.domain.users import fold_email
from keystead.domain.workspaces import User
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.tables import users

USER_COLUMNS: Final[tuple[Column[Any], ...]] = (
    users.c.id,
    users.c.name,
    users.c.email,
    users.c.created_at,
    users.c.time_zone,
    users.c.password_set_at,
    users.c.portal_workspace_id,
    users.c.email_confirmed_at,
    users.c.portal_user_id,
)
"""A user's columns, in the order of the fields of `User`."""

_IS_USER: Final = users.c.id == bindparam("user")
_ONE: Final = Query(select(*USER_COLUMNS).where(_IS_USER))
_ACCOUNT: Final = Query(
    select(*USER_COLUMNS, users.c.password_hash).where(users.c.sign_in_email == bindparam("email"))
)
_OF_PORTAL: Final = Query(
    select(*USER_COLUMNS).where(
        users.c.portal_workspace_id == bindparam("workspace"),
        users.c.portal_user_id == bindparam("id"),
    )
)
_SELECT_HASH: Final = select(users.c.password_hash).where(_IS_USER)
_HASH: Final = Query(_SELECT_HASH)
_LOCK_HASH: Final = Query(_SELECT_HASH.with_for_update(key_share=True))
_INSERT: Final = insert(users)
_UPDATE: Final = update(users).where(_IS_USER)
_RENEW_HASH: Final = _UPDATE.where(users.c.password_hash == bindparam("old"))


@dataclass(frozen=True, slots=True)
class Account:
    """A user and their password's hash."""

    user: User
    password_hash: str | None

    def __repr__(self) -> str:
        return f"<Account of {self.user.id}>"


def insert_user(tx: Tx, user: User, *, password_hash: str | None = None) -> None:
    """Insert a user. Their email signs them in, except portal users. Raises EmailTaken."""
    row = {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "created_at": user.created_at,
        "sign_in_email": _signing_in(user),
        "password_hash": password_hash,
        "password_set_at": user.password_set_at,
        "portal_workspace_id": user.portal_workspace_id,
        "portal_user_id": user.portal_user_id,
        "email_confirmed_at": user.email_confirmed_at,
    }
    with _unique_email():
        tx.execute(_INSERT, row)


def get_user(tx: Tx, user_id: UserId) -> User:
    """Return an existing user."""
    [row] = _ONE.all(tx, {"user": user_id})
    return user_of(row)


def find_user(tx: Tx, user_id: UserId) -> User | None:
    """Return the user of that id, or None."""
    row = _ONE.first(tx, {"user": user_id})
    return None if row is None else user_of(row)


def find_account(tx: Tx, email: str) -> Account | None:
    """Return the account that this address signs in, in any case."""
    row = _ACCOUNT.first(tx, {"email": fold_email(email)})
    return None if row is None else Account(user_of(row[:-1]), row[-1])


def password_hash_of(tx: Tx, user_id: UserId) -> str | None:
    """Return the hash of the user's password, or None."""
    password_hash: str | None = _HASH.scalar(tx, {"user": user_id})
    return password_hash


def lock_password_hash(tx: Tx, user_id: UserId) -> str | None:
    """Like `password_hash_of`, locking the user until the transaction ends."""
    password_hash: str | None = _LOCK_HASH.scalar(tx, {"user": user_id})
    return password_hash


def set_password(tx: Tx, user_id: UserId, password_hash: str, now: datetime) -> None:
    """Set a new password."""
    _change(tx, user_id, password_hash=password_hash, password_set_at=now)


def renew_hash(tx: Tx, user_id: UserId, old: str, new: str) -> None:
    """Replace the hash of the same password, unless the password has changed."""
    tx.execute(_RENEW_HASH, {"user": user_id, "old": old, "password_hash": new})


def set_email(tx: Tx, user_id: UserId, email: str, *, confirmed_at: datetime | None = None) -> None:
    """Set the email, which signs the user in from now on. Raises EmailTaken."""
    values = {"email": email, "email_confirmed_at": confirmed_at}
    with _unique_email():
        _change(tx, user_id, sign_in_email=fold_email(email), **values)


def confirm_email(tx: Tx, user_id: UserId, now: datetime) -> None:
    """Record that the user has confirmed the email."""
    _change(tx, user_id, email_confirmed_at=now)


def withdraw_sign_in(tx: Tx, user_id: UserId, *, email: bool) -> None:
    """Remove the user's password, and with `email` the address that signs them in."""
    _change(tx, user_id, password_hash=None, password_set_at=None)
    if email:
        _change(tx, user_id, email=None, sign_in_email=None)


def set_name(tx: Tx, user_id: UserId, name: str) -> None:
    """Set the name."""
    _change(tx, user_id, name=name)


def set_time_zone(tx: Tx, user_id: UserId, time_zone: str | None) -> None:
    """Set the time zone; None is UTC."""
    _change(tx, user_id, time_zone=time_zone)


def find_portal_user(tx: Tx, workspace_id: WorkspaceId, portal_user_id: str) -> User | None:
    """Return the workspace's portal user with the product's id."""
    row = _OF_PORTAL.first(tx, {"workspace": workspace_id, "id": portal_user_id})
    return None if row is None else user_of(row)


def refresh_portal_user(tx: Tx, user: User) -> None:
    """Update name and email from the product. This email does not sign the user in."""
    confirmed_at = user.email_confirmed_at
    _change(tx, user.id, name=user.name, email=user.email, email_confirmed_at=confirmed_at)


def user_of(row: Sequence[Any]) -> User:
    """Return the user of a row of USER_COLUMNS."""
    return User(*row)


def _signing_in(user: User) -> str | None:
    return None if user.email is None or user.is_of_portal else fold_email(user.email)


def _change(tx: Tx, user_id: UserId, **values: Any) -> None:
    tx.execute(_UPDATE, {"user": user_id, **values})


@contextmanager
def _unique_email() -> Iterator[None]:
    # The unique index decides, so concurrent requests cannot both take the address.
    try:
        yield
    except IntegrityError as error:
        if users.c.sign_in_email.name not in str(error.orig):
            raise
        raise EmailTaken("A person of this installation has that e-mail address already.") from None
