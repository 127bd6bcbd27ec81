"""The FIFO lock: one holder at a time, first come, first served, and owner after owner."""

from __future__ import annotations

import threading

import pytest

from keystead.storage.engine.fifo_lock import FifoLock
from tests.support.postgres import wait_until


def queued(lock: FifoLock, name: int, order: list[int], owner: str = "a") -> threading.Thread:
    """Start a thread that acquires the lock, notes its name and releases it."""

    def run() -> None:
        lock.acquire(owner, 30)
        order.append(name)
        lock.release(owner)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def waits(lock: FifoLock) -> int:
    """Return how many threads wait for the lock."""
    return sum(map(len, lock._shares._waiting.values()))


def test_it_is_acquired_in_the_order_of_requests() -> None:
    """A thread that releases the lock and acquires it again comes after those that were waiting."""
    lock, order = FifoLock(), list[int]()
    lock.acquire("a", 1)
    waiting = []
    for name in range(5):
        waiting.append(queued(lock, name, order))
        wait_until(lambda: waits(lock) == len(waiting), "the thread waits")
    lock.release("a")
    lock.acquire("a", 30)
    order.append(5)
    lock.release("a")
    for thread in waiting:
        thread.join()
    assert order == [0, 1, 2, 3, 4, 5]


def test_owners_rotate() -> None:
    """An owner with many requests waits, with all except its first, behind each other owner's first."""
    lock, order = FifoLock(), list[int]()
    lock.acquire("a", 1)
    waiting = []
    for name, owner in enumerate("aaaaabbc"):
        waiting.append(queued(lock, name, order, owner))
        wait_until(lambda: waits(lock) == len(waiting), "the thread waits")
    lock.release("a")
    for thread in waiting:
        thread.join()
    assert order == [0, 5, 7, 1, 6, 2, 3, 4]


def test_a_turn_that_does_not_come_in_time_is_given_up() -> None:
    """A waiter that gave up is skipped, and those behind it get the lock."""
    lock, order = FifoLock(), list[int]()
    lock.acquire("a", 1)
    with pytest.raises(TimeoutError):
        lock.acquire("a", 0.01)
    behind = queued(lock, 1, order)
    lock.release("a")
    behind.join()
    lock.acquire("a", 0)
    assert order == [1]


def test_only_one_is_at_it() -> None:
    """Under many threads, no two hold the lock at the same time."""
    lock, inside, most = FifoLock(), 0, 0

    def run() -> None:
        nonlocal inside, most
        for _ in range(200):
            lock.acquire("a", 30)
            inside += 1
            most = max(most, inside)
            inside -= 1
            lock.release("a")

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
