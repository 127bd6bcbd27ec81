"""Failed sign-in attempts, counted by subject, for all servers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, case, delete, select, update

from keystead.domain.throttle import NO_FAILURES, Subject, ThrottleState
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import upsert
from keystead.storage.schema.tables import throttles

_IS_SUBJECT: Final = throttles.c.subject == bindparam("of_subject")
_AMONG: Final = Query(
    select(throttles.c.subject, throttles.c.failures, throttles.c.last_at).where(
        throttles.c.subject.in_(bindparam("subjects", expanding=True))
    )
)
# Inserts the row, or locks an existing one by an update that changes nothing.
_LOCK: Final = upsert(
    throttles,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=["subject"], set_={"failures": throttles.c.failures}
    ).returning(throttles.c.failures, throttles.c.last_at),
)
_UPDATE: Final = update(throttles).where(_IS_SUBJECT)
_TAKE_BACK: Final = _UPDATE.values(
    failures=case((throttles.c.failures > 0, throttles.c.failures - 1), else_=0)
)
_DELETE: Final = delete(throttles).where(_IS_SUBJECT)


def find_failures(tx: Tx, subjects: Iterable[Subject]) -> dict[Subject, ThrottleState]:
    """Return the failures of each subject."""
    wanted = list(subjects)
    rows = _AMONG.all(tx, {"subjects": wanted})
    states = {Subject(subject): ThrottleState(*failures) for subject, *failures in rows}
    return {subject: states.get(subject, NO_FAILURES) for subject in wanted}


def lock_failures(
    tx: Tx, subjects: Iterable[Subject], now: datetime
) -> dict[Subject, ThrottleState]:
    """Like `find_failures`, locking the subjects until the transaction ends."""
    locked = {}
    for subject in sorted(subjects):  # in one order, so that two transactions cannot deadlock
        row = {"subject": subject, "failures": 0, "last_at": now}
        failures, last_at = tx.execute(_LOCK[tx.dialect.name], row).one()
        locked[subject] = ThrottleState(failures, last_at) if failures else NO_FAILURES
    return locked


def set_failures(tx: Tx, subject: Subject, failures: ThrottleState) -> None:
    """Write the count of a locked subject."""
    counted = {"failures": failures.count, "last_at": failures.last_at}
    tx.execute(_UPDATE, {"of_subject": subject, **counted})


def take_back_failure(tx: Tx, subject: Subject) -> None:
    """Subtract one failure: the password was right, or was not checked."""
    tx.execute(_TAKE_BACK, {"of_subject": subject})


def delete_failures(tx: Tx, subject: Subject) -> None:
    """Reset the count of a subject."""
    tx.execute(_DELETE, {"of_subject": subject})
