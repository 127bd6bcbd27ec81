"""Waiting for PostgreSQL: never without end, and on an event loop without its thread.

Services are synchronous. On an event loop `run_on_loop` gives each of their calls a greenlet: at every wait for an
answer it goes on with the loop's other tasks. Anything else that blocks must not run there.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

LOCK_SECONDS: Final = 5
STATEMENT_SECONDS: Final = 4 * LOCK_SECONDS
FIRST_SECONDS: Final = 1.5
"""For the first statement of a transaction, which takes a server no time."""
_ACQUIRE_SECONDS: Final = 0.01

R = TypeVar("R")


async def run_on_loop(call: Callable[[], R]) -> R:
    """Return the result of a synchronous call whose waits for PostgreSQL suspend this task, not its thread."""
    return await greenlet_spawn(call)


def off_loop(call: Callable[[], R]) -> R:
    """Run a call that blocks: on a thread if this is a call of `run_on_loop`, else here."""
    return await_only(asyncio.to_thread(call)) if in_greenlet() else call()


def pause(seconds: float) -> None:
    """Sleep, or suspend the task of `run_on_loop`."""
    if in_greenlet():
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def acquire(semaphore: threading.Semaphore, seconds: float) -> bool:
    """Wait for a semaphore, or try again after a pause of the task of `run_on_loop`. Returns whether it is acquired."""
    if not in_greenlet():
        return semaphore.acquire(timeout=seconds)
    # Not `off_loop`: when the task is cancelled, its thread would wait on, and keep what it gets.
    pause(_ACQUIRE_SECONDS)
    return semaphore.acquire(blocking=False)


def be_patient(connection: Connection) -> None:
    """Let this connection wait any time for each answer, as a migration must."""
    connection.connection.driver_connection.patience = None  # type: ignore[union-attr]
