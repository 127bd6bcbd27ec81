"""Fixtures of these tests: whole installations on both engines, and the oldest PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.installations import own_sandbox, sandbox, shared_sandbox
from tests.support.postgres import OLDEST, PostgresServer, own_postgres

__all__ = ["own_sandbox", "sandbox", "shared_sandbox"]


@pytest.fixture(scope="session")
def oldest_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL 15; skips if it is not installed."""
    if not (OLDEST / "postgres").exists():
        pytest.skip(f"no PostgreSQL 15 in {OLDEST}: Debian 12 has it as postgresql-15")
    with own_postgres(fsync=False, binaries=OLDEST) as server:
        yield server
