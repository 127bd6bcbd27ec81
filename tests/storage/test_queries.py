"""Queries on the driver: the same rows as SQLAlchemy's own execution, for every query that the tables have."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import bindparam, column, select, table
from sqlalchemy.sql.compiler import SQLCompiler

from keystead.domain.key_lists import ALL_KEYS
from keystead.domain.scopes import FULL
from keystead.storage import tables
from keystead.storage.engine.errors import StatementFault
from keystead.storage.freshness.write_watch import StatementsExceeded
from keystead.storage.queries import Query
from keystead.storage.schema.columns import Instant, Json, ScopeSet
from keystead.storage.schema.tables import api_keys, events
from keystead.storage.tables.events import _page as page_of_events
from keystead.storage.tables.key_pages import _Part, _query
from tests.support.administrator import write_behind
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation

MANY = 1_000
ONLY_ON_POSTGRESQL = {
    "credentials._HOLD",
    "credentials._LOCK",
    "deletion._TRY_LOCK",
    "key_pages._FORBID_SORTING",
}
"""Those call functions that SQLite lacks, for what they do and not for their rows."""


def queries() -> Iterator[tuple[str, Query]]:
    """Yield every query of the modules of tables, by its name."""
    for module in pkgutil.iter_modules(tables.__path__):
        content = vars(importlib.import_module(f"{tables.__name__}.{module.name}"))
        for name, value in content.items():
            if isinstance(value, Query) and f"{module.name}.{name}" not in ONLY_ON_POSTGRESQL:
                yield f"{module.name}.{name}", value


QUERIES = dict(queries())


def _values(query: Query, dialect: Any, of: dict[str, Any]) -> dict[str, Any]:
    """Return a value for each parameter: one that the installation has, or any of its type."""
    compiled = query.statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    values: dict[str, Any] = {}
    for name, bind in compiled.binds.items():
        if bind.required:
            kind = bind.type.python_type if not isinstance(bind.type, Instant) else datetime
            plain = {int: MANY, datetime: NOON + timedelta(days=1), bytes: b"\0"}.get(kind, "~")
            value = of.get(name, plain)
            values[name] = [value] if bind.expanding else value
    return values


@pytest.mark.parametrize("name", QUERIES)
def test_it_agrees_with_sqlalchemy(sandbox: SandboxInstallation, name: str) -> None:
    """A query's rows are those that SQLAlchemy decodes, value by value and type by type."""
    tenant = sandbox.tenant(limit=50)
    old = sandbox.key(tenant, expires_at=NOON + timedelta(days=2))
    sandbox.services.rotations.rotate(tenant, old.key.id)
    sandbox.services.keys.revoke(tenant, sandbox.key(tenant).key.id)
    of: dict[str, Any] = {"but": ("~", MANY)}
    of |= {"workspace": tenant.workspace_id, "key": old.key.id, "keys": old.key.id, "query": "x"}
    with write_behind(sandbox.database) as tx:
        values = _values(QUERIES[name], tx.dialect, of)
        expected = [tuple(row) for row in tx.execute(QUERIES[name].statement, values)]
        assert QUERIES[name].all(tx, values) == expected
        assert QUERIES[name].first(tx, values) == next(iter(expected), None)


def test_there_are_rows_of_every_type(sandbox: SandboxInstallation) -> None:
    """Times, scopes, JSON, flags and missing values are decoded as SQLAlchemy decodes them."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, expires_at=NOON + timedelta(days=2)).key
    sandbox.key(tenant)
    values = {"workspace": tenant.workspace_id, "before": "~", "limit": 10}
    with write_behind(sandbox.database) as tx:
        rows = _query(_Part.BY_AGE, ALL_KEYS, False).all(tx, values)
        assert [row[9] for row in rows] == [None, created.expires_at]
        assert {row[4] for row in rows} == {FULL}
        assert {row[-1] for row in rows} == {False}
        [event, _, _] = page_of_events(False, False).all(tx, {**values, "before": MANY})
        assert event[-1]["hint"]
    kinds = {
        type(column.type) for column in (api_keys.c.created_at, api_keys.c.scopes, events.c.data)
    }
    assert kinds == {Instant, ScopeSet, Json}


def test_a_list_of_values(sandbox: SandboxInstallation) -> None:
    """A parameter may be a list, which each time has another length, none included."""
    tenant = sandbox.tenant()
    ids = [sandbox.key(tenant).key.id for _ in range(3)]
    among = Query(select(api_keys.c.id).where(api_keys.c.id.in_(bindparam("ids", expanding=True))))
    with sandbox.database.read(tenant.workspace_id) as tx:
        for wanted in (ids, ids[:1], [], ids[1:]):
            assert sorted(among.scalars(tx, {"ids": wanted})) == wanted


def test_it_is_watched_as_every_statement_is(sandbox: SandboxInstallation) -> None:
    """A view for one statement refuses a second query, and a fault is reported as a statement's."""
    tenant = sandbox.tenant()
    one = Query(select(api_keys.c.id))
    with sandbox.database.read_once(tenant.workspace_id) as tx:
        one.all(tx)
        with pytest.raises(StatementsExceeded):
            one.all(tx)
    nowhere = Query(select(column("id")).select_from(table("nowhere")))
    with pytest.raises(StatementFault), sandbox.database.read(tenant.workspace_id) as tx:
        nowhere.all(tx)
