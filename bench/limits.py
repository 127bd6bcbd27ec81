"""The cost of a limit to creations of keys: on PostgreSQL, over eight connections, with and without a limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from bench.figures import ROUNDS, Figure, at_least, rates
from bench.installations import FilledInstallation, filled, postgresql
from keystead.domain.ids import WorkspaceId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, system

CONNECTIONS: Final = 8
KEYS: Final = 1_000
EACH: Final = 60
"""Keys that each connection creates in a round."""


def figures(quick: bool) -> Iterator[Figure]:
    """Measure all eight in one workspace, where they wait for its lock; and each in a workspace of its own."""
    each = EACH // 10 if quick else EACH
    with postgresql() as server, filled(KEYS, server) as setup, _pool() as pool:
        for name, workspaces in (("one workspace", 1), ("eight workspaces", CONNECTIONS)):
            limited = [_workspace(setup, 1_000_000) for _ in range(workspaces)]
            free = [_workspace(setup, None) for _ in range(workspaces)]
            sides: tuple[list[float], list[float]] = ([], [])
            for number in range(ROUNDS + 1):
                for tenants, side in zip((limited, free), sides, strict=True):
                    rate = _rate(setup, pool, tenants, each)
                    if number:
                        side.append(rate)
            title = f"keys created under a limit, vs. without, PostgreSQL, 8 connections, {name}"
            yield rates(title, *sides, at_least(0.8))


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CONNECTIONS)


def _workspace(setup: FilledInstallation, limit: int | None) -> Principal:
    workspaces = setup.installation.services.workspaces
    workspace_id: WorkspaceId = workspaces.create("bench", plan_id="scale").id
    workspaces.set_plan(workspace_id, "scale", {"api_keys": limit})
    return system(workspace_id)


def _rate(
    setup: FilledInstallation, pool: ThreadPoolExecutor, tenants: list[Principal], each: int
) -> float:
    """Return keys a second."""
    keys = setup.installation.services.keys

    def create(place: int) -> None:
        for number in range(each):
            keys.create(tenants[place % len(tenants)], KeyDraft(f"bench {number}"))

    started = time.perf_counter()
    list(pool.map(create, range(CONNECTIONS)))
    return CONNECTIONS * each / (time.perf_counter() - started)
