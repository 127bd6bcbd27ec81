"""The n-th statement or commit fails, for every n: no wrong answer, and nothing is left half done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy import event, func, select

from keystead.domain.errors import OutcomeUnknown, StorageError, Unavailable
from keystead.domain.keys import KeyPatch
from keystead.domain.principals import Principal
from keystead.storage.engine import connections as engines
from keystead.storage.engine.connections import ImpatientConnection, sqlite_driver
from keystead.storage.point_reads import by_id
from keystead.storage.schema import tables as schema
from tests.support.administrator import read_behind
from tests.support.installations import SandboxInstallation, fresh_sandbox

MOST: Final = 60
"""A bound on the statements of an act."""


class Fault(StrEnum):
    """What goes wrong at the n-th step."""

    REFUSED = "refused"
    """The driver refuses, and the step was not done."""
    BROKEN = "broken"
    """The connection is gone, and the step was not done."""
    LOST = "lost"
    """The step was done, but the connection is gone, and the answer with it."""
    COLLIDED = "collided"
    """Others used the same rows: the database undoes the whole transaction."""


@dataclass
class Saboteur:
    """A hook between SQLAlchemy and the driver that lets a number of statements and commits pass, then fails once."""

    sandbox: SandboxInstallation
    left: int = field(default=0, init=False)
    fired: bool = field(default=False, init=False)

    def step(self, connection: Any, act: Callable[[], Any]) -> Any:
        """Run one statement or commit, or the failure in its place."""
        self.left -= 1
        if self.left != 0:
            return act()
        self.fired = True
        return self.harm(connection, act)

    def harm(self, connection: Any, act: Callable[[], Any]) -> Any:
        """Fail at the chosen step."""
        raise NotImplementedError

    @contextmanager
    def at(self, number: int) -> Iterator[None]:
        """Fail the step of that number while the block runs."""
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
        """Raise the fault."""
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
    """Attach the saboteur to every connection of the installation except those of the lookup."""
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
Scene = Callable[[SandboxInstallation, Principal], tuple[Act, Count]]
"""The preparation of an act: returns the act, and its effect, 0 before and 1 once it is done."""


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
    """Create a successor, which ends the key."""
    key = sandbox.key(tenant)

    def done() -> int:
        ended, successors = sandbox.verdict(key) == "revoked", len(sandbox.ids(tenant)) - 1
        assert ended == successors
        return successors

    return lambda: sandbox.services.keys.rotate(tenant, key.key.id), done


def narrow(sandbox: SandboxInstallation, tenant: Principal) -> tuple[Act, Count]:
    """Take scopes away."""
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
    """Redeem a link for a session."""
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
    """Write down the use of a key."""
    key = sandbox.key(tenant)
    assert sandbox.verdict(key) == "verified"
    return sandbox.flush, lambda: int(sandbox.keys(tenant)[0].last_use is not None)


SCENES = pytest.mark.parametrize(
    "scene", [create, revoke, rotate, narrow, suspend, sign_in, flush], ids=lambda s: s.__name__
)


@pytest.mark.slow_on("postgresql")
@SCENES
def test_whichever_step_loses_its_answer(sandbox: SandboxInstallation, scene: Scene) -> None:
    """No success without its effect, no effect without success or "unknown", no event without its change."""
    fail_each_step(sandbox, scene, Fault.LOST)


@pytest.mark.prove
@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.BROKEN])
@SCENES
def test_whichever_step_fails(sandbox: SandboxInstallation, scene: Scene, fault: Fault) -> None:
    """The guarantee holds if the step was not done."""
    fail_each_step(sandbox, scene, fault)


def fail_each_step(sandbox: SandboxInstallation, scene: Scene, fault: Fault) -> None:
    """Run the act with each of its steps failing in turn, and then undisturbed."""
    fired, saboteur = 0, Failing(sandbox, fault)
    with sabotage(saboteur):
        for number in range(1, MOST):
            tenant = sandbox.tenant()
            act, count = scene(sandbox, tenant)
            before, events = count(), len(sandbox.happened(tenant))
            with saboteur.at(number):
                outcome = ended(act)
            done = count() - before
            assert done in {0, 1}
            assert done == 1 or outcome is not None, "a success without effect"
            assert done == 0 or outcome in {None, OutcomeUnknown}, f"{outcome} with an effect"
            if scene in {create, revoke, rotate, narrow}:
                assert len(sandbox.happened(tenant)) - events == done
            assert sandbox.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
            sandbox.key(tenant)
            sandbox.flush()
            if not saboteur.fired:
                break
            fired += 1
    assert 3 <= fired < MOST - 1


def ended(act: Act) -> type[StorageError] | None:
    """Return None for success, else the kind of storage error; raise anything else."""
    try:
        act()
    except StorageError as error:
        return type(error)
    return None


@pytest.mark.parametrize("number", [1, 2, 3])
def test_whichever_read_of_a_verification_fails(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """The lookup's own connection breaks: no dead key is accepted, no live one called dead; then all is well."""
    for engine in ("sqlite", "postgresql"):
        with fresh_sandbox(request, tmp_path_factory, engine) as sandbox:
            tenant = sandbox.tenant()
            live, dead = sandbox.key(tenant), sandbox.key(tenant)
            sandbox.services.keys.revoke(tenant, dead.key.id)
            with failing_lookups(monkeypatch, number):
                verdicts = [told_of(sandbox, key) for _ in range(4) for key in (live, dead)]
            assert set(verdicts[0::2]) <= {"verified", "unavailable"}
            assert set(verdicts[1::2]) <= {"revoked", "unavailable"}
            assert [sandbox.verdict(key) for key in (live, dead)] == ["verified", "revoked"]


def told_of(sandbox: SandboxInstallation, key: Any) -> str:
    """Return the verdict, or that it is unavailable."""
    try:
        return sandbox.verdict(key)
    except Unavailable:
        return "unavailable"


@contextmanager
def failing_lookups(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """Fail every n-th execution on a connection of the lookup with the driver's error."""
    steps = 0

    def harm(driver: Any) -> None:
        nonlocal steps
        steps += 1
        if steps % number == 0:
            raise driver.OperationalError("sabotage")

    class Broken(sqlite_driver.Connection):  # type: ignore[misc]
        def execute(self, *arguments: Any) -> Any:
            harm(sqlite_driver)
            return super().execute(*arguments)

    opened, executed = engines.open_existing, ImpatientConnection.execute

    def execute(self: Any, *arguments: Any, **more: Any) -> Any:
        harm(psycopg)
        return executed(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(by_id, "open_existing", lambda *a, **k: opened(*a, factory=Broken, **k))
        patch.setattr(ImpatientConnection, "execute", execute)
        yield
