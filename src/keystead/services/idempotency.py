"""The Idempotency-Key: claimed before the work, and committed together with its result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from keystead.domain.errors import IdempotencyInProgress, IdempotencyMismatch, OutcomeUnknown
from keystead.domain.ids import new_id
from keystead.domain.principals import Principal
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import idempotency as rows

KEPT: Final = timedelta(hours=24)
ABANDONED_AFTER: Final = timedelta(seconds=60)
"""The age at which a claim without a result is a dead server's, and the next request may take it over."""


@dataclass(frozen=True, slots=True)
class Once:
    """An Idempotency-Key, and the SHA-256 of the request that came with it."""

    key: str
    fingerprint: bytes


class Run:
    """One running request. `result` is set if the same request has finished before."""

    def __init__(self, claim: rows.Claim | None = None, result: str | None = None) -> None:
        self._claim = claim
        self.result = result

    def finish(self, tx: Tx, resource_id: str) -> None:
        """Write the result to the claim, in the transaction that creates it."""
        # One commit for both: after a crash the claim either has its result or the work was never done.
        if self._claim is not None and not rows.finish_claim(tx, self._claim, resource_id):
            raise IdempotencyInProgress("Another request took over this Idempotency-Key.")


class Idempotency:
    """One result per workspace, caller and key, for 24 hours (draft-ietf-httpapi-idempotency-key-header-07)."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @contextmanager
    def run(self, principal: Principal, once: Once | None) -> Iterator[Run]:
        """Claim the key for the work inside, and release it if the work is refused."""
        if once is None:
            yield Run()
            return
        claim = self._claim(principal, once)
        if claim.resource_id is not None:
            yield Run(result=claim.resource_id)
            return
        try:
            yield Run(claim)
        except OutcomeUnknown:
            # The commit may have happened. Releasing the claim now would let a retry do the work twice.
            raise
        except Exception:
            self._release(claim)
            raise

    @retry_on_conflict
    def _claim(self, principal: Principal, once: Once) -> rows.Claim:
        now = self._clock.now()
        with self._database.write(principal.workspace_id, keeps_access=True) as tx:
            rows.delete_claims_before(tx, principal.workspace_id, now - KEPT)
            earlier = rows.find_claim(tx, principal.workspace_id, principal.id, once.key)
            if earlier is not None and earlier.fingerprint != once.fingerprint:
                raise IdempotencyMismatch
            if earlier is not None and earlier.resource_id is not None:
                return earlier
            if earlier is not None and now < earlier.claimed_at + ABANDONED_AFTER:
                raise IdempotencyInProgress
            claim = rows.Claim(
                principal.workspace_id,
                principal.id,
                once.key,
                once.fingerprint,
                new_id("claim", now),
                now,
            )
            # Taking over replaces the claim's id, so the slow first request can no longer finish it.
            rows.insert_claim(tx, claim)
            return claim

    @retry_on_conflict
    def _release(self, claim: rows.Claim) -> None:
        with self._database.write(claim.workspace_id, keeps_access=True) as tx:
            rows.delete_claim(tx, claim)
