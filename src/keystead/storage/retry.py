"""Beginning anew: work whose transaction the database rolled back, because others were at the same rows."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from keystead.domain.errors import Unavailable
from keystead.storage.database import RolledBack

SECONDS: Final = 5.0
"""No attempt begins later than that after the first: as long as others wait for a lock."""
PAUSES: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5)
"""At most so many seconds before each further attempt. Those who collided draw lots: each waits a part of it."""

P = ParamSpec("P")
R = TypeVar("R")


def anew(work: Callable[P, R]) -> Callable[P, R]:
    """The same work, run again from its first line where a transaction of its own was rolled back: that had no effect.

    Its transactions are reads, and at most one write, the last of them: so nothing is done twice. What it calls begins
    anew by itself. Unavailable after ten attempts, or when the seconds are over; a commit in doubt is OutcomeUnknown,
    which is never tried again.
    """

    @wraps(work)
    def attempts(*args: P.args, **named: P.kwargs) -> R:
        until = time.monotonic() + SECONDS
        for longest in (*PAUSES, None):
            try:
                return work(*args, **named)
            except RolledBack:
                pause = (longest or 0) * secrets.randbelow(1_000) / 1_000
                if longest is None or time.monotonic() + pause > until:
                    raise Unavailable("Others were changing the same; nothing was done.") from None
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    return attempts
