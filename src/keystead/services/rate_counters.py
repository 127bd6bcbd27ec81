"""How requests are counted for rate limits: in this process, or in a Valkey that servers share.

Both count in windows that begin with a subject's first request. A request that one of its limits refuses takes
nothing from the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final, Protocol, cast

from keystead.domain.errors import Unavailable
from keystead.domain.rate_limits import RateExceeded, RatePolicy

if TYPE_CHECKING:
    from valkey.commands.core import Script

MEMORY: Final = "memory"
ANSWER_SECONDS: Final = 0.2
PREFIX: Final = "keystead:rate:"

Asked = Sequence[tuple[str, RatePolicy]]
"""What a request takes from: a subject's own name, and its policy."""


class Counters(Protocol):
    """Where requests are counted."""

    waits: bool
    """Whether to ask takes longer than an event loop may be held up."""

    def take(self, asked: Asked) -> RateExceeded | None:
        """Takes one from every subject, or none from any and tells the one to wait for longest. Unavailable."""

    def close(self) -> None:
        """Gives the connections back."""


@dataclass(slots=True)
class _Window:
    """When it ends (seconds of the clock), and how many were taken."""

    ends: float
    taken: int = 0


class MemoryCounters:
    """For one process. It holds the subjects of the last minute or two, and no others."""

    waits = False

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._counting = threading.Lock()
        self._windows: dict[str, _Window] = {}
        self._swept = 1_024

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, asked: Asked) -> RateExceeded | None:
        """As Counters; always there."""
        with self._counting:
            now = self._seconds()
            windows = [self._window(name, policy, now) for name, policy in asked]
            full = [
                RateExceeded(policy, max(1, ceil(window.ends - now)))
                for window, (_, policy) in zip(windows, asked, strict=True)
                if window.taken >= policy.quota
            ]
            for window in () if full else windows:
                window.taken += 1
        return _longest(full)

    def close(self) -> None:
        """Nothing to give back."""

    def _window(self, name: str, policy: RatePolicy, now: float) -> _Window:
        window = self._windows.get(name)
        if window is None or window.ends <= now:
            self._sweep(now)
            window = self._windows[name] = _Window(now + policy.window)
        return window

    def _sweep(self, now: float) -> None:
        """Forgets the windows that have ended, each time that there are twice as many as were left."""
        if len(self._windows) >= self._swept:
            self._windows = {n: w for n, w in self._windows.items() if w.ends > now}
            self._swept = max(1_024, 2 * len(self._windows))


_TAKE: Final = """
local full = {}
for i, name in ipairs(KEYS) do
  if tonumber(redis.call('GET', name) or '0') >= tonumber(ARGV[2 * i - 1]) then
    full[#full + 1] = i
    full[#full + 1] = redis.call('PTTL', name)
  end
end
if #full == 0 then
  for i, name in ipairs(KEYS) do
    if redis.call('INCR', name) == 1 then
      redis.call('PEXPIRE', name, ARGV[2 * i])
    end
  end
end
return full
"""
"""One question for all of a request's limits, answered whole: nobody comes in between, and its clock is everybody's."""


class ValkeyCounters:
    """For any number of servers. Each question takes 200 ms at most to be asked, and as long to be answered."""

    waits = True

    def __init__(self, url: str) -> None:
        """`url`: valkey://, or valkeys:// with TLS; also under their older names redis:// and rediss://."""
        from valkey import Valkey
        from valkey.exceptions import ValkeyError

        client = Valkey.from_url(
            url.replace("redis", "valkey", 1) if url.startswith("redis") else url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
        )
        self._client = client
        self._take: Script = client.register_script(_TAKE)
        self._errors = (ValkeyError, OSError)

    def take(self, asked: Asked) -> RateExceeded | None:
        """As Counters. Unavailable where it does not answer in time, or refuses."""
        names = [PREFIX + name for name, _ in asked]
        numbers = [n for _, policy in asked for n in (policy.quota, policy.window * 1_000)]
        try:
            told = cast("list[int]", self._take(keys=names, args=numbers))
        except self._errors:
            raise Unavailable("The rate limits cannot be asked.") from None
        full = [
            RateExceeded(asked[place - 1][1], max(1, ceil(left / 1_000)))
            for place, left in zip(told[::2], told[1::2], strict=True)
        ]
        return _longest(full)

    def close(self) -> None:
        """Gives the connections back."""
        self._client.close()  # type: ignore[no-untyped-call]


def _longest(full: Sequence[RateExceeded]) -> RateExceeded | None:
    return max(full, key=lambda one: one.wait, default=None)


def counters_of(where: str) -> Counters:
    """The counters that a setting names: `memory`, or a URL."""
    return MemoryCounters() if where == MEMORY else ValkeyCounters(where)
