"""Conflicts of commands with concurrent changes on the installation's own database: done once, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from keystead.bootstrap import Installation
from keystead.cli.outcome import Exit
from keystead.domain.principals import operator
from keystead.storage import retry
from tests.cli.conftest import Keystead
from tests.support.sabotage import collision


@contextmanager
def colliding(installation: Installation, times: int) -> Iterator[None]:
    """Let the event of a change conflict that many times, on any connection of this process."""
    left = times

    def collide(_: Any, statement: str, *__: Any) -> None:
        nonlocal left
        if "INSERT INTO events" in statement and left:
            left -= 1
            raise collision(installation.database.is_sqlite)

    event.listen(Engine, "do_execute", collide)
    try:
        yield
    finally:
        event.remove(Engine, "do_execute", collide)


def descriptions(installation: Installation) -> list[str]:
    """Return the descriptions of all keys."""
    services = installation.services
    (workspace,) = services.workspaces.list().items
    return [key.description for key in services.keys.list(operator("tests", workspace.id)).items]


def test_a_command_retries(keystead: Keystead, installation: Installation) -> None:
    """A command that conflicts is done once, and reports no conflict."""
    with colliding(installation, 2):
        created = keystead("keys", "create", "-d", "sync", "--json")
    assert (created.code, created.json["description"]) == (Exit.DONE, "sync")
    assert descriptions(installation) == ["sync"]


def test_a_command_gives_up(
    keystead: Keystead, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that always conflicts ends as if the database were busy: one line, and nothing done."""
    monkeypatch.setattr(retry, "PAUSES", (0.0, 0.0))
    with colliding(installation, 1_000):
        refused = keystead("keys", "create", "-d", "sync")
    assert (refused.code, refused.out) == (Exit.UNAVAILABLE, "")
    assert "Nothing was changed" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert descriptions(installation) == []
