"""Sabotage of the n-th statement or commit of a use case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy import event, func, select

from keystead.domain.errors import StorageError, Unavailable
from keystead.domain.keys import KeyPatch
from keystead.domain.principals import Principal
from keystead.storage.engine.connections import sqlite_driver
from keystead.storage.schema import tables as schema
from tests.support.administrator import read_behind
from tests.support.installations import SandboxInstallation

MOST: Final = 60
"""More statements than any use case takes."""


class Fault(StrEnum):
    """The fault at the n-th step."""

    REFUSED = "refused"
    """The driver reports an error, and nothing was done."""
    BROKEN = "broken"
    """The connection is gone, and nothing was done."""
    LOST = "lost"
    """It was done, but the connection is gone, and the response with it."""
    COLLIDED = "collided"
    """Another transaction changed the same rows: the database rolls the whole transaction back."""


@dataclass
class Saboteur:
    """A hook between SQLAlchemy and the driver, which lets a number of statements and commits pass and fails once."""

    sandbox: SandboxInstallation
    left: int = field(default=0, init=False)
    fired: bool = field(default=False, init=False)

    def step(self, connection: Any, act: Callable[[], Any]) -> Any:
        """Run a statement or commit, or the fault in its place."""
        self.left -= 1
        if self.left != 0:
            return act()
        self.fired = True
        return self.harm(connection, act)

    def harm(self, connection: Any, act: Callable[[], Any]) -> Any:
        """Run the chosen step with its fault."""
        raise NotImplementedError

    @contextmanager
    def at(self, number: int) -> Iterator[None]:
        """Let the step of that number fail while the block runs."""
        self.left, self.fired = number, False
        try:
            yield
        finally:
            self.left = 0


@dataclass
class Failing(Saboteur):
    """A saboteur that raises the driver's error."""

    fault: Fault

    def harm(self, connection: Any, act: Callable[[], Any]) -> Any:
        """Raise the fault's error."""
        if self.fault is Fault.LOST:
            act()
        if self.fault is Fault.COLLIDED:
            raise collision(self.sandbox.database.is_sqlite)
        if self.fault is not Fault.REFUSED and not self.sandbox.database.is_sqlite:
            connection.close()
        driver = sqlite_driver if self.sandbox.database.is_sqlite else psycopg
        raise driver.OperationalError("sabotage")


def collision(is_sqlite: bool) -> Exception:
    """Return what the driver raises for a serialization conflict."""
    if not is_sqlite:
        return psycopg.errors.SerializationFailure("sabotage")
    error: Exception = sqlite_driver.OperationalError("sabotage")
    error.sqlite_errorname = "SQLITE_BUSY_SNAPSHOT"  # type: ignore[attr-defined]
    return error


@contextmanager
def sabotage(saboteur: Saboteur) -> Iterator[None]:
    """Apply the saboteur to every connection of the installation, except those of the lookup."""
    engine = saboteur.sandbox.database.engine
    commit = engine.dialect.do_commit

    def execute(cursor: Any, statement: str, parameters: Any, _: Any) -> bool:
        saboteur.step(cursor.connection, lambda: cursor.execute(statement, parameters))
        return True

    def execute_many(cursor: Any, statement: str, parameters: Any, _: Any) -> bool:
        saboteur.step(cursor.connection, lambda: cursor.executemany(statement, parameters))
        return True

    def execute_without(cursor: Any, statement: str, _: Any) -> bool:
        saboteur.step(cursor.connection, lambda: cursor.execute(statement))
        return True

    def commit_or_not(connection: Any) -> None:
        driven = getattr(connection, "driver_connection", connection)
        saboteur.step(driven, lambda: commit(connection))

    event.listen(engine, "do_execute", execute)
    event.listen(engine, "do_executemany", execute_many)
    event.listen(engine, "do_execute_no_params", execute_without)
    engine.dialect.do_commit = commit_or_not  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        event.remove(engine, "do_execute", execute)
        event.remove(engine, "do_executemany", execute_many)
        event.remove(engine, "do_execute_no_params", execute_without)
        engine.dialect.do_commit = commit  # type: ignore[method-assign]


Act = Callable[[], object]
Count = Callable[[], int]
UseCase = Callable[[SandboxInstallation, Principal], tuple[Act, Count]]
"""A function that prepares a use case. Returns its act, and a count: 0 before and 1 after it is done."""


def create(sandbox: SandboxInstallation, tenant: Principal) -> tuple[Act, Count]:
    """Create a key."""
    return lambda: sandbox.key(tenant), lambda: len(sandbox.ids(tenant))


def revoke(sandbox: SandboxInstallation, tenant: Principal) -> tuple[Act, Count]:
    """Revoke a key."""
    key = sandbox.key(tenant)
    return (
        lambda: sandbox.services.keys.revoke(tenant, key.key.id),
        lambda: int(sandbox.verdict(key) == "revoked"),
    )


def rotate(sandbox: SandboxInstallation, tenant: Principal) -> tuple[Act, Count]:
    """Rotate a key."""
    key = sandbox.key(tenant)

    def done() -> int:
        ended, successors = sandbox.verdict(key) == "revoked", len(sandbox.ids(tenant)) - 1
        assert ended == successors
        return successors

    return lambda: sandbox.services.rotations.rotate(tenant, key.key.id), done


def narrow(sandbox: SandboxInstallation, tenant: Principal) -> tuple[Act, Count]:
    """Remove a scope of a key."""
    key = sandbox.key(tenant, scopes=("documents:read", "documents:write"))
    patch = KeyPatch(scopes=("documents:read",))
    return (
        lambda: sandbox.services.keys.update(tenant, key.key.id, patch),
        lambda: int(sandbox.verdict(key, "documents:write") == "insufficient_scope"),
    )


def suspend(sandbox: SandboxInstallation, tenant: Principal) -> tuple[Act, Count]:
    """Suspend a workspace."""
    key = sandbox.key(tenant)
    return (
        lambda: sandbox.services.workspaces.suspend(tenant.workspace_id),
        lambda: int(sandbox.verdict(key) == "suspended"),
    )


def sign_in(sandbox: SandboxInstallation, tenant: Principal) -> tuple[Act, Count]:
    """Redeem a sign-in link for a session."""
    services = sandbox.services
    owner = services.workspaces.owner(services.workspaces.create("Own", owner="Ada").id)
    link, _ = services.sign_in.make_link(owner)

    def done() -> int:
        with read_behind(sandbox.database) as tx:
            rows = schema.sessions
            query = select(func.count()).where(rows.c.user_id == owner.user.id)
            return int(tx.execute(query).scalar_one())

    return lambda: services.sign_in.redeem(link), done


def flush(sandbox: SandboxInstallation, tenant: Principal) -> tuple[Act, Count]:
    """Record the use of a key."""
    key = sandbox.key(tenant)
    assert sandbox.verdict(key) == "verified"
    return sandbox.flush, lambda: int(sandbox.keys(tenant)[0].last_use is not None)


USE_CASES = pytest.mark.parametrize(
    "use_case", [create, revoke, rotate, narrow, suspend, sign_in, flush], ids=lambda s: s.__name__
)


def storage_error_of(act: Act) -> type[StorageError] | None:
    """Return None for success, else the kind of storage error; raise any other error."""
    try:
        act()
    except StorageError as error:
        return type(error)
    return None


def verdict_of(sandbox: SandboxInstallation, key: Any) -> str:
    """Return the verdict, or "unavailable"."""
    try:
        return sandbox.verdict(key)
    except Unavailable:
        return "unavailable"
