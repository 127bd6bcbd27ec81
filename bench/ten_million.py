"""Ten million keys in one table: frequent operations, against the same in a table of a thousand.

100,000 workspaces, one of which has a million keys and each other one about ninety. What grows with a workspace's
own keys is separated from what grows with the table.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bench.figures import Figure, at_most, durations, side_by_side
from bench.installations import FilledInstallation, populated, postgresql
from bench.populations import LARGEST, TYPICAL, Population
from bench.verification import verification
from keystead.domain.digest import Pepper
from keystead.domain.errors import LimitReached
from keystead.domain.key_lists import KeySelection
from keystead.domain.keys import KeyDraft, KeyStatus
from keystead.domain.principals import Principal, system
from keystead.storage.clock import clock_of
from keystead.storage.engine.roles import Purpose
from keystead.storage.tables.keys import pepper_ids_of_live_keys
from tests.support.postgres import PostgresServer

LARGE: Final = (10_000_000, 100_000, 1_000_000)
MIDDLE: Final = (100_000, 1_000, 10_000)
SMALL: Final = (1_000, 11, 100)
"""Keys, workspaces, keys of the largest workspace; a typical one has ninety in each."""
VERIFICATIONS: Final = 4_000
READS: Final = 100
WRITES: Final = 40
SEARCHES: Final = 3
Act = Callable[[FilledInstallation, Principal], Callable[[], object]]


def on_sqlite(quick: bool) -> Iterator[Figure]:
    """Measure SQLite, in two files of a temporary folder."""
    yield from _figures("SQLite", None, quick)


def on_postgresql(quick: bool) -> Iterator[Figure]:
    """Measure PostgreSQL, in two databases of a separate server."""
    with postgresql() as server:
        yield from _figures("PostgreSQL", server, quick)


def _figures(engine: str, server: PostgresServer | None, quick: bool) -> Iterator[Figure]:
    shape = MIDDLE if quick else LARGE
    with _installation(shape, server) as large, _installation(SMALL, server) as small:
        keys, _, most = shape
        title = f"{engine}, {keys:,} keys vs. {SMALL[0]:,}"
        ours, floor = side_by_side(verification(large), verification(small), VERIFICATIONS)
        yield from durations(f"{title}: verification (read)", ours, floor, at_most(1.4))
        yield from _medians(title, _FLUSH, (large, LARGEST), (small, LARGEST))
        yield from _medians(title, _ACTS, (large, TYPICAL), (small, TYPICAL))
        title = f"{engine}, {most:,} keys in one workspace vs. 90"
        yield from _medians(title, _ACTS | _LARGE_ACTS, (large, LARGEST), (large, TYPICAL))


Side = tuple[FilledInstallation, str]


def _medians(
    title: str, acts: dict[str, tuple[Act, int]], ours: Side, floor: Side
) -> Iterator[Figure]:
    for name, (act, calls) in acts.items():
        mine, theirs = (act(setup, system(id)) for setup, id in (ours, floor))  # type: ignore[arg-type]
        samples = side_by_side(mine, theirs, calls)
        yield durations(f"{title}: {name}", *samples)[0]


@contextmanager
def _installation(
    shape: tuple[int, int, int], server: PostgresServer | None
) -> Iterator[FilledInstallation]:
    with populated(Population(*shape, Pepper("bench", os.urandom(32))), server) as setup:
        yield setup


def _page(setup: FilledInstallation, principal: Principal) -> Callable[[], object]:
    return lambda: setup.installation.services.keys.list(principal, limit=50)


def _deep_page(setup: FilledInstallation, principal: Principal) -> Callable[[], object]:
    keys = setup.installation.services.keys
    middle = keys.list(principal, limit=40).next
    return lambda: keys.list(principal, limit=40, after=middle)


def _active_page(setup: FilledInstallation, principal: Principal) -> Callable[[], object]:
    keys = setup.installation.services.keys
    return lambda: keys.list(principal, KeySelection(KeyStatus.ACTIVE))


def _revoked_page(setup: FilledInstallation, principal: Principal) -> Callable[[], object]:
    keys = setup.installation.services.keys
    return lambda: keys.list(principal, KeySelection(KeyStatus.REVOKED))


def _quota(setup: FilledInstallation, principal: Principal) -> Callable[[], object]:
    return lambda: setup.installation.services.plans.use(principal)


def _events(setup: FilledInstallation, principal: Principal) -> Callable[[], object]:
    return lambda: setup.installation.services.events.list(principal, limit=50)


def _create(setup: FilledInstallation, principal: Principal) -> Callable[[], object]:
    numbers = itertools.count()
    keys = setup.installation.services.keys
    limit = {"api_keys": 2_000_000}
    setup.installation.services.workspaces.set_plan(principal.workspace_id, "scale", limit)
    return lambda: keys.create(principal, KeyDraft(f"made {next(numbers)}"))


def _refused(setup: FilledInstallation, principal: Principal) -> Callable[[], object]:
    setup.installation.services.workspaces.set_plan(
        principal.workspace_id, "scale", {"api_keys": 1}
    )

    def refuse() -> None:
        try:
            setup.installation.services.keys.create(principal, KeyDraft("more"))
        except LimitReached:
            return
        raise AssertionError("there was room")

    return refuse


def _revoke(setup: FilledInstallation, principal: Principal) -> Callable[[], object]:
    keys = setup.installation.services.keys
    setup.installation.services.workspaces.set_plan(principal.workspace_id, "scale")
    calls = WRITES * 6
    key_ids = iter([keys.create(principal, KeyDraft("doomed")).key.id for _ in range(calls)])
    return lambda: keys.revoke(principal, next(key_ids))


def _search(setup: FilledInstallation, principal: Principal) -> Callable[[], object]:
    return lambda: setup.installation.services.keys.list(
        principal, KeySelection(query="no such key")
    )


def _flush(setup: FilledInstallation, _: Principal) -> Callable[[], object]:
    verify, usage = setup.installation.services.verifier.verify, setup.installation.services.usage
    for token in setup.tokens:
        verify(token.reveal(), address="192.0.2.1", agent="bench")

    def flush() -> None:
        usage.flush()
        for token in setup.tokens:
            verify(token.reveal(), address="192.0.2.1", agent="bench")

    return flush


def _peppers(setup: FilledInstallation, _: Principal) -> Callable[[], object]:
    database = setup.installation.database
    now = clock_of(database).now()

    def look() -> None:
        with database.read_across(Purpose.SERVER) as tx:
            assert pepper_ids_of_live_keys(tx, now) == {"bench"}

    return look


_FLUSH: Final[dict[str, tuple[Act, int]]] = {
    "1,000 verifications and the flush of their use": (_flush, 2),
    "which peppers are needed, at a start": (_peppers, READS),
}
_ACTS: Final[dict[str, tuple[Act, int]]] = {
    "first page of keys": (_page, READS),
    "next page": (_deep_page, READS),
    "page of active keys": (_active_page, READS),
    "page of revoked keys": (_revoked_page, READS),
    "plan and quotas": (_quota, READS),
    "page of events": (_events, READS),
    "creation under a limit": (_create, WRITES),
    "revocation": (_revoke, WRITES),
}
_LARGE_ACTS: Final[dict[str, tuple[Act, int]]] = {
    "creation refused by a full limit": (_refused, 4),
    "search that finds nothing": (_search, SEARCHES),
}
