"""Temporary installations to measure: a database in a temporary folder, filled with keys."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import insert

from bench.loading import load
from bench.populations import LARGEST, SAMPLES, Population
from keystead.bootstrap import Installation, open_installation
from keystead.domain.digest import Pepper, Peppers
from keystead.domain.principals import Principal, system
from keystead.domain.token import Token, mint
from keystead.settings import Settings
from keystead.storage.schema import tables as schema
from tests.support.postgres import PostgresServer, own_postgres
from tests.support.row_security import installed

BATCH: Final = 20_000
MEMORY: Final = ("shared_buffers = '1GB'", "max_wal_size = '16GB'", "checkpoint_timeout = '30min'")


@dataclass(frozen=True)
class FilledInstallation:
    """A filled installation: an owner in its first workspace, active tokens, and their pepper."""

    installation: Installation
    owner: Principal
    tokens: list[Token]
    pepper: Pepper


@contextmanager
def filled(
    keys: int,
    server: PostgresServer | None = None,
    *,
    verification: str = "read",
    sampled: int = SAMPLES,
) -> Iterator[FilledInstallation]:
    """Open an installation without limits, with `keys` keys in one workspace; on SQLite by default."""
    with emptied(server, verification) as (installation, pepper):
        member = installation.services.workspaces.first()
        installation.services.workspaces.set_plan(member.workspace_id, "scale")
        owner = system(member.workspace_id)
        yield FilledInstallation(
            installation, owner, fill(installation, owner, pepper, keys, sampled), pepper
        )


@contextmanager
def populated(
    population: Population, server: PostgresServer | None = None
) -> Iterator[FilledInstallation]:
    """Open an installation that has a population; its owner is that of the largest workspace."""
    with emptied(server, "read", population) as (installation, pepper):
        yield FilledInstallation(installation, system(LARGEST), population.tokens, pepper)


@contextmanager
def emptied(
    server: PostgresServer | None, verification: str, population: Population | None = None
) -> Iterator[tuple[Installation, Pepper]]:
    """Open a migrated installation with only the population, and its pepper.

    It is removed afterwards.
    """
    pepper = Pepper("bench", os.urandom(32)) if population is None else population.pepper
    with tempfile.TemporaryDirectory(prefix="keystead-bench-") as folder:
        name = None if server is None else server.create_database()
        url = f"sqlite:///{folder}/keystead.db" if server is None else server.dsn(name or "")
        server_url = installed(url)
        if population is not None:
            load(url, population)
        settings = Settings.model_validate(
            {"data": folder, "database": server_url, "verification": verification}
        )
        installation = open_installation(settings, Peppers(pepper))
        try:
            yield installation, pepper
        finally:
            installation.close()
            if server is not None and name is not None:
                server.drop_database(name)


@contextmanager
def postgresql() -> Iterator[PostgresServer]:
    """Start a server that syncs, with memory for large tables, as an operator would configure it."""
    with own_postgres() as server:
        for setting in MEMORY:
            server.execute(f"ALTER SYSTEM SET {setting}")
        server.restart()
        yield server


def fill(
    installation: Installation, owner: Principal, pepper: Pepper, keys: int, sampled: int
) -> list[Token]:
    """Insert that many active keys into the owner's workspace. Returns the tokens of `sampled` of them."""
    tokens = _minted(keys)
    sample: list[Token] = []
    while batch := list(islice(tokens, BATCH)):
        with installation.database.write(owner.workspace_id) as tx:
            tx.execute(insert(schema.api_keys), [_row(owner, pepper, token) for token in batch])
        sample += batch[:: max(1, keys // sampled)]
    return sample


def _minted(keys: int) -> Iterator[Token]:
    now = datetime.now(UTC)
    return (mint("ks", now) for _ in range(keys))


def _row(owner: Principal, pepper: Pepper, token: Token) -> dict[str, Any]:
    return {
        "id": token.key_id,
        "workspace_id": owner.workspace_id,
        "description": "bench",
        "folded_description": "bench",
        "hint": token.hint,
        "pepper_id": pepper.id,
        "digest": pepper.digest(token.body()),
        "scopes": "*",
        "created_at": datetime.now(UTC),
        "created_by_kind": owner.kind,
        "created_by_id": owner.id,
        "created_by_name": owner.name,
    }
