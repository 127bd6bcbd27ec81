"""What happens while the database is unavailable? Live, revoked and unknown keys are verified at every server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, Protocol

from keystead_prove.race.history import MILLISECOND
from keystead_prove.report import Finding, SeededFault
from keystead_prove.servers.calls import WHOAMI, create
from keystead_prove.servers.connection import Connection, Reply
from keystead_prove.servers.endpoints import Target
from keystead_prove.servers.faulty_server import Fault, faulty_server

NAME: Final = "away"
PROMISE: Final = (
    "While the database is unavailable, no key is accepted or called invalid, and every response is 503 within two"
    " seconds. Five seconds after it is back, everything works as before."
)
ANSWER_SECONDS: Final = 2.0
BACK_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 0.5
"""How long after the cut a request may still be accepted."""
PAUSE_SECONDS: Final = 0.01
SEEDED_SECONDS: Final = 0.5
UNKNOWN: Final = "ks_0000000000000000000000_" + "0" * 43 + "000000"


class DatabaseSwitch(Protocol):
    """Disconnects the database, and connects it again."""

    def cut(self) -> None:
        """Disconnect the database."""
        ...

    def restore(self) -> None:
        """Connect the database again."""
        ...


@dataclass
class Watcher(threading.Thread):
    """Verifies one token at one server, and keeps every response."""

    url: str
    token: str = field(repr=False)
    lives: bool
    halt: threading.Event = field(repr=False)
    replies: list[Reply] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        """Initialize the thread."""
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Verify until stopped."""
        with Connection(self.url) as connection:
            while not self.halt.is_set():
                self.replies.append(connection.get(WHOAMI, self.token))
                time.sleep(PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class Outage:
    """The time without a database, in monotonic nanoseconds, and the responses around it."""

    cut: int
    restored: int
    watchers: Sequence[Watcher]

    def during(self) -> list[tuple[Watcher, Reply]]:
        """Return the responses to requests that began well after the cut and ended before the reconnection."""
        settled = self.cut + int(SETTLE_SECONDS * 1_000) * MILLISECOND
        return [
            (watcher, reply)
            for watcher in self.watchers
            for reply in watcher.replies
            if reply.began > settled and reply.ended < self.restored
        ]

    @property
    def accepted(self) -> int:
        """Return how many requests were accepted while no server could verify."""
        return sum(reply.status == 200 for _, reply in self.during())

    @property
    def called_invalid(self) -> int:
        """Return how often a live key was refused, at any time."""
        return sum(
            reply.status in {401, 403}
            for watcher in self.watchers
            if watcher.lives
            for reply in watcher.replies
        )

    @property
    def revoked_accepted(self) -> int:
        """Return how often a revoked or unknown key was accepted, at any time."""
        return sum(
            reply.status == 200
            for watcher in self.watchers
            if not watcher.lives
            for reply in watcher.replies
        )

    @property
    def other(self) -> int:
        """Return how many requests for a live key were answered with something other than 503."""
        return sum(
            reply.status not in {200, 503} and watcher.lives for watcher, reply in self.during()
        )

    @property
    def not_back(self) -> int:
        """Return at how many servers a live key was not accepted in the end, or too late after the reconnection."""
        back = self.restored + int(BACK_SECONDS * 1_000) * MILLISECOND
        return sum(
            watcher.replies[-1].status != 200
            or any(reply.status != 200 for reply in watcher.replies if reply.began > back)
            for watcher in self.watchers
            if watcher.lives
        )

    @property
    def waits(self) -> list[int]:
        """Return for each request, in nanoseconds, how much of its waiting falls into the time without a database."""
        return [
            min(reply.ended, self.restored) - max(reply.began, self.cut)
            for watcher in self.watchers
            for reply in watcher.replies
            if reply.ended > self.cut and reply.began < self.restored
        ]

    @property
    def late(self) -> int:
        """Return how many requests waited too long."""
        return sum(wait > int(ANSWER_SECONDS * 1_000) * MILLISECOND for wait in self.waits)


def run(
    target: Target,
    switch: DatabaseSwitch,
    seconds: float,
    on_step: Callable[[int], None] = lambda _: None,
) -> Finding:
    """Disconnect the database once for that long; then do the same with a server that lets everyone in meanwhile."""
    began = time.monotonic()
    actual = _watched(target, switch, seconds, BACK_SECONDS + 1)
    on_step(1)
    with faulty_server(Fault.OPEN) as server:
        seeded = _watched(server.target, server, SEEDED_SECONDS + SETTLE_SECONDS, 0.2)
    return Finding(
        experiment=NAME,
        form=f"the database disconnected for {seconds:.0f} seconds",
        promise=PROMISE,
        trials=len(actual.during()),
        violations={
            "accepted meanwhile": actual.accepted,
            "live keys called invalid": actual.called_invalid,
            "revoked or unknown keys accepted": actual.revoked_accepted,
            "other responses than 503": actual.other,
            "responses after more than two seconds": actual.late,
            "servers not back within five seconds": actual.not_back,
        },
        seeded=SeededFault(f"a server that {Fault.OPEN}", len(seeded.during()), seeded.accepted),
        worst=max(actual.waits, default=0) / MILLISECOND,
        measures="the longest wait for a response meanwhile, of 2000 that are allowed",
        seconds=time.monotonic() - began,
    )


def _watched(target: Target, switch: DatabaseSwitch, seconds: float, afterwards: float) -> Outage:
    halt = threading.Event()
    with ExitStack() as stack:
        connection = stack.enter_context(Connection(target.urls[0], target.token))
        live, revoked = create(connection), create(connection)
        connection.send("DELETE", f"/v1/keys/{revoked.id}")
        watchers = [
            Watcher(url, token, lives, halt)
            for url in target.urls
            for token, lives in ((live.token, True), (revoked.token, False), (UNKNOWN, False))
        ]
        for watcher in watchers:
            watcher.start()
        time.sleep(SETTLE_SECONDS)
        switch.cut()
        cut = time.monotonic_ns()
        try:
            time.sleep(seconds)
        finally:
            restored = time.monotonic_ns()
            switch.restore()
        time.sleep(afterwards)
        halt.set()
        for watcher in watchers:
            watcher.join()
    return Outage(cut, restored, watchers)
