"""Turns: one at a time, first come, first served, and owner after owner."""

from __future__ import annotations

import threading

import pytest

from keystead.storage.engine.fifo_lock import Turns
from tests.postgres import wait_until


def queued(turns: Turns, name: int, order: list[int], owner: str = "a") -> threading.Thread:
    """A thread that takes a turn, notes its name and hands on."""

    def run() -> None:
        turns.take(owner, 30)
        order.append(name)
        turns.hand_on(owner)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def waits(turns: Turns) -> int:
    """How many threads wait for a turn."""
    return sum(map(len, turns._shares._waiting.values()))


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    """Whoever hands on and asks again comes after those who were waiting."""
    turns, order = Turns(), list[int]()
    turns.take("a", 1)
    waiting = []
    for name in range(5):
        waiting.append(queued(turns, name, order))
        wait_until(lambda: waits(turns) == len(waiting), "the thread waits")
    turns.hand_on("a")
    turns.take("a", 30)
    order.append(5)
    turns.hand_on("a")
    for thread in waiting:
        thread.join()
    assert order == [0, 1, 2, 3, 4, 5]


def test_owners_take_turns() -> None:
    """One that asks many times waits with all but its first behind each other owner's first."""
    turns, order = Turns(), list[int]()
    turns.take("a", 1)
    waiting = []
    for name, owner in enumerate("aaaaabbc"):
        waiting.append(queued(turns, name, order, owner))
        wait_until(lambda: waits(turns) == len(waiting), "the thread waits")
    turns.hand_on("a")
    for thread in waiting:
        thread.join()
    assert order == [0, 5, 7, 1, 6, 2, 3, 4]


def test_a_turn_that_does_not_come_in_time_is_given_up() -> None:
    """Who gave up is passed over, and those behind get their turn."""
    turns, order = Turns(), list[int]()
    turns.take("a", 1)
    with pytest.raises(TimeoutError):
        turns.take("a", 0.01)
    behind = queued(turns, 1, order)
    turns.hand_on("a")
    behind.join()
    turns.take("a", 0)
    assert order == [1]


def test_only_one_is_at_it() -> None:
    """Under many threads, never two have the turn at once."""
    turns, inside, most = Turns(), 0, 0

    def run() -> None:
        nonlocal inside, most
        for _ in range(200):
            turns.take("a", 30)
            inside += 1
            most = max(most, inside)
            inside -= 1
            turns.hand_on("a")

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
