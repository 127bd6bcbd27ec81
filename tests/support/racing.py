"""Servers that race: processes over one SQLite file that verify keys while others of them revoke these keys.

Each process records for each key when it last began a verification that was accepted, and when it first learned that
the key was revoked: from its own revocation, or a refusal. On one machine all read one monotonic clock.
"""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from keystead.bootstrap import open_installation
from keystead.domain.errors import Unavailable
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.principals import operator
from keystead.domain.verification import KeyRecord, Verification, Verified
from keystead.settings import Settings
from keystead.storage.freshness.generation_file import GenerationFile
from keystead.storage.point_reads.by_id import Lookup
from keystead.storage.schema.verification_reads import KEY
from tests.support.installations import PEPPERS

Verify = Callable[[str], Verification]

SHARE = 0.003
CACHES = {"a cache of 25 ms": 25, "a cache of 1 ms": 1}
ENDERS = 2
"""How many of the processes revoke keys too, with SHARE of their acts: more would wait for one another."""


LATE_SECONDS = 0.02
"""How long after a change is acknowledged a held-up writer publishes: many verifications begin meanwhile."""


@dataclass
class Observations:
    """What one process observed, by key: nanoseconds of the monotonic clock. `reads`: rows that it read to verify."""

    accepted: dict[int, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    verifications: int = 0
    reads: int = 0

    def hot(self, keys: int) -> list[int]:
        """Return the keys in use now: the first that are not revoked, and the last that are."""
        first = next(key for key in range(keys) if key not in self.ended)
        return list(range(max(0, first - 2), min(keys, first + 6)))

    def note(self, key: int, began: int, verdict: Verification) -> None:
        """Record a verification that has just been answered."""
        self.verifications += 1
        if isinstance(verdict, Verified):
            self.accepted[key] = began
        else:
            self.ended.setdefault(key, time.monotonic_ns())


class CountingLookup:
    """The real lookup, counting its calls."""

    def __init__(self, lookup: Lookup[KeyRecord]) -> None:
        self.calls = 0
        self._lookup = lookup

    def find(self, key_id: str) -> KeyRecord | None:
        """Look up as the real one."""
        self.calls += 1
        return self._lookup.find(key_id)

    async def find_on_loop(self, key_id: str) -> KeyRecord | None:
        """Look up as the real one."""
        return self.find(key_id)


@dataclass(frozen=True)
class Race:
    """The keys of one workspace: their tokens and IDs, in order. `fault`: the seeded fault, empty for no fault."""

    url: str
    workspace_id: WorkspaceId
    tokens: Sequence[str]
    ids: Sequence[KeyId]
    fault: str = ""


def race(course: Race, processes: int) -> tuple[int, list[Observations]]:
    """Run until every key is revoked. Returns how many were accepted after their end, and the observations."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(processes), context.Queue()
    runners = [
        context.Process(target=_run, args=(course, number, start, results), daemon=True)
        for number in range(processes)
    ]
    for runner in runners:
        runner.start()
    seen = [results.get(timeout=120) for _ in runners]
    for runner in runners:
        runner.join(30)
    return sum(_is_wrong(seen, key) for key in range(len(course.ids))), seen


def _is_wrong(seen: list[Observations], key: int) -> bool:
    accepted = max(process.accepted.get(key, 0) for process in seen)
    return accepted > min(process.ended[key] for process in seen)


def _run(course: Race, number: int, start: Any, results: Any) -> None:
    installation = open_installation(Settings(database=course.url), PEPPERS)
    lookup = installation.services.verifier._lookup = CountingLookup(installation.reads.lookup(KEY))
    verify = _seeded(course.fault, installation.services.verifier.verify)
    seen, dice = Observations(), random.Random(number)
    tenant = operator("race", course.workspace_id)
    start.wait(60)
    while len(seen.ended) < len(course.ids):
        key = dice.choice(seen.hot(len(course.ids)))
        if number >= ENDERS or dice.random() >= SHARE:
            seen.note(key, time.monotonic_ns(), verify(course.tokens[key]))
            continue
        with suppress(Unavailable):
            installation.services.keys.revoke(tenant, course.ids[key])
            seen.ended.setdefault(key, time.monotonic_ns())
    seen.reads = lookup.calls
    installation.close()
    results.put(seen)


def _seeded(fault: str, verify: Verify) -> Verify:
    if fault == "no invalidation":
        setattr(GenerationFile, "invalidate", lambda _: None)  # noqa: B010
    if fault in {"no invalidation", "slow writers"}:
        setattr(GenerationFile, "publish", _late)  # noqa: B010
    return _cached(verify, CACHES[fault]) if fault in CACHES else verify


def _late(generation_file: GenerationFile) -> None:
    """Publish as the real one, but after the change is acknowledged: a writer that was held up."""
    threading.Timer(LATE_SECONDS, _publish, [generation_file]).start()


def _publish(generation_file: GenerationFile) -> None:
    with generation_file._try_lock() as locked:
        if locked:
            generation_file._publish()


def _cached(verify: Verify, milliseconds: int) -> Verify:
    entries: dict[str, tuple[int, Verification]] = {}

    def cached(text: str) -> Verification:
        now = time.monotonic_ns()
        until, verdict = entries.get(text, (0, None))
        if verdict is None or now >= until:
            verdict = verify(text)
            entries[text] = now + milliseconds * 1_000_000, verdict
        return verdict

    return cached
