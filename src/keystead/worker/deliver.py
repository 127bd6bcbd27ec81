"""The delivery worker: claims batches of due deliveries, sends them concurrently, settles the outcomes.

A batch belongs to one endpoint and has its own limit of concurrent attempts, so a slow endpoint takes
no capacity from others. All state is in the database: if the worker is killed, another one continues
when its leases have expired.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from keystead.domain.errors import StorageError
from keystead.domain.shares import FreePlaces
from keystead.domain.webhooks import Outcome
from keystead.http.redaction import places, type_names
from keystead.logger import Logger
from keystead.services.deliveries import Batch, Deliveries, Message, Sent
from keystead.worker.sending import Connection, Sender

ATTEMPTS_PER_ENDPOINT: Final = 4
"""Concurrent attempts at one endpoint."""
ENDPOINTS: Final = 128
"""Endpoints to which one worker sends concurrently, shared fairly among workspaces: see `domain/shares.py`."""
CLAIMED_AT_ONCE: Final = 32
MESSAGES: Final = 40
POLL_SECONDS: Final = 0.2
"""How often to look for what other processes committed, and for what is due again."""
GATHER_SECONDS: Final = 0.01
"""How long after a commit to claim, so that the commits of the same moment are claimed together."""
START_SECONDS: Final = 30.0
"""For how long a claimed batch starts attempts before it makes room for other endpoints."""
LEASE_PARTS: Final = 4
"""How often a lease is extended within its time."""
SETTLE_SECONDS: Final = 0.02
"""How long to collect outcomes that are written in one transaction."""
LONGEST_WAIT: Final = 5.0
STOP_SECONDS: Final = 3.0

_log: Final = Logger("keystead.worker")

OnOutcome = Callable[[str], None]
"""(`delivered`, or the reason for the failure)"""
R = TypeVar("R")


class DeliveryWorker:
    """Delivers on its own thread, from `start` to `stop`."""

    def __init__(
        self,
        deliveries: Deliveries,
        sender: Sender,
        on_outcome: OnOutcome | None = None,
        *,
        poll: float = POLL_SECONDS,
    ) -> None:
        self._deliveries = deliveries
        self._deliverer = _Deliverer(deliveries, sender, on_outcome or (lambda _: None), poll)
        self._thread = threading.Thread(target=self._main, name="deliver", daemon=True)

    def start(self) -> None:
        """Start delivering. Commits of this process wake the worker from now on."""
        self._thread.start()
        self._deliveries.notify(self._deliverer.wake)

    def stop(self) -> None:
        """Start no more attempts, wait a few seconds for running ones, and release the leases."""
        self._deliveries.notify(None)
        self._deliverer.stop()
        self._thread.join(STOP_SECONDS * 2)

    def _main(self) -> None:
        asyncio.run(self._deliverer.run())


class _Deliverer:
    """The worker's work on its event loop."""

    def __init__(
        self,
        deliveries: Deliveries,
        sender: Sender,
        on_outcome: OnOutcome,
        poll: float,
    ) -> None:
        self._deliveries, self._sender, self._on_outcome = deliveries, sender, on_outcome
        self._poll = poll
        self._is_stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._awake = asyncio.Event()
        self._database = ThreadPoolExecutor(2, thread_name_prefix="deliver")
        self._busy: dict[asyncio.Task[None], Batch] = {}
        self._sent: list[Sent] = []
        self._finished: list[Batch] = []
        self._to_settle = asyncio.Event()
        self._failures = 0

    async def run(self) -> None:
        """Deliver until the worker stops."""
        self._loop = asyncio.get_running_loop()
        settling = asyncio.create_task(self._keep_settling())
        extending = asyncio.create_task(self._keep_extending())
        while not self._is_stopping:
            self._awake.clear()  # before looking: a later commit sets it again
            batches = await self._claim()
            for batch in batches:
                task = asyncio.create_task(self._deliver(batch))
                self._busy[task] = batch
                task.add_done_callback(self._busy.pop)
            if len(batches) < CLAIMED_AT_ONCE:
                await self._rest()
        if self._busy:
            _, late = await asyncio.wait(self._busy, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        # Last, so that leases are extended while attempts finish, and every outcome is written.
        for task in (settling, extending):
            task.cancel()
        await asyncio.gather(settling, extending, return_exceptions=True)
        await self._settle()
        self._database.shutdown()

    def wake(self) -> None:
        """Look for due deliveries soon. Any thread may call this, also before the start and after the end."""
        if self._loop is not None and not self._awake.is_set():
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._awake.set)

    def stop(self) -> None:
        """Let `run` end. Any thread may call this."""
        self._is_stopping = True
        self.wake()

    async def _rest(self) -> None:
        """Wait for a commit, for the end of a lease of ours, or for the next poll."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait(self._poll)):
                await self._awake.wait()
                await asyncio.sleep(GATHER_SECONDS)

    async def _claim(self) -> list[Batch]:
        free = ENDPOINTS - len(self._busy)
        if not free:
            return []
        busy = Counter(batch.endpoint.workspace_id for batch in self._busy.values())
        try:
            claimed = await self._on_thread(
                partial(
                    self._deliveries.claim,
                    endpoints=min(free, CLAIMED_AT_ONCE),
                    messages=MESSAGES,
                    places=FreePlaces(free, busy),
                )
            )
        except Exception as error:  # noqa: BLE001 - the next poll may succeed
            self._fail(error)
            return []
        self._recover()
        return claimed

    async def _deliver(self, batch: Batch) -> None:
        """Send a batch, then release its lease."""
        deadline = time.monotonic() + START_SECONDS
        messages = iter(batch.messages)  # shared: each attempt takes the next message

        async def send_next() -> None:
            async with self._sender.connect(batch) as connection:
                for message in messages:
                    if self._is_stopping or time.monotonic() > deadline:
                        return
                    self._note(message, await self._attempt(connection, message))

        try:
            await asyncio.gather(*(send_next() for _ in range(ATTEMPTS_PER_ENDPOINT)))
        finally:
            self._finished.append(batch)
            self._to_settle.set()

    async def _attempt(self, connection: Connection, message: Message) -> Outcome:
        outcome = await connection.send(message, self._deliveries.now())
        error = outcome.attempt.error
        self._on_outcome("delivered" if error is None else str(error))
        return outcome

    def _note(self, message: Message, outcome: Outcome) -> None:
        self._sent.append(Sent(message.delivery, outcome))
        self._to_settle.set()

    async def _keep_settling(self) -> None:
        while True:
            await self._to_settle.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._to_settle.clear()
            await self._settle()

    async def _settle(self) -> None:
        """Write all outcomes, and release the leases of finished batches. Keeps them if storage is unavailable."""
        sent, self._sent = self._sent, []
        finished, self._finished = self._finished, []
        if not sent and not finished:
            return
        try:
            await self._on_thread(partial(self._deliveries.settle, sent, finished))
        except StorageError as error:
            self._fail(error)
            self._sent, self._finished = sent + self._sent, finished + self._finished
            self._to_settle.set()
            await asyncio.sleep(self._wait(SETTLE_SECONDS))
        except Exception as error:  # noqa: BLE001 - sent again when the lease has expired
            self._fail(error)
        else:
            self._recover()
            if finished:
                self._awake.set()  # more may be due to the same endpoints

    async def _keep_extending(self) -> None:
        """Extend the leases of running batches. Cancels a batch whose lease is lost: another worker has it."""
        while True:
            await asyncio.sleep(self._deliveries.lease.total_seconds() / LEASE_PARTS)
            busy = dict(self._busy)
            if not busy:
                continue
            try:
                leased = await self._on_thread(
                    partial(self._deliveries.extend, list(busy.values()))
                )
            except Exception as error:  # noqa: BLE001 - the next extension may succeed before the leases expire
                self._fail(error)
                continue
            for task, batch in busy.items():
                if batch.queue not in leased:
                    task.cancel()

    async def _on_thread(self, call: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._database, call)

    def _wait(self, seconds: float) -> float:
        # Exponential back-off, so that a recovering database is not flooded.
        return float(min(LONGEST_WAIT, seconds * 2.0 ** min(self._failures, 10)))

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        log = _log.warning if self._failures > 1 else _log.error
        log("deliveries failed", errors=type_names(error), places=places(error))

    def _recover(self) -> None:
        if self._failures:
            _log.info("deliveries recovered", failures=self._failures)
        self._failures = 0
