"""The worker that delivers: claims what is due, sends it side by side, settles what came of it.

Each endpoint that is being sent to has lanes of its own, so that a slow one fills nobody else's. What the worker
knows is in the database: killed at any moment, it is succeeded when its leases run out.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

import structlog

from keystead.domain.errors import StorageError
from keystead.domain.shares import FreePlaces
from keystead.domain.webhooks import Outcome
from keystead.http.redaction import places, type_names
from keystead.services.deliveries import Batch, Deliveries, Message, Sent
from keystead.worker.sending import Sender

LANES: Final = 4
"""Attempts at one endpoint at the same time."""
ENDPOINTS: Final = 128
"""Endpoints that one worker sends to at the same time. A workspace has its share of them: see `domain/shares.py`."""
CLAIMED_AT_ONCE: Final = 32
MESSAGES: Final = 40
POLL_SECONDS: Final = 0.2
START_SECONDS: Final = 30.0
"""How long after it was claimed a batch begins attempts; then it is another endpoint's turn."""
LEASE_PARTS: Final = 4
"""How often within its time a lease is held for longer."""
SETTLE_SECONDS: Final = 0.02
"""How long outcomes are gathered, to be written together."""
LONGEST_WAIT: Final = 5.0
STOP_SECONDS: Final = 3.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger("keystead.worker")

OnOutcome = Callable[[str], None]
"""(`delivered`, or why the attempt failed)"""
R = TypeVar("R")


class DeliveryWorker:
    """Delivers on a thread of its own, from `start` to `stop`."""

    def __init__(
        self,
        deliveries: Deliveries,
        sender: Sender,
        on_outcome: OnOutcome | None = None,
        *,
        poll: float = POLL_SECONDS,
    ) -> None:
        self._deliveries = deliveries
        self._sender = sender
        self._on_outcome = on_outcome or (lambda _: None)
        self._poll = poll
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._main, name="deliver", daemon=True)

    def start(self) -> None:
        """Begins to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Begins no attempt any more, waits a few seconds for those under way, and gives leases back."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS * 2)

    def _main(self) -> None:
        asyncio.run(_Deliverer(self._deliveries, self._sender, self._on_outcome).run(self))

    def is_stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping.is_set()

    @property
    def poll(self) -> float:
        """Seconds between two looks for something due."""
        return self._poll


class _Deliverer:
    """What the worker does on its event loop."""

    def __init__(self, deliveries: Deliveries, sender: Sender, on_outcome: OnOutcome) -> None:
        self._deliveries = deliveries
        self._sender = sender
        self._on_outcome = on_outcome
        self._database = ThreadPoolExecutor(2, thread_name_prefix="deliver")
        self._busy: dict[asyncio.Task[None], Batch] = {}
        self._sent: list[Sent] = []
        self._over: list[Batch] = []
        self._news = asyncio.Event()
        self._failures = 0

    async def run(self, worker: DeliveryWorker) -> None:
        """Until the worker is told to end."""
        settling = asyncio.create_task(self._settle_again_and_again())
        extending = asyncio.create_task(self._extend_again_and_again())
        while not worker.is_stopping():
            batches = await self._claim()
            for batch in batches:
                task = asyncio.create_task(self._deliver(batch, worker))
                self._busy[task] = batch
                task.add_done_callback(self._busy.pop)
            if not batches:
                await asyncio.sleep(self._wait(worker.poll))
        if self._busy:
            _, late = await asyncio.wait(self._busy, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for task in (settling, extending):
            task.cancel()
        await asyncio.gather(settling, extending, return_exceptions=True)
        await self._settle()
        self._database.shutdown(wait=False)

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
        except Exception as error:  # noqa: BLE001 - the next look may go well
            self._fail(error)
            return []
        self._recover()
        return claimed

    async def _deliver(self, batch: Batch, worker: DeliveryWorker) -> None:
        """Sends a batch, then gives its lease back."""
        until = time.monotonic() + START_SECONDS
        left = iter(batch.messages)

        async def lane() -> None:
            for message in left:
                if worker.is_stopping() or time.monotonic() > until:
                    return
                self._note(message, await self._attempt(batch, message))

        try:
            await asyncio.gather(*(lane() for _ in range(LANES)))
        finally:
            self._over.append(batch)
            self._news.set()

    async def _attempt(self, batch: Batch, message: Message) -> Outcome:
        outcome = await self._sender.send(batch, message, self._deliveries.now())
        error = outcome.attempt.error
        self._on_outcome("delivered" if error is None else str(error))
        return outcome

    def _note(self, message: Message, outcome: Outcome) -> None:
        self._sent.append(Sent(message.delivery, outcome))
        self._news.set()

    async def _settle_again_and_again(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._news.clear()
            await self._settle()

    async def _settle(self) -> None:
        """Writes what there is to write. What cannot be written now is kept for the next time."""
        sent, self._sent = self._sent, []
        over, self._over = self._over, []
        if not sent and not over:
            return
        try:
            await self._on_thread(partial(self._deliveries.settle, sent, over))
        except StorageError as error:
            self._fail(error)
            self._sent, self._over = sent + self._sent, over + self._over
            self._news.set()
            await asyncio.sleep(self._wait(SETTLE_SECONDS))
        except Exception as error:  # noqa: BLE001 - what cannot be settled at all is sent again when its lease has run out
            self._fail(error)
        else:
            self._recover()

    async def _extend_again_and_again(self) -> None:
        """Keeps what is being sent leased. A lease that was lost ends its batch: somebody else sends it."""
        while True:
            await asyncio.sleep(self._deliveries.lease.total_seconds() / LEASE_PARTS)
            busy = dict(self._busy)
            if not busy:
                continue
            try:
                held = await self._on_thread(partial(self._deliveries.extend, list(busy.values())))
            except Exception as error:  # noqa: BLE001 - the next time may go well, before the leases run out
                self._fail(error)
                continue
            for task, batch in busy.items():
                if batch.queue not in held:
                    task.cancel()

    async def _on_thread(self, call: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._database, call)

    def _wait(self, seconds: float) -> float:
        """Longer after failures, so that a database that comes back is not stormed."""
        return float(min(LONGEST_WAIT, seconds * 2.0 ** min(self._failures, 10)))

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        said = _log.warning if self._failures > 1 else _log.error
        said("delivering failed", errors=type_names(error), places=places(error))

    def _recover(self) -> None:
        if self._failures:
            _log.info("delivering recovered", failures=self._failures)
        self._failures = 0
