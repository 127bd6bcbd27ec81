"""Retrying on conflict: only work without effect, a few times, within seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from keystead.domain.errors import OutcomeUnknown, StorageError, Unavailable
from keystead.storage import retry
from keystead.storage.engine.connections import sqlite_driver
from keystead.storage.engine.errors import RolledBack, StatementFault
from tests.support.installations import SandboxInstallation
from tests.support.postgres import wait_until

CODES = {
    "sqlite": ["SQLITE_BUSY_SNAPSHOT"],
    "postgresql": ["40001", "40P01", "25P03", "25P04"],
}
OTHERS = {
    "sqlite": ["SQLITE_BUSY", "SQLITE_IOERR", "SQLITE_FULL"],
    "postgresql": ["40003", "55P03", "57014", "53100", "08006"],
}


def refusal(sandbox: SandboxInstallation, code: str) -> Exception:
    """Return the driver's error with that code."""
    if not sandbox.database.is_sqlite:
        return psycopg.errors.lookup(code)("planted")
    error: Exception = sqlite_driver.OperationalError("planted")
    error.sqlite_errorname = code  # type: ignore[attr-defined]
    return error


GONE = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"


@contextmanager
def at_commit(sandbox: SandboxInstallation, code: str) -> Iterator[list[str]]:
    """Refuse every commit with that code. Returns a list that grows with each."""
    dialect, tried = sandbox.database.engine.dialect, list[str]()
    commit = dialect.do_commit

    def refuse(connection: Any) -> None:
        tried.append(code)
        raise refusal(sandbox, code)

    dialect.do_commit = refuse  # type: ignore[method-assign,assignment]
    try:
        yield tried
    finally:
        dialect.do_commit = commit  # type: ignore[method-assign]


@contextmanager
def at_statement(
    sandbox: SandboxInstallation, code: str, words: str = "INSERT INTO events"
) -> Iterator[list[str]]:
    """Refuse every statement that contains the text with that code. Returns a list that grows with each."""
    tried = list[str]()

    def refuse(_: Any, statement: str, *__: Any) -> None:
        if words in statement:
            tried.append(code)
            raise refusal(sandbox, code)

    event.listen(sandbox.database.engine, "do_execute", refuse)
    try:
        yield tried
    finally:
        event.remove(sandbox.database.engine, "do_execute", refuse)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without pauses and without a time limit."""
    monkeypatch.setattr(retry, "PAUSES", (0.0,) * len(retry.PAUSES))
    monkeypatch.setattr(retry, "SECONDS", 60.0)


def codes(sandbox: SandboxInstallation, among: dict[str, list[str]]) -> list[str]:
    """Return the engine's codes of conflicts."""
    return among["sqlite" if sandbox.database.is_sqlite else "postgresql"]


@pytest.mark.parametrize("refused", [at_statement, at_commit])
def test_it_gives_up(sandbox: SandboxInstallation, refused: Callable[..., Any]) -> None:
    """Work that conflicts each time is refused after ten attempts, as unavailable, without effect."""
    tenant = sandbox.tenant()
    for code in codes(sandbox, CODES):
        with refused(sandbox, code) as tried, pytest.raises(Unavailable) as refusal:
            sandbox.key(tenant)
        assert type(refusal.value) is Unavailable
        assert len(tried) == len(retry.PAUSES) + 1 == 10
    assert (sandbox.ids(tenant), sandbox.happened(tenant), sandbox.used(tenant)) == ([], [], 0)
    sandbox.key(tenant)


def test_it_ends_in_time(sandbox: SandboxInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time is over there is no further attempt."""
    monkeypatch.setattr(retry, "SECONDS", -1.0)
    tenant = sandbox.tenant()
    with at_commit(sandbox, codes(sandbox, CODES)[0]) as tried, pytest.raises(Unavailable):
        sandbox.key(tenant)
    assert len(tried) == 1


@pytest.mark.parametrize("refused", [at_statement, at_commit])
def test_nothing_else_is_tried_again(
    sandbox: SandboxInstallation, refused: Callable[..., Any]
) -> None:
    """Not retried: what may have been done, what waited long enough, what would fail again."""
    tenant = sandbox.tenant()
    for code in codes(sandbox, OTHERS):
        with (
            refused(sandbox, code) as tried,
            pytest.raises((StorageError, StatementFault)) as refusal,
        ):
            sandbox.key(tenant)
        assert len(tried) == 1, code
        assert not isinstance(refusal.value, RolledBack)


def test_an_ambiguous_commit_is_in_doubt(sandbox: SandboxInstallation) -> None:
    """If the database reports an unknown outcome, so do we, without a retry: 40003 is not 40001."""
    tenant = sandbox.tenant()
    code = "SQLITE_IOERR" if sandbox.database.is_sqlite else "40003"
    with at_commit(sandbox, code) as tried, pytest.raises(OutcomeUnknown):
        sandbox.key(tenant)
    assert tried == [code]


@pytest.mark.parametrize("own_sandbox", ["postgresql"], indirect=True)
def test_work_that_stood_still_runs_again(own_sandbox: SandboxInstallation) -> None:
    """A process that a busy machine stopped in the middle of a change finds its transaction ended, and repeats it."""
    tenant, stopped = own_sandbox.tenant(), list[int]()

    def stop(cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO events" not in statement or stopped:
            return
        stopped.append(cursor.connection.info.backend_pid)
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '1ms'")
        with psycopg.connect(own_sandbox.url, autocommit=True) as other:
            wait_until(lambda: other.execute(GONE, stopped).fetchone() is None, "it was ended")

    event.listen(own_sandbox.database.engine, "do_execute", stop)
    try:
        own_sandbox.key(tenant)
    finally:
        event.remove(own_sandbox.database.engine, "do_execute", stop)
    assert len(stopped) == 1
    assert own_sandbox.used(tenant) == len(own_sandbox.ids(tenant)) == 1
