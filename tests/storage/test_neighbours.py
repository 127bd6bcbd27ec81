"""One workspace next to another that floods the database: what it waits for, and what it does not (R58, E14)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from bench import neighbours
from keystead.domain.errors import LimitReached
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal
from tests.support.installations import ENGINES, SandboxInstallation, text_of
from tests.support.postgres import wait_until

LOUD = 4


def _beside_a_change(
    sandbox: SandboxInstallation, loud: Principal, act: Callable[[], object]
) -> None:
    """Run the work while the other workspace is in the middle of a change."""
    with sandbox.database.write(loud.workspace_id):
        act()


def test_reading_does_not_wait(sandbox: SandboxInstallation) -> None:
    """While a workspace changes, another verifies, lists and counts, on both engines (R58)."""
    loud, quiet = sandbox.tenant(), sandbox.tenant()
    created = sandbox.key(quiet)
    server = sandbox.another()

    def read() -> None:
        verdict = server.services.verifier.verify(text_of(created), "documents:read")
        assert type(verdict).__name__ == "Verified"
        assert [key.id for key in sandbox.keys(quiet)] == [created.key.id]
        assert sandbox.used(quiet) == 1
        assert sandbox.happened(quiet) == ["key.created"]

    _beside_a_change(sandbox, loud, read)


@pytest.mark.parametrize("shared_sandbox", ["postgresql"], indirect=True)
def test_changes_of_two_workspaces_go_side_by_side(sandbox: SandboxInstallation) -> None:
    """On PostgreSQL keys are created and revoked during another workspace's change, without waiting (R58)."""
    loud, quiet = sandbox.tenant(), sandbox.tenant()

    def change() -> None:
        sandbox.services.keys.revoke(quiet, sandbox.key(quiet).key.id)

    _beside_a_change(sandbox, loud, change)
    assert sandbox.happened(quiet) == ["key.created", "key.revoked"]


@pytest.mark.parametrize("shared_sandbox", ["sqlite"], indirect=True)
def test_everybody_has_a_turn(sandbox: SandboxInstallation) -> None:
    """On SQLite, with one writer at a time, a single request comes before the repeated ones of another (R58)."""
    loud, quiet = sandbox.tenant(), sandbox.tenant()
    order: list[str] = []

    def write(principal: Principal, name: str, times: int) -> None:
        for _ in range(times):
            with sandbox.database.write(principal.workspace_id):
                order.append(name)

    requests = [(loud, f"loud {number}", 3) for number in range(LOUD)] + [(quiet, "quiet", 1)]
    threads = []
    writers = sandbox.database._writers
    with sandbox.database.write(loud.workspace_id):
        for request in requests:
            threads.append(threading.Thread(target=write, args=request))
            threads[-1].start()
            wait_until(lambda: writers.waiting == len(threads), "the writer waits")
    for thread in threads:
        thread.join()
    assert order.index("quiet") <= 1
    assert len(order) == 3 * LOUD + 1


def test_a_full_neighbour_takes_no_place(sandbox: SandboxInstallation) -> None:
    """A workspace that requests more than its limit leaves another's limit and list as they were (R58)."""
    loud, quiet = sandbox.tenant(limit=2), sandbox.tenant(limit=2)
    sandbox.key(quiet)
    for _ in range(2):
        sandbox.key(loud)
    for _ in range(20):
        with pytest.raises(LimitReached):
            sandbox.services.keys.create(loud, KeyDraft("more"))
    assert (sandbox.used(quiet), sandbox.used(loud)) == (1, 2)
    sandbox.key(quiet)
    assert sandbox.used(quiet) == 2


@pytest.mark.prove
@pytest.mark.parametrize("engine", ENGINES)
def test_a_noisy_neighbour(engine: str, record_property: Callable[[str, object], None]) -> None:
    """Over HTTP, next to eight connections that create, list and push, every answer comes and no quota moves (E14).

    The figures go into the report; `python -m bench neighbours` takes them next to their target.
    """
    for figure in neighbours.figures_of(engine, calls=neighbours.CALLS):
        record_property(figure.name, figure.ratio)
