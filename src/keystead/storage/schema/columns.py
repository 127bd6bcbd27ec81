"""What tables share: their metadata, column types, actors in rows, and what differs by dialect."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    cast,
    collate,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

from keystead.domain.instants import from_microseconds, to_microseconds
from keystead.domain.networks import Networks
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.renewals import NO_END, Renewal, renewal_until
from keystead.domain.scopes import Scopes

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fk",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)
"""What all tables belong to, in whichever file they are declared."""
STRICT: Final[dict[str, Any]] = {"sqlite_strict": True}
CLUSTERED: Final[dict[str, Any]] = {**STRICT, "sqlite_with_rowid": False}
"""SQLite stores such a table in the B-tree of its primary key: one descent finds the row."""

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


LIMIT: Final = cast(bindparam("limit", type_=Integer), Integer)
"""The parameter `limit` of a page. SQLite prepares a statement again for each value of a plain `LIMIT ?`."""
ABOVE_EVERY_ID: Final = "~"
"""A text that sorts after every id: where a list that is newest first begins."""
ABOVE_EVERY_NUMBER: Final = 2**63 - 1
"""The same for a list in the order of a number."""
_JSON: Final = json.JSONDecoder()
_TO_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
CACHED: Final = 1_024
"""How many scopes, actors and times stay decoded. A page repeats a few of them in every row, or is read again."""


class age(FunctionElement[str]):  # noqa: N801 - written as a function of SQL
    """An id column, which rises with time, as the indexes by workspace and id have it."""

    type = Text()
    inherit_cache = True


@compiles(age)
def _write_age(element: age, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(age, "postgresql")
def _write_age_for_postgresql(element: age, compiler: SQLCompiler, **options: Any) -> str:
    return f'{_write_age(element, compiler, **options)} COLLATE "{BY_AGE}"'


class unlikely(FunctionElement[Any]):  # noqa: N801 - written as a function of SQL
    """A condition that few rows meet. We keep no statistics on SQLite, so its planner cannot know."""

    # Without a type: SQLAlchemy compares a boolean with 1 on SQLite, which hides the hint.
    inherit_cache = True


@compiles(unlikely)
def _write_unlikely(element: unlikely, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(unlikely, "sqlite")
def _write_unlikely_for_sqlite(element: unlikely, compiler: SQLCompiler, **options: Any) -> str:
    return f"unlikely({_write_unlikely(element, compiler, **options)})"


def by_age(tx: Connection, id: ColumnElement[str]) -> ColumnElement[str]:
    """Return the id column, which rises with time, as the indexes by workspace and id have it."""
    return id if tx.dialect.name == "sqlite" else collate(id, BY_AGE)


def actor_columns(prefix: str) -> list[Column[str]]:
    """Return the three columns of an actor."""
    return [Column(f"{prefix}_{part}", Text, nullable=False) for part in ("kind", "id", "name")]


def actor_values(prefix: str, actor: Actor) -> dict[str, str]:
    """Return the values of an actor's columns."""
    return {
        f"{prefix}_kind": actor.kind,
        f"{prefix}_id": actor.id,
        f"{prefix}_name": actor.name,
    }


@lru_cache(CACHED)
def actor_of(kind: str, id: str, name: str) -> Actor:
    """Return the actor that these three columns have."""
    return Actor(PrincipalKind(kind), id, name)


def escape_like(part: str) -> str:
    """Return the text as a part of a LIKE pattern whose escape character is a slash."""
    return part.replace("/", "//").replace("%", "/%").replace("_", "/_")


def upsert(table: Table, build: Callable[[Any], Any]) -> Mapping[str, Any]:
    """Return a statement for each dialect, by its name.

    Args:
        table: The table to insert into.
        build: Returns the statement for an INSERT with `on_conflict_do_update`, of which each dialect has its own.
    """
    return {"sqlite": build(sqlite.insert(table)), "postgresql": build(postgresql.insert(table))}


class Instant(TypeDecorator[datetime]):
    """An aware datetime, stored as 64-bit microseconds since 1970."""

    impl = Count
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_microseconds(value)

    @override
    def result_processor(self, dialect: Dialect, coltype: Any) -> Any:
        # Instead of `process_result_value`, which runs in two further calls for each value of each row.
        return _instant


class ScopeSet(TypeDecorator[Scopes]):
    """Scopes in their written form, separated by spaces."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: Scopes | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    @override
    def result_processor(self, dialect: Dialect, coltype: Any) -> Any:
        return _scopes


class NetworkSet(TypeDecorator[Networks]):
    """Networks as their text: canonical CIDR blocks, separated by spaces; empty is anywhere."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: Networks | None, dialect: Dialect) -> str | None:
        return None if value is None else value.text

    @override
    def result_processor(self, dialect: Dialect, coltype: Any) -> Any:
        return Networks


class RenewalEnd(TypeDecorator[Renewal]):
    """A renewal as the time at which it ends; null if there is none, NO_END if it has no end."""

    impl = Count
    cache_ok = True

    @override
    def process_bind_param(self, value: Renewal | None, dialect: Dialect) -> int | None:
        if value is None:
            return None
        return NO_END if value.until is None else to_microseconds(value.until)

    @override
    def result_processor(self, dialect: Dialect, coltype: Any) -> Any:
        return renewal_until


class Json(TypeDecorator[Any]):
    """JSON as compact text: the same bytes on both engines, never queried by its members."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else _TO_JSON.encode(value)

    @override
    def result_processor(self, dialect: Dialect, coltype: Any) -> Any:
        return _json


@lru_cache(CACHED)
def _instant(value: int | None) -> datetime | None:
    return None if value is None else from_microseconds(value)


@lru_cache(CACHED)
def _scopes(value: str | None) -> Scopes | None:
    return None if value is None else Scopes.parse(value)


def _json(value: str | None) -> Any:
    # Our own text, without white space around it: `loads` would look for that first.
    if value == "{}":
        return {}
    return None if value is None else _JSON.raw_decode(value)[0]
