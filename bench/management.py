"""The cost of creating, listing, revoking and pushing, against the bare statement and its commit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from bench.figures import Figure, per_second, side_by_side
from bench.installations import FilledInstallation, filled
from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyDraft
from keystead.storage.engine.connections import SQLITE_PRAGMAS, sqlite_driver

KEYS = 10_000
WRITES = 100
PAGES = 200
PUSHES = 4
TEXT = "A document is an entry of a collection: id, title, text, url, attributes. " * 14
BATCH = 500


def figures() -> Iterator[Figure]:
    """Create, list and revoke keys; push documents."""
    with filled(KEYS) as setup:
        bare = _bare_connection(setup)
        ours, floor = side_by_side(_create(setup), _bare_insert(bare), WRITES)
        yield per_second("keys created", ours, floor)
        ours, floor = side_by_side(_list(setup), _bare_page(bare, setup), PAGES)
        yield per_second(f"pages of 50 listed, {KEYS:,} keys", ours, floor)
        ours, floor = side_by_side(_revoke(setup), _bare_update(bare), WRITES)
        yield per_second("keys revoked", ours, floor)
        ours, floor = side_by_side(_push(setup), _bare_batch(bare), PUSHES)
        yield per_second(f"documents pushed, {BATCH} a batch", ours, floor, BATCH)


def _create(setup: FilledInstallation) -> Callable[[], object]:
    keys, numbers = setup.installation.services.keys, itertools.count()
    return lambda: keys.create(setup.owner, KeyDraft(f"bench {next(numbers)}"))


def _list(setup: FilledInstallation) -> Callable[[], object]:
    keys = setup.installation.services.keys
    return lambda: keys.list(setup.owner, limit=50)


def _revoke(setup: FilledInstallation) -> Callable[[], object]:
    keys = setup.installation.services.keys
    ids = iter([KeyId(token.key_id) for token in setup.tokens])
    return lambda: keys.revoke(setup.owner, next(ids))


def _push(setup: FilledInstallation) -> Callable[[], object]:
    documents, numbers = setup.installation.services.documents, itertools.count()
    documents.create_collection(setup.owner, CollectionDraft("bench"))

    def push() -> object:
        first = next(numbers) * BATCH
        drafts = [DocumentDraft(f"d{first + n}", f"{first + n} {TEXT}") for n in range(BATCH)]
        return documents.push(setup.owner, "bench", Push(drafts))

    return push


def _bare_batch(connection: Any) -> Callable[[], object]:
    """Insert the same texts into a table without an index, in one transaction."""

    def insert() -> None:
        connection.execute("BEGIN IMMEDIATE")
        rows = [(f"{n} {TEXT}",) for n in range(BATCH)]
        connection.executemany("INSERT INTO bare (text) VALUES (?)", rows)
        connection.execute("COMMIT")

    return insert


def _bare_connection(setup: FilledInstallation) -> Any:
    path = setup.installation.database.url.database
    connection = sqlite_driver.connect(path, isolation_level=None)
    for pragma in SQLITE_PRAGMAS:
        connection.execute(pragma)
    connection.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, text TEXT)")
    connection.execute("INSERT INTO bare VALUES (0, 'x')")
    return connection


def _bare_insert(connection: Any) -> Callable[[], object]:
    return lambda: connection.execute("INSERT INTO bare (text) VALUES ('x')")


def _bare_update(connection: Any) -> Callable[[], object]:
    numbers = itertools.count()
    update = "UPDATE bare SET text = ? WHERE id = 0"
    return lambda: connection.execute(update, (str(next(numbers)),))


def _bare_page(connection: Any, setup: FilledInstallation) -> Callable[[], object]:
    page = "SELECT * FROM api_keys WHERE workspace_id = ? ORDER BY id DESC LIMIT 50"
    return lambda: connection.execute(page, (setup.owner.workspace_id,)).fetchall()
