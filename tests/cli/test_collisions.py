"""Commands on the installation's own database, where others are at the same rows: done once, or plainly refused."""

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
    """Let the event of a change collide with others' that many times, on any connection of this process."""
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
    """Of the keys that there are."""
    services = installation.services
    (workspace,) = services.workspaces.list().items
    return [key.description for key in services.keys.list(operator("tests", workspace.id)).items]


def test_a_command_begins_anew(keystead: Keystead, installation: Installation) -> None:
    """A command that collided is done once, and says nothing of it."""
    with colliding(installation, 2):
        made = keystead("keys", "create", "-d", "sync", "--json")
    assert (made.code, made.json["description"]) == (Exit.DONE, "sync")
    assert descriptions(installation) == ["sync"]


def test_a_command_gives_up(
    keystead: Keystead, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that never stops colliding ends as if the database were busy: one line, and nothing done."""
    monkeypatch.setattr(retry, "PAUSES", (0.0, 0.0))
    with colliding(installation, 1_000):
        refused = keystead("keys", "create", "-d", "sync")
    assert (refused.code, refused.out) == (Exit.UNAVAILABLE, "")
    assert "Nothing was saved" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert descriptions(installation) == []
