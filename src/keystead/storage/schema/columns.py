"""Column types: instants as UTC microseconds, scope sets, JSON, ids that sort by their bytes on both engines."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Integer, LargeBinary, Text, collate
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from keystead.domain.instants import from_microseconds, to_microseconds
from keystead.domain.scopes import Scopes

Identifier = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Ids and slugs: compared by their bytes, so that pages are in the same order on both engines."""

Count = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit whole number; SQLite's strict tables know it as INTEGER."""

Bytes = LargeBinary

BY_AGE: Final = "POSIX"
"""PostgreSQL's other name of the collation C, for indexes that alone have a workspace's rows in the order of their ids.

In C the primary key has that order too, of all workspaces: to come by the newest keys of one whose keys are old,
PostgreSQL would walk back through everybody else's.
"""


def by_age(tx: Connection, id: ColumnElement[str]) -> ColumnElement[str]:
    """A column of ids, which rise with time, in the order of the index that a workspace's rows have to themselves."""
    return id if tx.dialect.name == "sqlite" else collate(id, BY_AGE)


class Instant(TypeDecorator[datetime]):
    """An aware datetime, stored as 64-bit microseconds since 1970."""

    impl = Count
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the row."""
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """From the row."""
        return None if value is None else from_microseconds(value)


class ScopeSet(TypeDecorator[Scopes]):
    """Scopes in their written form, parted by spaces."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Scopes | None, dialect: Dialect) -> str | None:
        """To the row."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Scopes | None:
        """From the row."""
        return None if value is None else Scopes.parse(value)


class Json(TypeDecorator[Any]):
    """JSON as compact text: the same bytes on both engines, never queried by its members."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To the row."""
        return (
            None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        )

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """From the row."""
        return None if value is None else json.loads(value)
