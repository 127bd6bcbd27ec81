"""Rate limits: whether a verified key may go on now, and which rate limit a key has of its own.

They keep load off; they are no authority. What a key may do and whether it lives was decided before they are asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from keystead.domain.errors import Forbidden, Invalid, NotFound, StorageError, Unavailable
from keystead.domain.events import NO_ORIGIN, EventType, Origin, Target
from keystead.domain.ids import KeyId
from keystead.domain.principals import Principal, PrincipalKind
from keystead.domain.rate_limits import (
    MAX_RATE,
    RateExceeded,
    RateLimits,
    RatePolicy,
    RateSubject,
    is_rate,
)
from keystead.domain.scopes import KEYS_READ, KEYS_WRITE
from keystead.domain.verification import DenialReason, Denied
from keystead.logger import Logger
from keystead.services.authorization import Authorization
from keystead.services.rate_counters import Asked, Counters
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.retry import anew
from keystead.storage.tables import events, keys
from keystead.storage.tables import rate_limits as rows

REMEMBERED_SECONDS: Final = 5.0
"""So long a key's rate limits are taken as they were read: a change shows that much later."""
SKIPPED_SECONDS: Final = 5.0
"""So long a counter that did not answer is not asked again: its silence costs one request in five seconds."""
CAPACITY: Final = 50_000

_log = Logger("keystead.rate_limits")


class _Held(NamedTuple):
    """What holds for a key, and until when (seconds of the clock) that is believed."""

    until: float
    asked: Asked


class RateLimiter:
    """Asked after each verification that ends well, by every door but introspection. Any number of threads."""

    def __init__(
        self,
        database: Database,
        counters: Counters,
        *,
        refuses_when_away: bool = False,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """`refuses_when_away`: what the operator chose for a time without counters: Unavailable, or let all pass."""
        self._database = database
        self._counters = counters
        self._refuses_when_away = refuses_when_away
        self._seconds = seconds
        self._held: dict[str, _Held] = {}
        self._away_until: float | None = None

    def take(self, principal: Principal) -> Denied | None:
        """Counts one request of that key; Denied where it comes too soon.

        Unavailable where nobody can count, if that was chosen. A key without rate limits is neither.
        """
        try:
            asked = self._asked(principal)
        except StorageError:
            return self._uncounted()
        if not asked:
            return None
        if self._skips():
            return self._uncounted()
        try:
            exceeded = self._counters.take(asked)
        except Unavailable:
            return self._missed()
        if self._away_until is not None:
            self._away_until = None
            _log.info("rate limits count again")
        return _denied(principal, exceeded)

    async def take_on_loop(self, principal: Principal) -> Denied | None:
        """As take, for a task of an event loop: where that would wait, it waits on a thread."""
        if self._waits(principal):
            return await asyncio.to_thread(self.take, principal)
        return self.take(principal)

    def _waits(self, principal: Principal) -> bool:
        held, now = self._held.get(principal.id), self._seconds()
        if held is None or held.until <= now:
            return True
        away_until = self._away_until
        skips = away_until is not None and now < away_until
        return bool(held.asked) and self._counters.waits and not skips

    def _skips(self) -> bool:
        """Whether the counters are left alone; when the time has come, one request tries them and the others go on."""
        away_until, now = self._away_until, self._seconds()
        if away_until is None:
            return False
        if now < away_until:
            return True
        self._away_until = now + SKIPPED_SECONDS
        return False

    def close(self) -> None:
        """Gives the counters' connections back."""
        self._counters.close()

    def _asked(self, principal: Principal) -> Asked:
        """What the request takes from; as it was when the database does not tell."""
        held = self._held.get(principal.id)
        now = self._seconds()
        if held is not None and now < held.until:
            return held.asked
        try:
            found = self._read(principal)
        except StorageError:
            if held is None:
                raise
            asked = held.asked
        else:
            asked = _asked_of(principal, found)
        if len(self._held) >= CAPACITY:
            self._held = {}
        self._held[principal.id] = _Held(now + REMEMBERED_SECONDS, asked)
        return asked

    @anew
    def _read(self, principal: Principal) -> RateLimits:
        with self._database.read(principal.workspace_id) as tx:
            return rows.rate_limits_of(tx, principal.workspace_id, KeyId(principal.id))

    def _missed(self) -> Denied | None:
        if self._away_until is None:
            _log.warning("rate limits do not count", refused=self._refuses_when_away)
        self._away_until = self._seconds() + SKIPPED_SECONDS
        return self._uncounted()

    def _uncounted(self) -> Denied | None:
        if self._refuses_when_away:
            raise Unavailable("The rate limits cannot be asked.")
        return None


class KeyRates:
    """The rate limits that keys have of their own: only who runs the installation sets them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._authorization = Authorization(database, clock)

    @anew
    def get(self, principal: Principal, key_id: KeyId) -> tuple[int | None, RateLimits]:
        """The key's own requests a minute, None where it has none; and what holds for it, with its plan's."""
        principal.require(KEYS_READ)
        with self._database.read(principal.workspace_id) as tx:
            if keys.find_key(tx, principal.workspace_id, key_id) is None:
                raise NotFound("There is no such key.")
            own = rows.find_key_rate(tx, principal.workspace_id, key_id)
            return own, rows.rate_limits_of(tx, principal.workspace_id, key_id)

    @anew
    def set(
        self,
        principal: Principal,
        key_id: KeyId,
        per_minute: int | None,
        origin: Origin = NO_ORIGIN,
    ) -> None:
        """Gives the key a rate limit instead of its plan's, lower or higher; None: the plan's holds again.

        No difference: no event. Forbidden for keys and members: it bounds them.
        """
        if principal.kind is not PrincipalKind.OPERATOR:
            raise Forbidden(KEYS_WRITE, "Only who runs the installation sets rate limits.")
        if per_minute is not None and not is_rate(per_minute):
            raise Invalid.field("/per_minute", f"must be a whole number from 1 to {MAX_RATE}")
        with self._authorization.changing(principal, origin) as (tx, _, act):
            key = keys.find_key(tx, principal.workspace_id, key_id)
            if key is None:
                raise NotFound("There is no such key.")
            if rows.find_key_rate(tx, principal.workspace_id, key_id) == per_minute:
                return
            rows.set_key_rate(tx, principal.workspace_id, key_id, per_minute)
            told = {
                "description": key.description,
                "hint": key.hint,
                "changed": ("rate_limit",),
                "per_minute": per_minute,
            }
            target = Target("key", key.id)
            events.append_event(tx, key.workspace_id, EventType.KEY_UPDATED, act, target, told)


def _asked_of(principal: Principal, limits: RateLimits) -> Asked:
    """Names that share a part in braces stay together where a Valkey is cut into slots."""
    of_workspace = f"{{{principal.workspace_id}}}"
    asked = []
    if limits.key_per_minute is not None:
        policy = RatePolicy(RateSubject.KEY, limits.key_per_minute)
        asked.append((f"{of_workspace}:{principal.id}", policy))
    if limits.workspace_per_minute is not None:
        policy = RatePolicy(RateSubject.WORKSPACE, limits.workspace_per_minute)
        asked.append((of_workspace, policy))
    return asked


def _denied(principal: Principal, exceeded: RateExceeded | None) -> Denied | None:
    if exceeded is None:
        return None
    key_id = KeyId(principal.id)
    return Denied(DenialReason.RATE_LIMITED, key_id, principal.workspace_id, exceeded)
