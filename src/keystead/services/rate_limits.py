"""Rate limits: whether a verified key may go on now, and the rate limit that a key has of its own.

They keep load off and grant nothing: whether a key is active, and what it may do, is decided before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from keystead.domain.errors import Forbidden, Invalid, NotFound, StorageError, Unavailable
from keystead.domain.events import NO_ORIGIN, EventType, Origin, Target
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.principals import Principal
from keystead.domain.rate_limits import (
    MAX_RATE,
    RATE_NAMES,
    RateExceeded,
    RateLimits,
    RatePolicy,
    RateSubject,
    is_rate,
)
from keystead.domain.scopes import KEYS_READ, KEYS_WRITE
from keystead.domain.verification import DenialReason, Denied
from keystead.domain.versions import IfMatch, require_match
from keystead.logger import Logger
from keystead.services.authorization import Authorization
from keystead.services.rate_counters import Buckets, Counters
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events, keys, workspaces
from keystead.storage.tables import plans as rows

CACHE_SECONDS: Final = 5.0
"""How long the limits of a key are cached; a change takes effect that much later."""
RETRY_SECONDS: Final = 5.0
"""How long counters that failed are left alone, so that their timeout costs one request in five seconds."""
CAPACITY: Final = 50_000

_log = Logger("keystead.rate_limits")


class _CachedBuckets(NamedTuple):
    """What a key's requests count against, and until when (seconds of the clock) that is cached."""

    until: float
    buckets: Buckets


@dataclass(frozen=True, slots=True)
class OwnRates:
    """A workspace's own rate limits, those that apply with its plan's, and the workspace's version."""

    own: RateLimits
    effective: RateLimits
    version: int


class RateLimiter:
    """Counts each verified request except introspections. Any number of threads may use it."""

    def __init__(
        self,
        database: Database,
        counters: Counters,
        *,
        refuses_when_away: bool = False,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """`refuses_when_away`: while the counters are away, raise Unavailable, and don't let all requests pass."""
        self._database = database
        self._counters = counters
        self._refuses_when_away = refuses_when_away
        self._seconds = seconds
        self._cache: dict[str, _CachedBuckets] = {}
        self._away_until: float | None = None

    def take(self, principal: Principal) -> Denied | None:
        """Count one request of a key. Returns Denied if it exceeds a limit.

        Raises Unavailable while requests can't be counted, if the operator chose that.
        """
        try:
            buckets = self._buckets(principal)
        except StorageError:
            return self._uncounted()
        if not buckets:
            return None
        if self._skips():
            return self._uncounted()
        try:
            exceeded = self._counters.take(buckets)
        except Unavailable:
            return self._missed()
        if self._away_until is not None:
            self._away_until = None
            _log.info("rate limits enforced again")
        return _denied(principal, exceeded)

    async def take_on_loop(self, principal: Principal) -> Denied | None:
        """Like `take`, for a task of an event loop: on a thread if it would block."""
        if self._blocks(principal):
            return await asyncio.to_thread(self.take, principal)
        return self.take(principal)

    def _blocks(self, principal: Principal) -> bool:
        cached, now = self._cache.get(principal.id), self._seconds()
        if cached is None or cached.until <= now:
            return True
        away_until = self._away_until
        skips = away_until is not None and now < away_until
        return bool(cached.buckets) and self._counters.waits and not skips

    def _skips(self) -> bool:
        """Return whether the counters are left alone; after the pause one request tries them, and only one."""
        away_until, now = self._away_until, self._seconds()
        if away_until is None:
            return False
        if now < away_until:
            return True
        self._away_until = now + RETRY_SECONDS
        return False

    def close(self) -> None:
        """Close the counters' connections."""
        self._counters.close()

    def _buckets(self, principal: Principal) -> Buckets:
        cached = self._cache.get(principal.id)
        now = self._seconds()
        if cached is not None and now < cached.until:
            return cached.buckets
        try:
            buckets = _buckets_of(principal, self._read(principal))
        except StorageError:
            if cached is None:
                raise
            buckets = cached.buckets  # stale, but better than none while the database is away
        if len(self._cache) >= CAPACITY:
            self._cache = {}
        self._cache[principal.id] = _CachedBuckets(now + CACHE_SECONDS, buckets)
        return buckets

    @retry_on_conflict
    def _read(self, principal: Principal) -> RateLimits:
        with self._database.read_once(principal.workspace_id) as tx:
            return rows.rate_limits_of(tx, principal.workspace_id, KeyId(principal.id))

    def _missed(self) -> Denied | None:
        if self._away_until is None:
            _log.warning("rate limits not enforced", refused=self._refuses_when_away)
        self._away_until = self._seconds() + RETRY_SECONDS
        return self._uncounted()

    def _uncounted(self) -> Denied | None:
        if self._refuses_when_away:
            raise Unavailable("The rate limit counters don't answer.")
        return None


class KeyRates:
    """The rate limits of single keys. Only the operator sets them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._authorization = Authorization(database, clock)

    @retry_on_conflict
    def get(self, principal: Principal, key_id: KeyId) -> tuple[int | None, RateLimits]:
        """Return the key's own requests a minute, if it has a limit, and the limits that apply with its plan's."""
        principal.require(KEYS_READ)
        with self._database.read(principal.workspace_id) as tx:
            NotFound.unless(keys.find_key(tx, principal.workspace_id, key_id), "key")
            own_rate = rows.find_key_rate(tx, principal.workspace_id, key_id)
            return own_rate, rows.rate_limits_of(tx, principal.workspace_id, key_id)

    @retry_on_conflict
    def set(
        self,
        principal: Principal,
        key_id: KeyId,
        per_minute: int | None,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> None:
        """Replace the plan's rate limit for one key; None restores it. If nothing changes, there is no event.

        Raises Forbidden for keys and members, which it limits.
        """
        require_operator(principal)
        with self._authorization.changing(principal, origin) as (tx, act):
            key = NotFound.unless(keys.find_key(tx, principal.workspace_id, key_id), "key")
            require_match(if_match, key.version)
            check_rate(per_minute, "/per_minute")
            if rows.find_key_rate(tx, principal.workspace_id, key_id) == per_minute:
                return
            rows.set_key_rate(tx, principal.workspace_id, key_id, per_minute)
            keys.update_key(tx, replace(key, version=key.version + 1))
            data = {
                "description": key.description,
                "hint": key.hint,
                "changed": ("rate_limit",),
                "per_minute": per_minute,
            }
            target = Target("key", key.id)
            events.append_event(tx, key.workspace_id, EventType.KEY_UPDATED, act, target, data)


class WorkspaceRates:
    """The rate limits of single workspaces. Only the operator sets them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._authorization = Authorization(database, clock)

    @retry_on_conflict
    def get(self, workspace_id: WorkspaceId) -> OwnRates:
        """Return the rate limits of a workspace."""
        with self._database.read(workspace_id) as tx:
            return _rates_of(tx, workspace_id)

    @retry_on_conflict
    def set(
        self,
        principal: Principal,
        rates: RateLimits,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> OwnRates:
        """Replace the plan's rate limits for the workspace; None restores one. If nothing changes, there is no event.

        Raises Forbidden for keys and members, which they limit.
        """
        require_operator(principal)
        workspace_id = principal.workspace_id
        with self._authorization.operating(principal.actor, origin, workspace_id) as (tx, act):
            before = _rates_of(tx, workspace_id)
            require_match(if_match, before.version)
            own = {name: check_rate(rates.get(name), f"/{name}") for name in RATE_NAMES}
            if rates == before.own:
                return before
            workspaces.set_rates(tx, workspace_id, own)
            data = {"changed": ("rate_limits",), **own}
            target = Target("workspace", workspace_id)
            events.append_event(tx, workspace_id, EventType.WORKSPACE_UPDATED, act, target, data)
            return _rates_of(tx, workspace_id)


def require_operator(principal: Principal) -> None:
    """Raise Forbidden for keys and members."""
    if not principal.is_operator:
        raise Forbidden(KEYS_WRITE, "Only the operator of the installation sets rate limits.")


def check_rate(number: int | None, pointer: str) -> int | None:
    """Return `number`. Invalid unless it is a rate, or None."""
    if number is not None and not is_rate(number):
        raise Invalid.field(pointer, f"must be a whole number from 1 to {MAX_RATE}")
    return number


def _rates_of(tx: Tx, workspace_id: WorkspaceId) -> OwnRates:
    workspace = NotFound.unless(workspaces.find_workspace(tx, workspace_id), "workspace")
    plan = NotFound.unless(rows.find_plan(tx, workspace.plan_id), "plan")
    own = workspaces.rates_of(tx, workspace_id)
    return OwnRates(own, plan.rate_limits.overridden(own), workspace.version)


def _buckets_of(principal: Principal, limits: RateLimits) -> Buckets:
    # Valkey puts names with the same part in braces on one shard, and a script may use one shard only.
    of_workspace = f"{{{principal.workspace_id}}}"
    buckets = []
    if limits.key_per_minute is not None:
        policy = RatePolicy(RateSubject.KEY, limits.key_per_minute)
        buckets.append((f"{of_workspace}:{principal.id}", policy))
    if limits.workspace_per_minute is not None:
        policy = RatePolicy(RateSubject.WORKSPACE, limits.workspace_per_minute)
        buckets.append((of_workspace, policy))
    return buckets


def _denied(principal: Principal, exceeded: RateExceeded | None) -> Denied | None:
    if exceeded is None:
        return None
    key_id = KeyId(principal.id)
    return Denied(DenialReason.RATE_LIMITED, key_id, principal.workspace_id, exceeded)
