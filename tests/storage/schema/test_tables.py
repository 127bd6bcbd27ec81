"""Guarantees of the schema itself: whatever a statement omits, tenants stay apart and a digest is complete."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    ForeignKeyConstraint,
    Table,
    UniqueConstraint,
    delete,
    inspect,
    select,
    update,
)

from keystead.storage.engine.errors import StatementFault
from keystead.storage.schema.tables import (
    api_keys,
    events,
    key_use,
    metadata,
    sign_in_links,
    workspaces,
)
from tests.support.administrator import read_behind, write_behind
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation

TENANTS = [t for t in metadata.sorted_tables if "workspace_id" in t.c]
PERSONAL = {"users"}


@pytest.mark.parametrize("table", TENANTS, ids=lambda table: table.name)
def test_references_carry_the_workspace(table: Table) -> None:
    """A row of a workspace refers to rows of the same workspace only: every such foreign key names it (R50)."""
    for constraint in table.constraints:
        if isinstance(constraint, ForeignKeyConstraint):
            target = constraint.referred_table
            names = set(constraint.column_keys)
            if target.name == "workspaces":
                assert names == {"workspace_id"}
            elif target in TENANTS:
                assert "workspace_id" in names
                assert "workspace_id" in {e.column.name for e in constraint.elements}
            else:
                assert target.name in PERSONAL


@pytest.mark.parametrize("table", TENANTS, ids=lambda table: table.name)
def test_names_are_unique_within_a_workspace(table: Table) -> None:
    """Unique values are unique within a workspace, or are not names at all: no tenant learns another's names (R50)."""
    unguessable = {"id", "digest", "user_code_digest", "key_id", "serial", "position"}
    keys: list[Any] = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    keys += [table.primary_key, *(index for index in table.indexes if index.unique)]
    for key in keys:
        names = {column.name for column in key.columns}
        assert "workspace_id" in names or names & unguessable, (table.name, names)


def test_the_migrations_make_what_the_schema_says(sandbox: SandboxInstallation) -> None:
    """The tables that the migrations create have the columns, keys and indexes of the schema, on both engines."""
    inspector = inspect(sandbox.database.engine)
    for table in metadata.sorted_tables:
        columns = {
            column["name"]: column["nullable"] for column in inspector.get_columns(table.name)
        }
        assert columns == {column.name: bool(column.nullable) for column in table.columns}
        keys = inspector.get_pk_constraint(table.name)["constrained_columns"]
        assert keys == [column.name for column in table.primary_key.columns]
        references = {
            (tuple(key["constrained_columns"]), key["referred_table"])
            for key in inspector.get_foreign_keys(table.name)
        }
        assert references == {
            (tuple(c.column_keys), c.referred_table.name)
            for c in table.constraints
            if isinstance(c, ForeignKeyConstraint)
        }


@pytest.mark.parametrize("name", ["use", "rotation", "link"])
def test_no_reference_across_workspaces(sandbox: SandboxInstallation, name: str) -> None:
    """The database refuses a row that names one workspace and refers to another."""
    tenant, other = sandbox.tenant(), sandbox.tenant()
    own, foreign = sandbox.key(tenant).key.id, sandbox.key(other).key.id
    workspace = sandbox.services.workspaces.create("W", owner="Ada")
    owner = sandbox.services.workspaces.owner(workspace.id)
    statements = {
        "use": key_use.insert().values(
            key_id=foreign, workspace_id=tenant.workspace_id, last_used_at=NOON
        ),
        "rotation": update(api_keys).where(api_keys.c.id == own).values(rotated_to=foreign),
        "link": sign_in_links.insert().values(
            digest=bytes(32),
            workspace_id=tenant.workspace_id,
            user_id=owner.user.id,
            created_at=NOON,
            expires_at=NOON,
        ),
    }
    with pytest.raises(StatementFault), write_behind(sandbox.database) as tx:
        tx.execute(statements[name])


def test_a_digest_is_whole(sandbox: SandboxInstallation) -> None:
    """A key cannot be stored with a digest that is not 32 bytes."""
    id = sandbox.key(sandbox.tenant()).key.id
    for digest in (b"", bytes(31), bytes(33)):
        with pytest.raises(StatementFault), write_behind(sandbox.database) as tx:
            tx.execute(update(api_keys).where(api_keys.c.id == id).values(digest=digest))


def test_types_are_kept(sandbox: SandboxInstallation) -> None:
    """A number stays a number and a text a text: SQLite's tables are strict."""
    id = sandbox.key(sandbox.tenant()).key.id
    with pytest.raises(StatementFault), write_behind(sandbox.database) as tx:
        tx.exec_driver_sql("UPDATE api_keys SET created_at = 'yesterday'")
    with read_behind(sandbox.database) as tx:
        row = tx.execute(select(api_keys).where(api_keys.c.id == id)).one()
    assert row.created_at == NOON


def test_what_is_referred_to_stays(sandbox: SandboxInstallation) -> None:
    """A workspace with keys and events cannot be deleted."""
    tenant = sandbox.tenant()
    sandbox.key(tenant)
    with pytest.raises(StatementFault), write_behind(sandbox.database) as tx:
        tx.execute(delete(workspaces).where(workspaces.c.id == tenant.workspace_id))
    assert sandbox.events(tenant)


def test_an_event_has_one_place(sandbox: SandboxInstallation) -> None:
    """Two events of a workspace cannot have the same number."""
    tenant = sandbox.tenant()
    with read_behind(sandbox.database) as tx:
        row = tx.execute(select(events).where(events.c.workspace_id == tenant.workspace_id)).first()
    assert row is not None
    with pytest.raises(StatementFault), write_behind(sandbox.database) as tx:
        tx.execute(events.insert().values({**row._mapping, "id": "evt_other"}))
