"""Column types, actors in rows, and what differs by dialect: ids in order of age, and upserts."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Row,
    Table,
    Text,
    collate,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

from keystead.domain.instants import from_microseconds, to_microseconds
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.scopes import Scopes

Identifier = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Ids and slugs: compared bytewise, so that pages have the same order on both engines."""

Count = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit integer; SQLite's strict tables call it INTEGER."""

Bytes = LargeBinary

BY_AGE: Final = "POSIX"
"""Another name of PostgreSQL's collation C, which only the indexes by workspace and id use.

Under C itself the planner may choose the primary key, which has the ids of all workspaces in order: for a
workspace with old keys it would walk back through the keys of all others.
"""


def by_age(tx: Connection, id: ColumnElement[str]) -> ColumnElement[str]:
    """Return the id column, which rises with time, as the indexes by workspace and id have it."""
    return id if tx.dialect.name == "sqlite" else collate(id, BY_AGE)


def actor_columns(prefix: str) -> list[Column[str]]:
    """Return the three columns of an actor."""
    return [Column(f"{prefix}_{part}", Text, nullable=False) for part in ("kind", "id", "name")]


def actor_values(prefix: str, actor: Actor) -> dict[str, str]:
    """Return the values of an actor's columns."""
    return {f"{prefix}_{part}": getattr(actor, part) for part in ("kind", "id", "name")}


def actor_of(row: Row[Any], prefix: str) -> Actor:
    """Return the actor in a row."""
    kind, id, name = (getattr(row, f"{prefix}_{part}") for part in ("kind", "id", "name"))
    return Actor(PrincipalKind(kind), id, name)


def upsert(tx: Connection, table: Table) -> Any:
    """Return an INSERT with `on_conflict_do_update`, which each dialect has as its own class."""
    dialect = sqlite if tx.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


class Instant(TypeDecorator[datetime]):
    """An aware datetime, stored as 64-bit microseconds since 1970."""

    impl = Count
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_microseconds(value)

    @override
    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_microseconds(value)


class ScopeSet(TypeDecorator[Scopes]):
    """Scopes in their written form, separated by spaces."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: Scopes | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    @override
    def process_result_value(self, value: str | None, dialect: Dialect) -> Scopes | None:
        return None if value is None else Scopes.parse(value)


class Json(TypeDecorator[Any]):
    """JSON as compact text: the same bytes on both engines, never queried by its members."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return (
            None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        )

    @override
    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)
