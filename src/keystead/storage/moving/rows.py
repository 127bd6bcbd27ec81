"""The tables that a move copies, and their rows in the one form that both engines are compared in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import Column, Table

from keystead.storage.schema.search import document_words
from keystead.storage.schema.tables import documents, metadata, moves

Row = tuple[Any, ...]
"""The values of all columns in their order: str, int, bytes or None."""
Batch = list[Row]

COPIED: Final = tuple(table for table in metadata.sorted_tables if table is not moves)
"""Every table, those before that others refer to. Taken from the schema, so that no new one is forgotten."""
DERIVED: Final = frozenset({document_words.name, "document_search"})
"""What each engine derives from the table of documents by itself, with SQLite's tables of that name and a suffix."""
NOT_COPIED: Final = frozenset({moves.name, "alembic_version"})
"""What says something about one database only: the mark of a move, and the schema's revision."""
IDENTITIES: Final[tuple[Column[Any], ...]] = tuple(
    column for table in COPIED for column in table.columns if column.identity is not None
)
"""The columns that the database numbers."""

WORDS: Final = documents.c["words"]
"""The one column that the engines store differently. In a row it is the bare terms, sorted, separated by spaces."""
_BATCH_SIZE: Final = 2_000
_DOCUMENTS: Final = 50
"""The same for documents, of which one may have a megabyte."""
_DIGEST_BYTES: Final = 16


def batch_size(table: Table) -> int:
    """Return how many rows of a table are in memory at a time."""
    return _DOCUMENTS if table is documents else _BATCH_SIZE


def position_of(column: Column[Any]) -> int:
    """Return the position of a column's value in a row."""
    return list(column.table.columns).index(column)


def with_words(row: Sequence[Any], words: str) -> Row:
    """Return the row with another value of WORDS."""
    return (*row[:_WORDS_AT], words, *row[_WORDS_AT + 1 :])


_WORDS_AT: Final = position_of(WORDS)


@dataclass
class Checksum:
    """The number of a table's rows, and a digest of them that doesn't depend on their order."""

    rows: int = 0
    total: int = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        # Python's notation is the same for the same values of either driver, and different for different ones.
        for row in rows:
            digest = blake2b(repr(row).encode(), digest_size=_DIGEST_BYTES).digest()
            self.total += int.from_bytes(digest, "big")
            self.rows += 1

    @property
    def digest(self) -> str:
        """The sum of the rows' digests as 32 hexadecimal digits."""
        return f"{self.total % (1 << 8 * _DIGEST_BYTES):032x}"
