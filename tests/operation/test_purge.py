"""The purge of a deleted workspace in a process that is killed: another one finishes it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from keystead import bootstrap
from keystead.bootstrap import Installation
from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.principals import operator
from keystead.storage.schema import tables as schema
from tests.support.administrator import read_behind
from tests.support.postgres import DEADLINE_SECONDS
from tests.support.server_process import ServerProcess

DOCUMENTS = 3_000
PURGE = (
    "from keystead import bootstrap; from keystead.settings import read_settings;"
    " bootstrap.open_safely(read_settings()).services.deletion.purge()"
)


def rows(installation: Installation, table: object) -> int:
    """Return how many rows a table has."""
    with read_behind(installation.database) as tx:
        return tx.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_purge_that_is_killed_is_finished_by_a_server(server: ServerProcess) -> None:
    """SIGKILL in the middle: rows stay, hidden as before, until the task of a server deletes the rest."""
    server.stop()
    installation = bootstrap.open_safely(server.settings)
    services = installation.services
    before = rows(installation, schema.workspaces)
    workspace = services.workspaces.create("Gone", plan_id="scale")
    tenant = operator("tests", workspace.id)
    services.documents.create_collection(tenant, CollectionDraft("docs"))
    for start in range(0, DOCUMENTS, 1_000):
        drafts = [DocumentDraft(str(n), f"page {n}") for n in range(start, start + 1_000)]
        services.documents.push(tenant, "docs", Push(drafts))
    services.workspaces.suspend(workspace.id)
    services.deletion.delete(workspace.id)
    purging = server.popen(sys.executable, "-c", PURGE)
    wait_for(lambda: rows(installation, schema.documents) < DOCUMENTS)
    purging.kill()
    purging.wait()
    assert 0 < rows(installation, schema.documents) < DOCUMENTS
    assert workspace.id not in {each.id for each in services.workspaces.list().items}
    server.start()
    wait_for(lambda: rows(installation, schema.workspaces) == before)
    assert rows(installation, schema.documents) == rows(installation, schema.collections) == 0
    assert rows(installation, schema.deleted_workspaces) == 1
    installation.close()
