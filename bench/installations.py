"""Throw-away installations to measure: a database in a temporary folder, filled with as many keys as asked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from keystead.bootstrap import Installation, open_installation
from keystead.domain.digest import Pepper, Peppers
from keystead.domain.principals import Principal, system
from keystead.domain.token import Token, mint
from keystead.settings import Settings
from keystead.storage import schema
from keystead.storage.migrate import upgrade

BATCH = 20_000


@dataclass(frozen=True)
class Ground:
    """A filled installation: who may do all in its first workspace, live tokens, and the pepper they were made with."""

    installation: Installation
    owner: Principal
    tokens: list[Token]
    pepper: Pepper


@contextmanager
def filled(keys: int, database_url: str | None = None) -> Iterator[Ground]:
    """An installation without limits, holding `keys` keys."""
    with tempfile.TemporaryDirectory(prefix="keystead-bench-") as folder:
        pepper = Pepper("bench", os.urandom(32))
        settings = Settings(data=Path(folder), database=database_url)
        installation = open_installation(settings, Peppers(pepper))
        try:
            upgrade(installation.database)
            yield _filled(installation, pepper, keys)
        finally:
            installation.close()


def _filled(installation: Installation, pepper: Pepper, keys: int) -> Ground:
    member = installation.services.workspaces.first()
    installation.services.workspaces.set_plan(member.workspace_id, "scale")
    owner = system(member.workspace_id)
    tokens = _minted(keys)
    sample: list[Token] = []
    while batch := list(islice(tokens, BATCH)):
        with installation.database.write(owner.workspace_id) as tx:
            tx.execute(insert(schema.api_keys), [_row(owner, pepper, token) for token in batch])
        sample += batch[:: max(1, keys // 1000)]
    return Ground(installation, owner, sample, pepper)


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
