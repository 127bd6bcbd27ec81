"""The n-th statement or commit fails, for every n: no wrong answer, and nothing is left half done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from keystead.domain.errors import OutcomeUnknown
from keystead.storage.engine import connections as engines
from keystead.storage.engine.connections import sqlite_driver
from keystead.storage.engine.liveness import ImpatientConnection
from keystead.storage.point_reads import by_id
from tests.support.installations import SandboxInstallation, fresh_sandbox
from tests.support.sabotage import (
    MOST,
    USE_CASES,
    Failing,
    Fault,
    UseCase,
    create,
    narrow,
    revoke,
    rotate,
    sabotage,
    storage_error_of,
    verdict_of,
)


@pytest.mark.slow_on("postgresql")
@USE_CASES
def test_whichever_step_loses_its_answer(sandbox: SandboxInstallation, use_case: UseCase) -> None:
    """No success without its effect, no effect without success or "unknown", no event without its change."""
    fail_each_step(sandbox, use_case, Fault.LOST)


@pytest.mark.prove
@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.BROKEN])
@USE_CASES
def test_whichever_step_fails(
    sandbox: SandboxInstallation, use_case: UseCase, fault: Fault
) -> None:
    """The guarantee holds if the step was not done."""
    fail_each_step(sandbox, use_case, fault)


def fail_each_step(sandbox: SandboxInstallation, use_case: UseCase, fault: Fault) -> None:
    """Run the act with each of its steps failing in turn, and then undisturbed."""
    fired, saboteur = 0, Failing(sandbox, fault)
    with sabotage(saboteur):
        for number in range(1, MOST):
            tenant = sandbox.tenant()
            act, count = use_case(sandbox, tenant)
            before, events = count(), len(sandbox.happened(tenant))
            with saboteur.at(number):
                outcome = storage_error_of(act)
            done = count() - before
            assert done in {0, 1}
            assert done == 1 or outcome is not None, "a success without effect"
            assert done == 0 or outcome in {None, OutcomeUnknown}, f"{outcome} with an effect"
            if use_case in {create, revoke, rotate, narrow}:
                assert len(sandbox.happened(tenant)) - events == done
            assert sandbox.database.pool.in_use == 0
            sandbox.key(tenant)
            sandbox.flush()
            if not saboteur.fired:
                break
            fired += 1
    assert 3 <= fired < MOST - 1


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
                verdicts = [verdict_of(sandbox, key) for _ in range(4) for key in (live, dead)]
            assert set(verdicts[0::2]) <= {"verified", "unavailable"}
            assert set(verdicts[1::2]) <= {"revoked", "unavailable"}
            assert [sandbox.verdict(key) for key in (live, dead)] == ["verified", "revoked"]


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
