"""Copying all tables from one database to another, and comparing them afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Table

from keystead.storage.moving.exclusive import CopyFailed, ExclusiveDatabase
from keystead.storage.moving.rows import COPIED, IDENTITIES, Batch, Checksum


@dataclass(frozen=True, slots=True)
class Step:
    """Some rows that were copied or compared, of `total` that are to be copied and then compared."""

    table: str
    rows: int
    total: int
    is_comparison: bool = False


OnStep = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """A table that is the same in both databases: the number of its rows, and their digest."""

    name: str
    rows: int
    digest: str


def copy_all(
    source: ExclusiveDatabase, target: ExclusiveDatabase, on_step: OnStep
) -> list[CopiedTable]:
    """Replace all rows of the target, which is not committed, by those of the source.

    Raises:
        CopyFailed: a row can't be stored there, or was stored differently.
    """
    total = 2 * sum(source.count(table) for table in COPIED)
    sent = {table: Checksum() for table in COPIED}

    def reported(
        database: ExclusiveDatabase, table: Table, checksum: Checksum, *, again: bool
    ) -> Iterator[Batch]:
        for batch in database.read(table):
            checksum.add(batch)
            yield batch
            on_step(Step(table.name, len(batch), total, again))

    target.begin_filling()
    for table in COPIED:
        target.fill(table, reported(source, table, sent[table], again=False))
    for column in IDENTITIES:
        target.set_last_number(column, source.last_number(column))
    target.end_filling()
    copied = []
    for table in COPIED:
        stored = Checksum()
        for _ in reported(target, table, stored, again=True):
            pass
        if (stored.rows, stored.digest) != (sent[table].rows, sent[table].digest):
            raise CopyFailed(f"The copy of the table {table.name} is not like its source.")
        copied.append(CopiedTable(table.name, stored.rows, stored.digest))
    return copied
