"""What a verification reads of a key, and the watch over the statements that may change what is remembered."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    Column,
    Delete,
    Engine,
    Insert,
    ScalarSelect,
    Select,
    Table,
    Update,
    any_,
    bindparam,
    event,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import visitors
from sqlalchemy.sql.selectable import SelectBase

from keystead.storage.credential_lookup import CREDENTIAL
from keystead.storage.freshness.generation_file import Stamp
from keystead.storage.schema.tables import api_keys, workspaces

LOCKING: Final = "BEGIN IMMEDIATE"
"""How a transaction takes SQLite's write lock."""


def lookup_statement() -> Select[Any]:
    """A key by its id, and whether its workspace is suspended: the id, behind it KeyRecord's fields, in order."""
    return records_statement().where(api_keys.c.id == bindparam("key_id"))


def shared_lookup_statement() -> Select[Any]:
    """The same for several keys at a time, PostgreSQL's array `keys`."""
    keys = bindparam("keys", type_=postgresql.ARRAY(api_keys.c.id.type))
    return records_statement().where(api_keys.c.id == any_(keys))


def records_statement() -> Select[Any]:
    """The same for all keys there are."""
    keys = api_keys.c
    return select(
        keys.id,
        keys.workspace_id,
        keys.description,
        keys.pepper_id,
        keys.digest,
        keys.scopes,
        keys.expires_at,
        keys.revoked_at,
        _suspended_at().label("suspended_at"),
    )


def _suspended_at() -> ScalarSelect[Any]:
    """From an index that holds suspended workspaces alone, a page or none: the row of another would be far away.

    SQLite has to be told, for it thinks of a primary key that none costs less.
    """
    spaces = workspaces.c
    asked = select(spaces.suspended_at).with_hint(
        workspaces, "INDEXED BY workspaces_suspended", "sqlite"
    )
    suspended = asked.where(spaces.id == api_keys.c.workspace_id, spaces.suspended_at.is_not(None))
    return suspended.scalar_subquery()


def watch(engine: Engine, stamp: Stamp) -> None:
    """Has the stamp in doubt before any statement of this engine that may change what is remembered of a row.

    Nobody who writes such a statement has to think of it.
    """

    def before(_: Any, __: Any, statement: str, ___: Any, context: Any, ____: bool) -> None:
        if may_change_authority(context, statement):
            stamp.doubt()

    def after(_: Any, __: Any, statement: str, ___: Any, ____: Any, _____: bool) -> None:
        if statement == LOCKING:
            stamp.enter()

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)


def may_change_authority(context: Any, text: str) -> bool:
    """Whether a statement may change what was read of a key or a credential, by SQLAlchemy's context of its execution.

    A new row does not: nothing is remembered of what was not there. Raw SQL may, unless it names no table that is read.
    """
    compiled = context.compiled
    match compiled and compiled.statement:
        case SelectBase():
            return False
        case Insert() as statement:
            replaces = statement._post_values_clause is not None or bool(statement._prefixes)
            return replaces and bool(_read_of(statement))
        case Delete() as statement:
            return bool(_read_of(statement))
        case Update() as statement:
            return not _read_of(statement).isdisjoint(columns_set_by(compiled))
        case _:
            return _names_what_is_read(text.lower())


def _names_what_is_read(text: str) -> bool:
    return not text.startswith("select") and any(table in text for table in READ)


def _read_of(statement: Insert | Update | Delete) -> frozenset[str]:
    """The columns that are read of the statement's table."""
    return READ.get(str(statement.table), frozenset())


def _read_columns() -> dict[str, frozenset[str]]:
    """The columns that the statements read, by table; a column that they compare is read too."""
    read: dict[str, set[str]] = {}
    for statement in (lookup_statement(), CREDENTIAL.one):
        for element in visitors.iterate(statement):
            if isinstance(element, Column) and isinstance(element.table, Table):
                read.setdefault(element.table.name, set()).add(element.name)
    return {table: frozenset(names) for table, names in read.items()}


def columns_set_by(compiled: Any) -> frozenset[str]:
    """The columns that an UPDATE sets: those in its values, those among its parameters; all, where it names none."""
    named = set(compiled.column_keys or ())
    values = compiled.compile_state._dict_parameters or {}
    named.update(getattr(column, "name", column) for column in values)
    return frozenset(named or compiled.statement.table.c.keys())


READ: Final = _read_columns()
