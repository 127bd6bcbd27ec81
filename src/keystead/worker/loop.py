"""Periodic tasks, each on its own thread; a failing task keeps being retried."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from keystead.http.redaction import places, type_names
from keystead.logger import Logger
from keystead.services.isolation import Failure

LONGEST_WAIT: Final = 30.0
STOP_SECONDS: Final = 5.0

_log = Logger("keystead.worker")


@dataclass(frozen=True, slots=True)
class Task:
    """A function, and how many seconds to wait between two runs."""

    name: str
    seconds: float
    run: Callable[[], object]


OnRun = Callable[[str, bool], None]
"""(the task's name, whether the run succeeded)"""


class Loop:
    """Runs tasks until stopped. Each failure doubles the wait, up to 30 seconds or the task's interval."""

    def __init__(self, tasks: Iterable[Task], on_run: OnRun | None = None) -> None:
        self.tasks = tuple(tasks)
        self._on_run = on_run or (lambda _, __: None)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(task,), name=task.name, daemon=True)
            for task in self.tasks
        ]

    def start(self) -> None:
        """Start all tasks. Each first waits for its interval."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop all tasks, waiting up to five seconds for each that is running."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def _repeat(self, task: Task) -> None:
        failures = 0
        while not self._stopping.wait(wait_after(task, failures)):
            failures = 0 if self._run(task, failures) else failures + 1

    def _run(self, task: Task, failures: int) -> bool:
        try:
            task.run()
        except Exception as error:  # noqa: BLE001 - the next run may succeed
            self._on_run(task.name, False)
            # Only the first of consecutive failures is an error, so that alerts fire once.
            log = _log.warning if failures else _log.error
            log("task failed", task=task.name, errors=type_names(error), places=places(error))
            return False
        self._on_run(task.name, True)
        if failures:
            _log.info("task recovered", task=task.name, failures=failures)
        return True


def log_failure(failure: Failure) -> None:
    """Log the failure of one item of a task: its id, but never the error's text, which may contain secrets."""
    fields = {
        "task": failure.task,
        "item": failure.item,
        "failures": failure.failures,
        "errors": type_names(failure.error),
        "places": places(failure.error),
    }
    if failure.is_given_up:
        _log.error("item given up", **fields)
    else:
        _log.warning("item failed", **fields)


def wait_after(task: Task, failures: int) -> float:
    """Return the seconds until the next run, after that many consecutive failures."""
    longest = max(LONGEST_WAIT, task.seconds)
    return min(longest, task.seconds * 2.0 ** min(failures, 20))
