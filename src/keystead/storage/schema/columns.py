"""Column types: instants as UTC microseconds, scope sets, JSON, ids that sort by their bytes on both engines."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Integer, LargeBinary, Text, collate
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

from keystead.domain.instants import from_microseconds, to_microseconds
from keystead.domain.scopes import Scopes

Identifier = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Ids and slugs: compared by their bytes, so that pages are in the same order on both engines."""

Count = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit whole number; SQLite's strict tables know it as INTEGER."""

Bytes = LargeBinary

BY_AGE: Final = "POSIX"
"""PostgreSQL's other name of the collation C, for indexes of one workspace's rows in the order of their ids.

In C the primary key has that order too, for all workspaces: to find the newest keys of a workspace whose keys are old,
PostgreSQL would walk back through all newer keys of the others.
"""


def by_age(tx: Connection, id: ColumnElement[str]) -> ColumnElement[str]:
    """Return a column of ids, which rise with time, in the collation of the indexes by workspace."""
    return id if tx.dialect.name == "sqlite" else collate(id, BY_AGE)


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
    """JSON as compact text: the same bytes on both engines. Its members are never queried."""

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
