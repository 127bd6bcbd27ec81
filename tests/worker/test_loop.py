"""Periodic tasks keep running after any failure, and never delay each other."""

from __future__ import annotations

import logging
import threading

import pytest

from keystead.domain.errors import Unavailable
from keystead.logger import Line
from keystead.worker.loop import LONGEST_WAIT, Loop, Task, wait_after
from tests.support.postgres import wait_until

SECRET = "swordfish"


class Flaky:
    """A task that fails until it is fixed, and counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self.broken = True

    def __call__(self) -> None:
        """Run once."""
        self.runs += 1
        if self.broken:
            raise Unavailable(SECRET)


@pytest.fixture
def flaky() -> Flaky:
    """A task that is broken at first."""
    return Flaky()


def test_a_failing_task_is_tried_again_until_it_ends_well(
    flaky: Flaky, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure is logged without its text, the task runs again, and its recovery is logged too."""
    outcomes: list[tuple[str, bool]] = []
    loop = Loop([Task("flush", 0.001, flaky)], lambda *outcome: outcomes.append(outcome))
    caplog.set_level(logging.INFO, "keystead")
    loop.start()
    wait_until(lambda: flaky.runs >= 3, "the task ran three times")
    flaky.broken = False
    wait_until(lambda: ("flush", True) in outcomes, "the task ended well")
    loop.stop()
    lines = [record.msg for record in caplog.records if isinstance(record.msg, Line)]
    assert outcomes[:3] == [("flush", False)] * 3
    assert [line.event for line in lines].count("task recovered") == 1
    assert lines[0].fields["errors"] == ["keystead.domain.errors.Unavailable"]
    assert SECRET not in repr(lines)


def test_a_stopped_loop_runs_nothing_more(flaky: Flaky) -> None:
    """After `stop` no task runs, and none is running."""
    flaky.broken = False
    loop = Loop([Task("flush", 0.001, flaky)])
    loop.start()
    wait_until(lambda: flaky.runs > 0, "the task ran")
    loop.stop()
    runs = flaky.runs
    assert not [thread for thread in threading.enumerate() if thread.name == "flush"]
    assert flaky.runs == runs


def test_a_slow_task_holds_up_no_other() -> None:
    """A task that hangs leaves the others running."""
    release, others = threading.Event(), threading.Event()
    loop = Loop([Task("slow", 0.001, release.wait), Task("quick", 0.001, others.set)])
    loop.start()
    assert others.wait(10)
    release.set()
    loop.stop()


@pytest.mark.parametrize(
    ("seconds", "failures", "wait"),
    [
        (2, 0, 2),
        (2, 1, 4),
        (2, 3, 16),
        (2, 9, LONGEST_WAIT),
        (2, 10_000, LONGEST_WAIT),
        (3600, 5, 3600),
    ],
)
def test_the_wait_doubles_up_to_a_bound(seconds: float, failures: int, wait: float) -> None:
    """Each failure doubles the wait, to thirty seconds, or to the task's own interval if that is longer."""
    assert wait_after(Task("any", seconds, int), failures) == wait
