"""One workspace next to another that hammers the database: what it waits for, and what it does not (R58, E14)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from bench import neighbours
from keystead.domain.errors import LimitReached
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal
from tests.installations import ENGINES, Ground, text_of
from tests.postgres import wait_until

LOUD = 4


def _beside_a_change(ground: Ground, loud: Principal, act: Callable[[], object]) -> None:
    """Run the work while the other workspace is in the middle of a change."""
    with ground.database.write(loud.workspace_id):
        act()


def test_reading_waits_for_nobody(ground: Ground) -> None:
    """While a workspace changes, another verifies, lists and counts, on both engines (R58)."""
    loud, quiet = ground.tenant(), ground.tenant()
    created = ground.key(quiet)
    server = ground.another()

    def read() -> None:
        verdict = server.services.verifier.verify(text_of(created), "documents:read")
        assert type(verdict).__name__ == "Verified"
        assert [key.id for key in ground.keys(quiet)] == [created.key.id]
        assert ground.used(quiet) == 1
        assert ground.happened(quiet) == ["key.created"]

    _beside_a_change(ground, loud, read)


@pytest.mark.parametrize("shared_ground", ["postgresql"], indirect=True)
def test_changes_of_two_workspaces_go_side_by_side(ground: Ground) -> None:
    """On PostgreSQL keys are created and revoked during another workspace's change, without waiting (R58)."""
    loud, quiet = ground.tenant(), ground.tenant()

    def change() -> None:
        ground.services.keys.revoke(quiet, ground.key(quiet).key.id)

    _beside_a_change(ground, loud, change)
    assert ground.happened(quiet) == ["key.created", "key.revoked"]


@pytest.mark.parametrize("shared_ground", ["sqlite"], indirect=True)
def test_everybody_has_a_turn(ground: Ground) -> None:
    """On SQLite, with one writer at a time, a single request comes before the repeated ones of another (R58)."""
    loud, quiet = ground.tenant(), ground.tenant()
    order: list[str] = []

    def write(principal: Principal, name: str, times: int) -> None:
        for _ in range(times):
            with ground.database.write(principal.workspace_id):
                order.append(name)

    asked = [(loud, f"loud {number}", 3) for number in range(LOUD)] + [(quiet, "quiet", 1)]
    threads = []
    writers = ground.database._writers
    with ground.database.write(loud.workspace_id):
        for one in asked:
            threads.append(threading.Thread(target=write, args=one))
            threads[-1].start()
            wait_until(lambda: writers.waiting == len(threads), "the writer waits")
    for thread in threads:
        thread.join()
    assert order.index("quiet") <= 1
    assert len(order) == 3 * LOUD + 1


def test_a_full_neighbour_takes_no_place(ground: Ground) -> None:
    """A workspace that asks for more than its limit leaves another's limit and list as they were (R58)."""
    loud, quiet = ground.tenant(limit=2), ground.tenant(limit=2)
    ground.key(quiet)
    for _ in range(2):
        ground.key(loud)
    for _ in range(20):
        with pytest.raises(LimitReached):
            ground.services.keys.create(loud, KeyDraft("more"))
    assert (ground.used(quiet), ground.used(loud)) == (1, 2)
    ground.key(quiet)
    assert ground.used(quiet) == 2


@pytest.mark.prove
@pytest.mark.parametrize("engine", ENGINES)
def test_a_noisy_neighbour(engine: str, record_property: Callable[[str, object], None]) -> None:
    """Over HTTP, next to eight connections that create, list and push, every answer comes and no quota moves (E14).

    The figures go into the report; `python -m bench neighbours` takes them next to their target.
    """
    for figure in neighbours.figures_of(engine, calls=neighbours.CALLS):
        record_property(figure.name, figure.ratio)
