"""The mark of a move in a database. No server uses a database that has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import inspect

from keystead.domain.instants import from_microseconds, to_microseconds
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.maintenance.backup import opened
from keystead.storage.schema.tables import moves

SELECT_MARK: Final = "SELECT id, state, place, at FROM moves"
DELETE_MARK: Final = "DELETE FROM moves"


class MoveState(StrEnum):
    """What a move means for a database."""

    ARRIVING = "arriving"
    """It has a copy, but its source has not been given up yet."""
    LEFT = "left"
    """It was copied elsewhere, and given up."""


@dataclass(frozen=True, slots=True)
class MoveMark:
    """A move: its id, which both databases have, and the place of the other one."""

    id: str
    state: MoveState
    place: str
    at: datetime

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Self:
        """Return the mark in a row of SELECT_MARK."""
        id, state, place, at = row
        return cls(id, MoveState(state), place, from_microseconds(at))

    @property
    def row(self) -> tuple[str, str, str, int]:
        """The values to store, in the order of SELECT_MARK."""
        return self.id, self.state.value, self.place, to_microseconds(self.at)


def find_mark(database: Database) -> MoveMark | None:
    """Return the mark of a database of any revision; None if servers may use it."""
    with database.read_across(Purpose.SERVER) as tx:
        if not inspect(tx).has_table(moves.name):
            return None
        row = tx.exec_driver_sql(SELECT_MARK).first()
    return None if row is None else MoveMark.of_row(row)


def find_mark_in(file: Path) -> MoveMark | None:
    """Return the mark of an SQLite database that is not open, of any revision."""
    known = "SELECT 1 FROM sqlite_master WHERE name = ?"
    with opened(file) as database:
        if database.execute(known, (moves.name,)).fetchone() is None:
            return None
        row = database.execute(SELECT_MARK).fetchone()
    return None if row is None else MoveMark.of_row(row)
