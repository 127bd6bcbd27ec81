"""Rows of every table with the values that databases differ on, and all rows of a database for comparison."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from keystead.storage.database import Database
from keystead.storage.engine.connections import open_existing
from keystead.storage.moving.rows import COPIED, WORDS
from tests.support.administrator import read_behind

TEXTS: Final = (
    "",
    "NULL",
    "\\N",
    "\\.",
    "a\tb\nc\r\nd\\n\\",
    "\x01\x1b[31m\x7f\x85\u2028\u202e\ufeff",
    "e\u0301 \u00e9 \U0001f511 \U0010ffff \uffff \ud7ff",
    "'); DROP TABLE api_keys; --",
    '{"a": [1.0, null, "\\u0000"], "b": "\\\\"}',
    "%s %(x)s ? :x $1 {}",
    "true",
    "0",
    "x" * 100_000,
)
BYTES: Final = (b"", b"\x00", b"\\x00\xff", bytes(range(256)), b"\xed\xa0\x80")
BIG: Final = (0, 1, -1, 2**63 - 1, -(2**63), 1_700_000_000_000_000)
SMALL: Final = (0, 1, -1, 2**31 - 1, -(2**31))
IDS: Final = ("ws_0", "", "A", "a", "\u00e4", "Z\\'\"\t\n%", "\U0001f511" * 40, "ws_0 ")
"""Ids of as many rows of each table: such that engines and their collations could order or fold them differently."""
WORD_LISTS: Final = (
    "",
    "pkey",
    "pkey pk\u00e9y wzeta",
    "p\u4e2d\u6587 p42 wabc wAbc",
    "ptwice wonce",
)
CHOSEN: Final[dict[str, Any]] = {
    "users.portal_workspace_id": None,
    "users.portal_user_id": None,
    "api_keys.digest": bytes(range(224, 256)),
    "credentials.digest": bytes(32),
    "webhook_endpoints.status": "active",
    "webhook_endpoints.disabled_at": None,
    "webhook_endpoints.sealed": bytes(range(256)),
    "webhook_endpoints.deleted_at": None,
    "deliveries.status": "delivered",
    "deliveries.next_attempt_at": None,
    "deliveries.step": 2**31 - 1,
    "deliveries.attempts": 2**31 - 1,
    "delivery_attempts.status": 999,
    "delivery_attempts.number": 2**31 - 1,
    "delivery_attempts.milliseconds": 2**31 - 1,
    "device_logins.denied_at": None,
}
"""Columns that a constraint allows one value of here. Those of a pair that are null or not together: `_is_null`."""
PAIRED: Final = {
    "lease": "leased_until",
    "approved_at": "workspace_id",
    "email_confirmations.digest": "expires_at",
}


def fill(file: Path) -> None:
    """Insert hostile rows into every table of an embedded database, with all its constraints and triggers."""
    with closing(open_existing(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN")
        connection.execute("DELETE FROM plans")
        for table in COPIED:
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            values = ", ".join("?" for _ in table.columns)
            # The trigger of keys has made the rows of their counts.
            insert = f'INSERT OR REPLACE INTO "{table.name}" ({names}) VALUES ({values})'
            for number in range(len(IDS)):
                connection.execute(insert, [_value(column, number) for column in table.columns])
        connection.execute("COMMIT")


def _value(column: Column[Any], number: int) -> Any:
    name = f"{column.table.name}.{column.name}"
    chosen = {
        **CHOSEN,
        "documents.words": " ".join(["", *WORD_LISTS[number % len(WORD_LISTS)].split()]),
        # Part of each indexed word, so never hostile.
        "collections.id": f"col_{number:022d}",
        "documents.collection_id": f"col_{number:022d}",
        "documents.serial": 10 * number + 7,
    }
    if name == "api_keys.rotated_to" and number % 2:
        return None  # of such keys a trigger counts
    if name in chosen:
        return chosen[name]
    if column.foreign_keys or column.primary_key or column.name in {"workspace_id", "id"}:
        return _key(column, number)
    return None if column.nullable and _is_null(column, number) else _any(column, number)


def _is_null(column: Column[Any], number: int) -> bool:
    """Return the same for the columns of a pair."""
    partner = PAIRED.get(column.name) or PAIRED.get(f"{column.table.name}.{column.name}")
    if partner or column.name in PAIRED.values():
        return False
    return (number + len(column.name)) % 3 == 0


def _key(column: Column[Any], number: int) -> Any:
    """Return a value that differs by row, and is the same in the rows that refer to each other."""
    kind = _kind(column)
    if kind is LargeBinary:
        return (BYTES[number % len(BYTES)] + bytes([number])).ljust(32, b"\\")
    if kind in {BigInteger, Integer}:
        return number
    return IDS[number]


def _any(column: Column[Any], number: int) -> Any:
    # A column that must differ by row, such as the digest of an invitation.
    if any(index.unique and column.name in index.columns for index in column.table.indexes):
        return _key(column, number)
    if any(column.name in c.columns for c in _uniques(column.table)):
        return _key(column, number)
    offset = number + len(column.name) + len(column.table.name)
    kind = _kind(column)
    if kind is LargeBinary:
        return BYTES[offset % len(BYTES)]
    if kind is BigInteger:
        return BIG[offset % len(BIG)]
    if kind is Integer:
        return SMALL[offset % len(SMALL)]
    return TEXTS[offset % len(TEXTS)]


def _uniques(table: Table) -> Iterator[Any]:
    return (c for c in table.constraints if isinstance(c, UniqueConstraint))


def _kind(column: Column[Any]) -> type[Any]:
    name = column.type.compile(dialect=postgresql.dialect()).lower()  # type: ignore[no-untyped-call]
    return {"bytea": LargeBinary, "bigint": BigInteger, "integer": Integer}.get(name, str)


def rows_of(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables as the drivers read them, sorted; without WORDS, which differ by engine."""
    with read_behind(database) as tx:
        rows = {}
        for table in COPIED:
            names = ", ".join(f'"{c.name}"' for c in table.columns if c is not WORDS)
            found = tx.exec_driver_sql(f'SELECT {names} FROM "{table.name}"')
            rows[table.name] = sorted((tuple(row) for row in found), key=repr)
        return rows
