"""A database that takes no writes: verdicts as before, 503 for changes, and no use is lost (R36)."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from keystead.bootstrap.background import FLUSH_SECONDS
from tests.support.acknowledged_changes import DEAD, LIVE
from tests.support.outages import RECOVERY_SECONDS, keys_of
from tests.support.postgres import PrivatePostgres, wait_until
from tests.support.server_checks import can_create, ids_of, recorded_uses
from tests.support.server_process import ServerProcess, serving

USES = 7


@contextmanager
def postgresql_takes_no_writes(postgres: PrivatePostgres) -> Iterator[Callable[[], None]]:
    """Set `default_transaction_read_only` for all sessions, existing ones too, until the block ends."""

    def put(value: str) -> None:
        postgres.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        postgres.execute("SELECT pg_reload_conf()")

    put("on")
    try:
        yield lambda: put("off")
    finally:
        put("off")


@contextmanager
def no_file_can_be_written(server: ServerProcess) -> Iterator[Callable[[], None]]:
    """Fail every write to a file in the serving process, on open files too, until the block ends."""
    (process,) = server.processes()
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (0, before[1]))

    def end() -> None:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)

    try:
        yield end
    finally:
        end()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server over SQLite, whose own output goes to no file."""
    with serving(f"sqlite:///{tmp_path / 'data' / 'keystead.db'}", start=False) as server:
        for name in ("output", "log"):
            (server.data / name).symlink_to(os.devnull)
        server.start()
        yield server


@pytest.mark.slow
def test_a_postgresql_that_takes_no_writes(private_postgres: PrivatePostgres) -> None:
    """As after `ALTER SYSTEM SET default_transaction_read_only`: verdicts, 503 for changes, recovery within seconds."""
    with serving(private_postgres.dsn()) as server:
        go_without_writing(server, postgresql_takes_no_writes(private_postgres))


@pytest.mark.slow
def test_a_sqlite_that_takes_no_writes(embedded: ServerProcess) -> None:
    """The guarantee holds on a file system that becomes read-only under open files."""
    go_without_writing(embedded, no_file_can_be_written(embedded))


def go_without_writing(
    server: ServerProcess, without_writes: AbstractContextManager[Callable[[], None]]
) -> None:
    """Check the guarantees while no write succeeds, and again after writes do."""
    tokens = keys_of(server)
    server.put_on("scale")
    live, creator = ids_of(server, [tokens["live"], tokens["create"]])
    wait_until(lambda: recorded_uses(server, [live]) == [1], "the first use is written")
    with without_writes as end:
        wait_until(lambda: not can_create(server, tokens["create"]), "changes are refused")
        for _ in range(USES):
            assert passes(server, tokens["live"]) == LIVE
            assert passes(server, tokens["dead"]) == passes(server, tokens["unknown"]) == DEAD
            require_no_change(server, tokens["create"], creator)
        time.sleep(FLUSH_SECONDS)  # Wait until a periodic write has failed.
        end()
        ended = time.monotonic()
        wait_until(lambda: can_create(server, tokens["create"]), "keys are made again")
        assert time.monotonic() - ended < RECOVERY_SECONDS
    wait_until(lambda: recorded_uses(server, [live]) == [1 + USES], "no use is lost")
    verdicts = [passes(server, tokens[kind]) for kind in ("live", "dead", "unknown")]
    assert verdicts == [LIVE, DEAD, DEAD]


def require_no_change(server: ServerProcess, token: str, key: str) -> None:
    """Check that creating, changing and revoking keys is refused with Retry-After, and has no effect."""
    for method, path, body in (
        ("POST", "/v1/keys", {"description": "no"}),
        ("PATCH", f"/v1/keys/{key}", {"description": "no"}),
        ("DELETE", f"/v1/keys/{key}", None),
    ):
        answer = server.call(method, path, token=token, json=body)
        assert answer.status_code == 503
        assert answer.json()["code"] in {"unavailable", "outcome-unknown"}
        assert "retry-after" in answer.headers
    response = server.call("GET", "/v1/whoami", token=token)
    assert response.status_code == LIVE
    assert response.json()["key"]["description"] != "no"


def passes(server: ServerProcess, token: str) -> int:
    """Return the response that a gateway gets for a request with that token."""
    return server.call("GET", "/forward-auth/any", token=token).status_code
