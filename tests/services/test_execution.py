"""Where calls run: fair shares for each owner, no thread for what waits, results and errors for the caller."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable, Iterator
from contextvars import ContextVar
from functools import partial

import pytest

from keystead.domain.errors import NotFound, Unavailable
from keystead.services.concurrency import FairSemaphore, FairThreadPool
from keystead.services.execution import Execution

pytestmark = pytest.mark.anyio

KINDS = ("run_read", "run_write", "run_slow")
caller: ContextVar[str] = ContextVar("caller")


@pytest.fixture(params=[True, False], ids=["sqlite", "postgresql"])
def execution(request: pytest.FixtureRequest) -> Iterator[Execution]:
    """One of each engine."""
    execution = Execution(is_sqlite=request.param)
    yield execution
    execution.close()


@pytest.fixture
def pool() -> Iterator[FairThreadPool]:
    """A pool of one thread."""
    pool = FairThreadPool(1, "test")
    yield pool
    pool.close()


def fail() -> None:
    """Raise an error of a use case."""
    raise NotFound("There is no such thing.")


def stop() -> None:
    """Raise what no future can hold."""
    raise StopIteration


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_returns_its_result(execution: Execution, kind: str) -> None:
    """Each way of running returns what the call returns."""
    assert await getattr(execution, kind)("ws_a", lambda: 7) == 7


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_raises_its_error(execution: Execution, kind: str) -> None:
    """What the call raises reaches the caller unchanged."""
    with pytest.raises(NotFound):
        await getattr(execution, kind)("ws_a", fail)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_runs_in_the_context_of_its_caller(execution: Execution, kind: str) -> None:
    """Context variables, such as those of the log, are the caller's."""
    caller.set("me")
    assert await getattr(execution, kind)("ws_a", caller.get) == "me"


async def test_reads_on_sqlite_run_on_the_loop_and_writes_do_not() -> None:
    """Reads take no thread, and all writes the same one."""
    execution = Execution(is_sqlite=True)
    here = threading.get_ident()
    assert await execution.run_read("ws_a", threading.get_ident) == here
    first = await execution.run_write("ws_a", threading.get_ident)
    assert first != here
    assert await execution.run_write("ws_b", threading.get_ident) == first
    execution.close()


async def test_an_owner_with_many_waiting_calls_does_not_delay_another(
    pool: FairThreadPool,
) -> None:
    """The other owner's call is among the next two."""
    order: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go_on.wait(10)

    first = asyncio.create_task(pool.run("a", hold))
    await asyncio.to_thread(begun.wait, 10)
    others = [asyncio.create_task(pool.run("a", partial(order.append, "a"))) for _ in range(20)]
    others.append(asyncio.create_task(pool.run("b", partial(order.append, "b"))))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, *others)
    assert len(order) == 21
    assert "b" in order[:2]


async def test_waiting_calls_hold_no_thread() -> None:
    """Of twenty calls of one owner only its share has threads, and another owner is served."""
    pool = FairThreadPool(8, "waiting")
    go_on = threading.Event()
    calls = [asyncio.create_task(pool.run("a", partial(go_on.wait, 10))) for _ in range(20)]
    await asyncio.sleep(0)
    assert await pool.run("b", lambda: "served") == "served"
    names = [t.name for t in threading.enumerate() if t.name.startswith("waiting")]
    assert len(names) <= 5
    go_on.set()
    assert await asyncio.gather(*calls) == [True] * 20
    pool.close()


async def test_work_that_waits_too_long_is_unavailable() -> None:
    """It is refused and never run, and its place in the queue is free again."""
    pool, go_on = FairThreadPool(1, "short", seconds=0.05), threading.Event()
    first = asyncio.create_task(pool.run("a", partial(go_on.wait, 10)))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await pool.run("b", lambda: None)
    go_on.set()
    assert await first
    assert await pool.run("b", lambda: 7) == 7
    pool.close()


async def test_a_permit_that_takes_too_long_is_unavailable() -> None:
    """It is refused, and the permit goes to the next."""
    semaphore = FairSemaphore(8, most=1, seconds=0.05)
    async with semaphore.held("a"):
        with pytest.raises(Unavailable):
            await semaphore.acquire("a")
        async with semaphore.held("b"):
            pass
    async with semaphore.held("a"):
        pass


async def test_a_waiter_that_is_cancelled_when_its_time_is_over_returns_no_permit() -> None:
    """The only permit stays the one that is in use."""
    semaphore = FairSemaphore(1, seconds=0.05)
    async with semaphore.held("a"):
        waiter = asyncio.create_task(semaphore.acquire("b"))
        expire = semaphore._expire

        def expire_and_cancel(owner: Hashable, future: asyncio.Future[None]) -> None:
            expire(owner, future)
            waiter.cancel()

        semaphore._expire = expire_and_cancel  # type: ignore[method-assign,assignment]
        with pytest.raises(asyncio.CancelledError):
            await waiter
        with pytest.raises(Unavailable):
            await semaphore.acquire("b")


async def test_a_cancelled_call_that_waits_never_runs(pool: FairThreadPool) -> None:
    """The calls after it do."""
    go_on = threading.Event()
    ran: list[str] = []
    first = asyncio.create_task(pool.run("a", partial(go_on.wait, 10)))
    await asyncio.sleep(0)
    cancelled = asyncio.create_task(pool.run("a", partial(ran.append, "cancelled")))
    last = asyncio.create_task(pool.run("a", partial(ran.append, "last")))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    go_on.set()
    await asyncio.gather(first, last)
    assert ran == ["last"]


async def test_a_cancelled_call_that_runs_goes_on_and_keeps_its_thread(
    pool: FairThreadPool,
) -> None:
    """No other call runs in the meantime."""
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def work() -> None:
        begun.set()
        go_on.wait(10)
        order.append("first")

    first = asyncio.create_task(pool.run("a", work))
    await asyncio.to_thread(begun.wait, 10)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(pool.run("b", partial(order.append, "second")))
    await asyncio.sleep(0)
    go_on.set()
    await second
    assert order == ["first", "second"]


async def test_a_call_that_raises_stop_iteration_ends(pool: FairThreadPool) -> None:
    """The caller gets an error and does not wait for ever."""
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(pool.run("a", stop), 10)


async def test_a_closed_pool_refuses_new_calls_and_those_that_wait(pool: FairThreadPool) -> None:
    """The call that runs still gets its result to the caller."""
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> str:
        begun.set()
        go_on.wait(10)
        return "done"

    running = asyncio.create_task(pool.run("a", hold))
    await asyncio.to_thread(begun.wait, 10)
    waiting = [asyncio.create_task(pool.run(owner, lambda: None)) for owner in ("a", "b", "c")]
    await asyncio.sleep(0)
    pool.close()
    go_on.set()
    assert await running == "done"
    for refused in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(refused, Unavailable)
    with pytest.raises(Unavailable):
        await pool.run("a", lambda: None)
