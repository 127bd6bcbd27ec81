"""The statements of a purge find their rows by an index: a batch costs what it deletes, however many tenants exist."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import event, update

from keystead.storage.engine.roles import Purpose
from keystead.storage.schema.tables import (
    api_keys,
    device_logins,
    documents,
    invitations,
    members,
    workspaces,
)
from keystead.storage.tables.deletion import _contents, _of_keys
from tests.support.administrator import write_behind
from tests.support.installations import SandboxInstallation
from tests.support.tenant_rows import OURS, fill

SMALL = {device_logins.name: "pending sign-ins of terminals, for minutes"}


# PostgreSQL plans by statistics; the indexes are the same.
@pytest.mark.parametrize("own_sandbox", ["sqlite"], indirect=True)
def test_a_batch_is_found_by_an_index(own_sandbox: SandboxInstallation) -> None:
    """No statement of a purge reads a whole table, except one that is small."""
    fill(own_sandbox.database)
    with write_behind(own_sandbox.database) as tx:
        tx.execute(update(workspaces).values(suspended_at=own_sandbox.clock.now()))
    own_sandbox.services.deletion.delete(OURS)
    sent: dict[str, Any] = {}

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if statement.startswith(("SELECT", "DELETE", "UPDATE")):
            sent[statement] = parameters

    event.listen(own_sandbox.database.engine, "before_cursor_execute", note)
    own_sandbox.services.deletion.purge()
    event.remove(own_sandbox.database.engine, "before_cursor_execute", note)
    scanned = set()
    with own_sandbox.database.read_across(Purpose.SERVER) as tx:
        for statement, parameters in sent.items():
            plan = tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for row in plan:
                scanned |= set(re.findall(r"^SCAN (?!CONSTANT)(\w+)\b(?! USING)", row[3]))
    assert scanned <= SMALL.keys()
    assert len(sent) > 30


def test_every_table_of_a_workspace_has_a_step() -> None:
    """Keys, people and invitations have steps of their own; all the others are in one of the two lists."""
    own = {api_keys, members, invitations}
    tables = {table for table in api_keys.metadata.sorted_tables if "workspace_id" in table.c}
    assert {*_contents(), *_of_keys()} == tables - own
    assert documents in _contents()
