"""Wrong passwords in rows, counted by subject: what all servers go by."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Insert, case, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from keystead.domain.throttle import NO_FAILURES, Subject, ThrottleState
from keystead.storage.database import Tx
from keystead.storage.schema.tables import throttles


def find_failures(tx: Tx, subjects: Iterable[Subject]) -> dict[Subject, ThrottleState]:
    """The failures of each subject; none where nothing is written."""
    asked = list(subjects)
    rows = tx.execute(select(throttles).where(throttles.c.subject.in_(asked)))
    found = {Subject(row.subject): ThrottleState(row.failures, row.last_at) for row in rows}
    return {subject: found.get(subject, NO_FAILURES) for subject in asked}


def lock_failures(
    tx: Tx, subjects: Iterable[Subject], now: datetime
) -> dict[Subject, ThrottleState]:
    """The same, nobody else counting until the transaction ends. Taken in one order, so that none waits for another."""
    found = {}
    for subject in sorted(subjects):
        row = tx.execute(_upsert(tx, subject, now)).one()
        found[subject] = ThrottleState(row.failures, row.last_at) if row.failures else NO_FAILURES
    return found


def set_failures(tx: Tx, subject: Subject, failures: ThrottleState) -> None:
    """Writes the count of a subject that is locked."""
    counted = update(throttles).where(throttles.c.subject == subject)
    tx.execute(counted.values(failures=failures.count, last_at=failures.last_at))


def take_back_failure(tx: Tx, subject: Subject) -> None:
    """Counts one failure less: the password was right, or was not looked at."""
    counted = update(throttles).where(throttles.c.subject == subject)
    less = case((throttles.c.failures > 0, throttles.c.failures - 1), else_=0)
    tx.execute(counted.values(failures=less))


def delete_failures(tx: Tx, subject: Subject) -> None:
    """Begins anew with a subject."""
    tx.execute(delete(throttles).where(throttles.c.subject == subject))


def _upsert(tx: Tx, subject: Subject, now: datetime) -> Any:
    """Makes the row, or takes the lock of the one that is there."""
    row = {"subject": subject, "failures": 0, "last_at": now}
    same = {"failures": throttles.c.failures}
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    made: Insert = (
        make(throttles).values(row).on_conflict_do_update(index_elements=["subject"], set_=same)
    )
    return made.returning(throttles.c.failures, throttles.c.last_at)
