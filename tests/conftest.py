"""Fixtures for all tests: databases of both engines, and the rule for tests that cannot run here."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import hypothesis
import pytest

from tests.support.postgres import (
    PostgresServer,
    PrivatePostgres,
    find_binaries,
    own_postgres,
    shared_postgres,
)

if TYPE_CHECKING:
    from tests.support.server_process import ServerProcess

REQUIRE_ALL = "KEYSTEAD_REQUIRE_ALL"
TESTS = Path(__file__).resolve().parent
ABOVE_STORAGE = frozenset(
    {
        "api",
        "cli",
        "client",
        "developer_area",
        "gate",
        "integrations",
        "journeys",
        "services",
        "standing",
        "worker",
    }
)
"""Folders whose tests reach rows only through the storage package."""

DRAWS = "KEYSTEAD_TEST_DRAWS"
"""`fixed` (the default): property tests draw the same values each time, so that no run fails by
chance. `fresh`: new values, and ten times as many; for `make nightly` and `make prove`.
"""

# A slow machine is not a fault of the code: no property fails for the time it takes.
_PROFILE = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "fixed", _PROFILE, derandomize=True, database=None, max_examples=40
)
hypothesis.settings.register_profile("fresh", _PROFILE, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get(DRAWS, "fixed"))


AnyReport = TypeVar("AnyReport", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge the skip of a test."""
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge the skip of a whole module."""
    return refuse_skip((yield))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark a test as slow on the engines on which it is slow.

    A test names them itself. Tests above storage run on PostgreSQL only in `make test-all`;
    storage's own tests always run on both engines.
    """
    for item in items:
        parameters = getattr(item, "callspec", None)
        engines = {mark.args[0] for mark in item.iter_markers("slow_on")}
        below = item.path.relative_to(TESTS) if item.path.is_relative_to(TESTS) else Path()
        if below.parts[:1] and below.parts[0] in ABOVE_STORAGE:
            engines.add("postgresql")
        values = () if parameters is None else parameters.params.values()
        if any(isinstance(value, str) and value in engines for value in values):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Exempt what collecting made from garbage collection: it lives as long as the process."""
    gc.collect()
    gc.freeze()


def refuse_skip(report: AnyReport) -> AnyReport:
    """Turn a skip into a failure if everything is required (continuous integration): no guarantee goes untested."""
    if os.environ.get(REQUIRE_ALL) == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, though {REQUIRE_ALL}=1 requires it: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The backend of asynchronous tests: asyncio, as in the server."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A real PostgreSQL, started once for the whole run; skips if its binaries are missing."""
    _require_postgres()
    base = tmp_path_factory.getbasetemp()
    with shared_postgres(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as server:
        yield server


@pytest.fixture
def private_postgres() -> Iterator[PrivatePostgres]:
    """A PostgreSQL of the test's own, syncing to disk, that may be stopped, killed and restarted."""
    _require_postgres()
    with own_postgres() as server:
        yield server


def _require_postgres() -> None:
    if find_binaries() is None:
        pytest.skip("no PostgreSQL binaries on this platform")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database, once on each engine: a test that requests it runs twice.

    That of PostgreSQL has its schema and its row-level security already, and the URL is the
    server's.
    """
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'keystead.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    from tests.support.row_security import installed_database, server_url

    name = installed_database(server)
    yield server_url(server, name)
    server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh, empty database for its owner, once on each engine: the test runs twice."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'keystead.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create_database()
    yield server.dsn(name)
    server.drop_database(name)


@pytest.fixture
def server(database_url: str) -> Iterator[ServerProcess]:
    """A real server, once on each engine: a test that requests it runs twice."""
    from tests.support.server_process import serving

    with serving(database_url) as started:
        yield started
