"""Fixtures of the gate's tests: the whole application over both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.gate.doors import Doors, doors_of
from tests.installations import Ground, ground, own_ground, shared_ground

__all__ = ["ground", "own_ground", "shared_ground"]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all requests of a file, as a server's process has."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def shared_doors(shared_ground: Ground, runner: asyncio.Runner) -> Doors:
    """The file's installation with its endpoints."""
    return doors_of(shared_ground, runner)


@pytest.fixture
def doors(ground: Ground, shared_doors: Doors) -> Doors:
    """The same, at noon."""
    return shared_doors
