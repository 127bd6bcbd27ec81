"""The watch over writes: one that was opened as keeping access cannot change a key, a credential or a workspace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from keystead.storage.database import Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.freshness.write_watch import TABLES, AccessChange, require_access_kept
from keystead.storage.schema.tables import (
    api_keys,
    credentials,
    events,
    key_use,
    metadata,
    workspaces,
)
from tests.support.installations import SandboxInstallation

NEXT_EVENT = update(workspaces).values(last_event=workspaces.c.last_event + 1)
STATEMENTS = [
    (update(api_keys).values(revoked_at=None), False),
    (update(api_keys).values(rotated_to=None), False),
    (update(workspaces).values(suspended_at=None), False),
    (update(workspaces).values(name="Another"), False),
    (update(workspaces).values(last_event=1), False),
    (NEXT_EVENT, False),
    (NEXT_EVENT.values(suspended_at=None).where(workspaces.c.id == "ws_1"), False),
    (NEXT_EVENT.where(workspaces.c.id == "ws_1").returning(workspaces.c.last_event), True),
    (update(credentials).values(revoked_at=None), False),
    (update(key_use).values(last_used_at=None), True),
    (update(key_use).values(last_used_at=select(api_keys.c.created_at).scalar_subquery()), True),
    (delete(workspaces), False),
    (delete(credentials), False),
    (delete(api_keys).where(api_keys.c.id == "key_1"), False),
    (delete(key_use).where(key_use.c.key_id.in_(select(api_keys.c.id))), True),
    (insert(api_keys), True),
    (insert(credentials), True),
    (insert(api_keys).prefix_with("OR REPLACE"), False),
    (insert(key_use).from_select(["key_id"], select(api_keys.c.id)), True),
    (insert(events), True),
    (sqlite.insert(api_keys).on_conflict_do_nothing(), False),
    (sqlite.insert(key_use).on_conflict_do_nothing(), True),
    (text("UPDATE credentials SET name = 'x'"), False),
    (text("WITH a AS (SELECT 1) DELETE FROM API_keys"), False),
    (
        text("WITH a AS (DELETE FROM api_keys RETURNING id) INSERT INTO key_use SELECT id FROM a"),
        False,
    ),
    (text("INSERT INTO api_keys SELECT 1 FROM (UPDATE credentials SET name = 'x')"), False),
    (text("UPDATE ONLY public.api_keys SET revoked_at = NULL"), False),
    (text('update "api_keys" set revoked_at = null'), False),
    (text("UPDATE OR IGNORE api_keys SET revoked_at = NULL"), False),
    (text("REPLACE INTO api_keys VALUES (1)"), False),
    (text("TRUNCATE api_keys"), False),
    (text("DELETE FROM key_use"), True),
    (CreateTable(api_keys), False),
]


@pytest.mark.parametrize(("statement", "keeps"), STATEMENTS, ids=str)
def test_which_statements_keep_access(statement: Any, keeps: bool) -> None:
    """A change of a table that a verification reads is refused, except new rows and the number of the last event."""
    for dialect in (sqlite.dialect(), postgresql.psycopg.dialect()):  # type: ignore[no-untyped-call]
        if isinstance(statement, type(sqlite.insert(api_keys))) and dialect.name == "postgresql":
            continue
        compiled = str(statement.compile(dialect=dialect)).strip()
        if keeps:
            require_access_kept(compiled)
        else:
            with pytest.raises(AccessChange):
                require_access_kept(compiled)


def _revoke(tx: Tx) -> None:
    tx.execute(update(api_keys).values(revoked_at=None))


def _suspend(tx: Tx) -> None:
    tx.exec_driver_sql("UPDATE workspaces SET suspended_at = NULL")


def _revoke_credential(tx: Tx) -> None:
    tx.execute(text("DELETE FROM credentials"))


@pytest.mark.parametrize("violation", [_revoke, _suspend, _revoke_credential])
def test_a_violation_raises_before_it_runs(
    sandbox: SandboxInstallation, violation: Callable[[Tx], None]
) -> None:
    """On either engine the statement is not sent, and the transaction is rolled back."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    with (
        pytest.raises(AccessChange),
        sandbox.database.write(tenant.workspace_id, keeps_access=True) as tx,
    ):
        violation(tx)
    with (
        pytest.raises(AccessChange),
        sandbox.database.write_across(Purpose.OPERATOR, keeps_access=True) as tx,
    ):
        violation(tx)
    assert sandbox.verdict(created) == "verified"


def test_the_next_write_on_the_connection_may_change_access(sandbox: SandboxInstallation) -> None:
    """What one transaction was opened for binds it alone, though its connection is pooled."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    for _ in range(3):
        with sandbox.database.write(tenant.workspace_id, keeps_access=True) as tx:
            tx.execute(select(api_keys.c.id))
        sandbox.services.keys.revoke(tenant, created.key.id)
    assert sandbox.verdict(created) == "revoked"


def test_which_tables_are_watched() -> None:
    """They are those that a verification reads, and none of them changes through a foreign key of another."""
    assert {"api_keys", "credentials", "workspaces"} == TABLES
    for table in TABLES:
        for key in metadata.tables[table].foreign_keys:
            assert (key.ondelete, key.onupdate) == (None, None)
