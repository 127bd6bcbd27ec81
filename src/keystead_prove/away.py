"""What happens while the database is away? Live, dead and unknown keys are asked for at every server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, Protocol

from keystead_prove.calls import WHOAMI, create
from keystead_prove.connection import Line, Reply
from keystead_prove.faulty_server import Fault, flawed
from keystead_prove.finding import Finding, Planted
from keystead_prove.history import MILLISECOND
from keystead_prove.target import Site

NAME: Final = "away"
PROMISE: Final = (
    "While the database is away nobody is let in, no live key is called invalid, every request is answered 503 within"
    " two seconds; five seconds after it is back, everything is as before."
)
ANSWER_SECONDS: Final = 2.0
BACK_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 0.5
"""How long after the cut a request may still be answered from before."""
PAUSE_SECONDS: Final = 0.01
PLANTED_SECONDS: Final = 0.5
UNKNOWN: Final = "ks_0000000000000000000000_" + "0" * 43 + "000000"


class Switch(Protocol):
    """Takes the database away, and gives it back."""

    def cut(self) -> None:
        """The database is away from now on."""
        ...

    def mend(self) -> None:
        """The database is back."""
        ...


@dataclass
class Watcher(threading.Thread):
    """Asks one server for one token, and keeps every answer."""

    url: str
    token: str = field(repr=False)
    lives: bool
    halt: threading.Event = field(repr=False)
    replies: list[Reply] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        """A thread that is not begun yet."""
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Until it is told to stop."""
        with Line(self.url) as line:
            while not self.halt.is_set():
                self.replies.append(line.get(WHOAMI, self.token))
                time.sleep(PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class Absence:
    """When the database was away, in monotonic nanoseconds, and what was answered around it."""

    cut: int
    mended: int
    watchers: Sequence[Watcher]

    def during(self) -> list[tuple[Watcher, Reply]]:
        """What was asked well after the cut and answered before the mending."""
        settled = self.cut + int(SETTLE_SECONDS * 1_000) * MILLISECOND
        return [
            (watcher, reply)
            for watcher in self.watchers
            for reply in watcher.replies
            if reply.began > settled and reply.ended < self.mended
        ]

    @property
    def let_in(self) -> int:
        """How many were accepted while nobody could know."""
        return sum(reply.status == 200 for _, reply in self.during())

    @property
    def called_invalid(self) -> int:
        """How often a live key was refused, at any time."""
        return sum(
            reply.status in {401, 403}
            for watcher in self.watchers
            if watcher.lives
            for reply in watcher.replies
        )

    @property
    def dead_let_in(self) -> int:
        """How often a dead or unknown one was accepted, at any time."""
        return sum(
            reply.status == 200
            for watcher in self.watchers
            if not watcher.lives
            for reply in watcher.replies
        )

    @property
    def other(self) -> int:
        """How many were answered otherwise than 503, though not accepted."""
        return sum(
            reply.status not in {200, 503} and watcher.lives for watcher, reply in self.during()
        )

    @property
    def not_back(self) -> int:
        """At how many servers a live key was not accepted at last, or refused service when it was long back."""
        back = self.mended + int(BACK_SECONDS * 1_000) * MILLISECOND
        return sum(
            watcher.replies[-1].status != 200
            or any(reply.status != 200 for reply in watcher.replies if reply.began > back)
            for watcher in self.watchers
            if watcher.lives
        )

    @property
    def waits(self) -> list[int]:
        """How long each waited of those times, in nanoseconds: from the first on, and also who got no answer in it."""
        return [
            min(reply.ended, self.mended) - max(reply.began, self.cut)
            for watcher in self.watchers
            for reply in watcher.replies
            if reply.ended > self.cut and reply.began < self.mended
        ]

    @property
    def late(self) -> int:
        """How many waited longer than they may."""
        return sum(wait > int(ANSWER_SECONDS * 1_000) * MILLISECOND for wait in self.waits)


def run(
    site: Site, switch: Switch, seconds: float, tell: Callable[[int], None] = lambda _: None
) -> Finding:
    """Away for so long, once; and a server that lets everybody in meanwhile."""
    began = time.monotonic()
    honest = _watched(site, switch, seconds, BACK_SECONDS + 1)
    tell(1)
    with flawed(Fault.OPEN) as open_door:
        planted = _watched(open_door.site, open_door, PLANTED_SECONDS + SETTLE_SECONDS, 0.2)
    return Finding(
        experiment=NAME,
        form=f"the line to the database cut for {seconds:.0f} seconds",
        promise=PROMISE,
        trials=len(honest.during()),
        violations={
            "let in meanwhile": honest.let_in,
            "live keys called invalid": honest.called_invalid,
            "dead or unknown keys let in": honest.dead_let_in,
            "answered otherwise than 503": honest.other,
            "answered later than within two seconds": honest.late,
            "servers not back within five seconds": honest.not_back,
        },
        planted=Planted(f"a server that {Fault.OPEN}", len(planted.during()), planted.let_in),
        worst=max(honest.waits, default=0) / MILLISECOND,
        measures="the longest wait for an answer meanwhile, of 2000 that are allowed",
        seconds=time.monotonic() - began,
    )


def _watched(site: Site, switch: Switch, seconds: float, afterwards: float) -> Absence:
    halt = threading.Event()
    with ExitStack() as stack:
        line = stack.enter_context(Line(site.urls[0], site.token))
        live, dead = create(line), create(line)
        line.send("DELETE", f"/v1/keys/{dead.id}")
        watchers = [
            Watcher(url, token, lives, halt)
            for url in site.urls
            for token, lives in ((live.token, True), (dead.token, False), (UNKNOWN, False))
        ]
        for watcher in watchers:
            watcher.start()
        time.sleep(SETTLE_SECONDS)
        switch.cut()
        cut = time.monotonic_ns()
        try:
            time.sleep(seconds)
        finally:
            mended = time.monotonic_ns()
            switch.mend()
        time.sleep(afterwards)
        halt.set()
        for watcher in watchers:
            watcher.join()
    return Absence(cut, mended, watchers)
