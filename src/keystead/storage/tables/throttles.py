"""Failed sign-in attempts, counted by subject, for all servers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, select, update

from keystead.domain.throttle import NO_FAILURES, Subject, ThrottleState
from keystead.storage.database import Tx
from keystead.storage.schema.columns import upsert
from keystead.storage.schema.tables import throttles


def find_failures(tx: Tx, subjects: Iterable[Subject]) -> dict[Subject, ThrottleState]:
    """Return the failures of each subject."""
    wanted = list(subjects)
    rows = tx.execute(select(throttles).where(throttles.c.subject.in_(wanted)))
    states = {Subject(row.subject): ThrottleState(row.failures, row.last_at) for row in rows}
    return {subject: states.get(subject, NO_FAILURES) for subject in wanted}


def lock_failures(
    tx: Tx, subjects: Iterable[Subject], now: datetime
) -> dict[Subject, ThrottleState]:
    """Like `find_failures`, locking the subjects until the transaction ends."""
    locked = {}
    for subject in sorted(subjects):  # in one order, so that two transactions cannot deadlock
        row = tx.execute(_upsert(tx, subject, now)).one()
        locked[subject] = ThrottleState(row.failures, row.last_at) if row.failures else NO_FAILURES
    return locked


def set_failures(tx: Tx, subject: Subject, failures: ThrottleState) -> None:
    """Write the count of a locked subject."""
    counted = update(throttles).where(throttles.c.subject == subject)
    tx.execute(counted.values(failures=failures.count, last_at=failures.last_at))


def take_back_failure(tx: Tx, subject: Subject) -> None:
    """Subtract one failure: the password was right, or was not checked."""
    counted = update(throttles).where(throttles.c.subject == subject)
    less = case((throttles.c.failures > 0, throttles.c.failures - 1), else_=0)
    tx.execute(counted.values(failures=less))


def delete_failures(tx: Tx, subject: Subject) -> None:
    """Reset the count of a subject."""
    tx.execute(delete(throttles).where(throttles.c.subject == subject))


def _upsert(tx: Tx, subject: Subject, now: datetime) -> Any:
    """Insert the row, or lock an existing one by an update that changes nothing."""
    row = {"subject": subject, "failures": 0, "last_at": now}
    same = {"failures": throttles.c.failures}
    locked = upsert(tx, throttles).values(row)
    locked = locked.on_conflict_do_update(index_elements=["subject"], set_=same)
    return locked.returning(throttles.c.failures, throttles.c.last_at)
