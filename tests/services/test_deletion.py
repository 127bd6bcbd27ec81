"""The end of a workspace: hidden with one request, purged in batches, and only its tombstone stays."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text, update

from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.errors import Invalid, InvalidToken, KeysteadError, NotFound, NotSuspended
from keystead.domain.ids import UserId, WorkspaceId
from keystead.domain.principals import operator
from keystead.domain.verification import DenialReason
from keystead.domain.webhooks import WebhookDraft
from keystead.domain.workspaces import Member, Role
from keystead.services import deletion
from keystead.services.cleanup import Retention
from keystead.services.key_lifecycle import KeyLifecycle
from keystead.storage.schema import tables as schema
from keystead.storage.schema.columns import metadata
from keystead.storage.tables.deletion import DOCUMENTS_AT_ONCE
from tests.support.administrator import read_behind, write_behind
from tests.support.installations import SandboxInstallation
from tests.support.people import People, acting, acting_operator
from tests.support.tenant_rows import OURS, THEIRS, fill

STAYS = {
    "deleted_workspaces": "the tombstone",
    "installation_events": "the operator's act, in the installation's own log",
}
"""The tables that may name a deleted workspace, each with the reason."""


def contents(sandbox: SandboxInstallation) -> dict[str, list[str]]:
    """Return every row of every table, as text."""
    with read_behind(sandbox.database) as tx:
        return {
            table.name: sorted(repr(tuple(row)) for row in _rows(tx, table))
            for table in metadata.sorted_tables
        }


def _rows(tx: Connection, table: Any) -> list[Any]:
    # Without the columns' types: generated values need not be JSON.
    return list(tx.execute(text(f"SELECT * FROM {table.name}")).all())


def suspend_and_delete(sandbox: SandboxInstallation, workspace_id: WorkspaceId) -> None:
    """Delete a workspace as an operator does, without the purge."""
    sandbox.services.workspaces.suspend(workspace_id)
    sandbox.services.deletion.delete(workspace_id)


def test_no_table_has_a_row_of_it(own_sandbox: SandboxInstallation) -> None:
    """Of a workspace with a row in every table of the schema only the tombstone stays; others' rows do not change."""
    fill(own_sandbox.database)
    with write_behind(own_sandbox.database) as tx:
        tx.execute(update(schema.workspaces).values(suspended_at=own_sandbox.clock.now()))
    before = contents(own_sandbox)
    for table in metadata.sorted_tables:
        if "workspace_id" in table.c:
            assert any(OURS in row for row in before[table.name]), table.name
    own_sandbox.services.deletion.delete(OURS)
    assert own_sandbox.services.deletion.purge() == 1
    after = contents(own_sandbox)
    for name, rows in after.items():
        assert [row for row in rows if THEIRS in row] == [r for r in before[name] if THEIRS in r]
        if name not in STAYS:
            assert not [row for row in rows if OURS in row], name
    assert len(after["deleted_workspaces"]) == 1
    assert own_sandbox.services.deletion.purge() == 0
