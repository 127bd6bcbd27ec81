"""Tasks that run again and again beside the requests, each on a thread of its own, whatever happens to them."""

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
    """What to run, and how many seconds to wait between two runs."""

    name: str
    seconds: float
    run: Callable[[], object]


OnRun = Callable[[str, bool], None]
"""(the task's name, whether the run ended well)"""


class Loop:
    """Runs every task until it is stopped. After a failure the wait doubles, to 30 seconds or the task's own."""

    def __init__(self, tasks: Iterable[Task], on_run: OnRun | None = None) -> None:
        self.tasks = tuple(tasks)
        self._on_run = on_run or (lambda _, __: None)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(task,), name=task.name, daemon=True)
            for task in self.tasks
        ]

    def start(self) -> None:
        """Starts all tasks; the first run of each comes after its wait."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Lets running tasks end, for five seconds at most, and starts none again."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def _repeat(self, task: Task) -> None:
        failures = 0
        while not self._stopping.wait(wait_after(task, failures)):
            failures = 0 if self._ran(task, failures) else failures + 1

    def _ran(self, task: Task, failures: int) -> bool:
        try:
            task.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next run may end well
            self._on_run(task.name, False)
            said = _log.warning if failures else _log.error
            said("task failed", task=task.name, errors=type_names(error), places=places(error))
            return False
        self._on_run(task.name, True)
        if failures:
            _log.info("task recovered", task=task.name, failures=failures)
        return True


def log_failure(failure: Failure) -> None:
    """Log that one item of a task failed: its id, which workspaces may learn, and never the error's text."""
    facts = {
        "task": failure.task,
        "item": failure.item,
        "failures": failure.failures,
        "errors": type_names(failure.error),
        "places": places(failure.error),
    }
    if failure.is_given_up:
        _log.error("item given up", **facts)
    else:
        _log.warning("item failed", **facts)


def wait_after(task: Task, failures: int) -> float:
    """Seconds to the next run, after so many failures on end."""
    longest = max(LONGEST_WAIT, task.seconds)
    return min(longest, task.seconds * 2.0 ** min(failures, 20))
