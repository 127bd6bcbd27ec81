"""Retrying work whose transaction the database rolled back because of a concurrent one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from keystead.domain.errors import Unavailable
from keystead.storage.engine.errors import RolledBack
from keystead.storage.engine.waits import pause

SECONDS: Final = 5.0
"""No attempt begins later than this after the first: the time for which others wait for a lock."""
PAUSES: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5)
"""The longest pause in seconds before each further attempt. Each waits a random part of it, so that they part ways."""

P = ParamSpec("P")
R = TypeVar("R")


def retry_on_conflict(work: Callable[P, R]) -> Callable[P, R]:
    """Run the work again from its first line if a transaction of its own was rolled back, which had no effect.

    Its transactions are reads and at most one write, the last of them, so nothing is done twice. What it calls retries
    by itself. Unavailable after ten attempts, or when the time is over. A commit in doubt raises OutcomeUnknown, which
    is never retried.
    """

    @wraps(work)
    def attempts(*args: P.args, **named: P.kwargs) -> R:
        until = time.monotonic() + SECONDS
        for longest in (*PAUSES, None):
            try:
                return work(*args, **named)
            except RolledBack:
                seconds = (longest or 0) * secrets.randbelow(1_000) / 1_000
                if longest is None or time.monotonic() + seconds > until:
                    raise Unavailable(
                        "A concurrent change conflicted with yours. Nothing was saved; try again."
                    ) from None
            pause(seconds)
        raise AssertionError("the last attempt returns or raises")

    return attempts
