"""Counters of rate limits: in this process, or in a Valkey that servers share.

Both count in fixed windows, which begin with a bucket's first request. A request that one bucket refuses takes nothing
from its others.
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
TIMEOUT_SECONDS: Final = 0.2
PREFIX: Final = "keystead:rate:"

Buckets = Sequence[tuple[str, RatePolicy]]
"""What one request counts against: the name of each bucket, and its policy."""


class Counters(Protocol):
    """Counts of requests."""

    waits: bool
    """Whether `take` takes longer than an event loop may be held up."""

    def take(self, buckets: Buckets) -> RateExceeded | None:
        """Count a request in every bucket. If one is full, count in none, and return the one with the longest wait."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(slots=True)
class _Window:
    """When it ends (seconds of the clock), and its requests so far."""

    ends: float
    taken: int = 0


class MemoryCounters:
    """Counters of one process. It holds the buckets of the last minute or two, and no others."""

    waits = False

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._counting = threading.Lock()
        self._windows: dict[str, _Window] = {}
        self._sweep_at = 1_024

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, buckets: Buckets) -> RateExceeded | None:
        """Count in this process, so never raise Unavailable."""
        with self._counting:
            now = self._seconds()
            windows = [self._window(name, policy, now) for name, policy in buckets]
            full = [
                RateExceeded(policy, max(1, ceil(window.ends - now)))
                for window, (_, policy) in zip(windows, buckets, strict=True)
                if window.taken >= policy.quota
            ]
            for window in () if full else windows:
                window.taken += 1
        return _longest(full)

    def close(self) -> None:
        """Do nothing."""

    def _window(self, name: str, policy: RatePolicy, now: float) -> _Window:
        window = self._windows.get(name)
        if window is None or window.ends <= now:
            self._sweep(now)
            window = self._windows[name] = _Window(now + policy.window)
        return window

    def _sweep(self, now: float) -> None:
        # Only when there are twice as many windows as the last sweep left: then its cost per request is constant.
        if len(self._windows) >= self._sweep_at:
            self._windows = {n: w for n, w in self._windows.items() if w.ends > now}
            self._sweep_at = max(1_024, 2 * len(self._windows))


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
"""Valkey runs a script atomically: no other server counts between its checks and its increments."""


class ValkeyCounters:
    """Counters of any number of servers. A call takes at most 200 ms to connect, and 200 ms for the reply."""

    waits = True

    def __init__(self, url: str) -> None:
        """`url`: valkey://, or valkeys:// with TLS; also under their older names redis:// and rediss://."""
        from valkey import Valkey
        from valkey.exceptions import ValkeyError

        client = Valkey.from_url(
            url.replace("redis", "valkey", 1) if url.startswith("redis") else url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
        self._client = client
        self._take: Script = client.register_script(_TAKE)
        self._errors = (ValkeyError, OSError)

    def take(self, buckets: Buckets) -> RateExceeded | None:
        """Count on the server. Raise Unavailable if it doesn't reply in time, or refuses."""
        names = [PREFIX + name for name, _ in buckets]
        numbers = [n for _, policy in buckets for n in (policy.quota, policy.window * 1_000)]
        try:
            reply = cast("list[int]", self._take(keys=names, args=numbers))
        except self._errors:
            raise Unavailable("The rate limit counters don't answer.") from None
        full = [
            RateExceeded(buckets[place - 1][1], max(1, ceil(left / 1_000)))
            for place, left in zip(reply[::2], reply[1::2], strict=True)
        ]
        return _longest(full)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()  # type: ignore[no-untyped-call]


def _longest(full: Sequence[RateExceeded]) -> RateExceeded | None:
    return max(full, key=lambda exceeded: exceeded.wait, default=None)


def counters_of(setting: str) -> Counters:
    """Return the counters that a setting names: `memory`, or a URL."""
    return MemoryCounters() if setting == MEMORY else ValkeyCounters(setting)
