"""An open load loop: requests arrive whether or not earlier ones were answered, with an idle request as control."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.support.server_process import HOST

CONTROL: Final = "control"
GIVEN_UP_SECONDS: Final = 40.0


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of request, by a name."""

    name: str
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def wire(self) -> bytes:
        """Return the bytes of the request, on a connection of its own."""
        standard_fields = {
            "host": HOST,
            "connection": "close",
            "content-length": str(len(self.body)),
        }
        fields = "".join(
            f"{name}: {value}\r\n" for name, value in (standard_fields | dict(self.headers)).items()
        )
        return f"{self.method} {self.path} HTTP/1.1\r\n{fields}\r\n".encode() + self.body


CONTROL_CALL: Final = Call(CONTROL, "GET", "/healthz")
"""A request that needs no database: its latency is that of the machine."""


@dataclass(frozen=True, slots=True)
class Response:
    """The response to a request: times of the monotonic clock; status 0 for no response."""

    name: str
    started: float
    ended: float
    status: int
    has_retry_after: bool
    """Whether the answer has Retry-After."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """All responses, and by how much this process itself was late at worst."""

    responses: Sequence[Response]
    late: float

    def within(self, started: float, ended: float) -> list[Response]:
        """Return the requests that started and ended between these times, without the control's."""
        return [
            response
            for response in self.responses
            if response.name != CONTROL and started < response.started and response.ended < ended
        ]

    def longest(self, started: float, ended: float) -> float:
        """Return the longest wait in seconds between these times."""
        return max(
            min(response.ended, ended) - max(response.started, started)
            for response in self.responses
            if response.name != CONTROL
        )

    @property
    def lag(self) -> float:
        """The longest latency in seconds of requests that wait for nothing."""
        controls = [
            response.ended - response.started
            for response in self.responses
            if response.name == CONTROL
        ]
        return max(*controls, self.late)


def arrive(
    port: int,
    calls: Sequence[Call],
    rate: float,
    seconds: float,
    then: Sequence[tuple[float, Callable[[], object]]],
) -> Arrivals:
    """Send `rate` requests a second in turn; run each action of `then` at its second, in a thread."""
    return asyncio.run(_LoadGenerator(port).arrive(calls, rate, seconds, then))


class _LoadGenerator:
    def __init__(self, port: int) -> None:
        self._port = port
        self._responses: list[Response] = []
        self._late = 0.0

    async def arrive(
        self,
        calls: Sequence[Call],
        rate: float,
        seconds: float,
        then: Sequence[tuple[float, Callable[[], object]]],
    ) -> Arrivals:
        started = time.monotonic()
        acts = [asyncio.create_task(self._act(started + at, act)) for at, act in then]
        requests = []
        for number, call in enumerate(itertools.cycle((*calls, CONTROL_CALL))):
            due = started + number / rate
            if due > started + seconds:
                break
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._late = max(self._late, time.monotonic() - due)
            requests.append(asyncio.create_task(self._ask(call)))
        await asyncio.gather(*requests, *acts)
        return Arrivals(self._responses, self._late)

    async def _act(self, due: float, act: Callable[[], object]) -> None:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.to_thread(act)

    async def _ask(self, call: Call) -> None:
        started = time.monotonic()
        answer = b""
        try:
            async with asyncio.timeout(GIVEN_UP_SECONDS):
                answer = await self._answer(call)
        except (OSError, TimeoutError):
            pass
        head = answer.partition(b"\r\n\r\n")[0].lower()
        status = int(head[9:12] or 0)
        ended = time.monotonic()
        self._responses.append(
            Response(call.name, started, ended, status, b"\r\nretry-after:" in head)
        )

    async def _answer(self, call: Call) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            writer.write(call.wire())
            return await reader.read()
        finally:
            writer.close()
