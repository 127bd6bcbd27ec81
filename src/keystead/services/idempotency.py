"""Doing a request once: the Idempotency-Key, claimed before the work and tied to its result with it."""

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
"""A claim without a result for that long is a dead server's; the next request may take it over."""


@dataclass(frozen=True, slots=True)
class Once:
    """An Idempotency-Key as it was sent, and SHA-256 of the request it came with."""

    key: str
    fingerprint: bytes


class Run:
    """One running request: `result` is set where the same request has ended before."""

    def __init__(self, claim: rows.Claim | None = None, result: str | None = None) -> None:
        self._claim = claim
        self.result = result

    def finish(self, tx: Tx, resource_id: str) -> None:
        """Ties the result to the claim, in the transaction that makes it."""
        if self._claim is not None and not rows.finish_claim(tx, self._claim, resource_id):
            raise IdempotencyInProgress("Another request took over this Idempotency-Key.")


class Idempotency:
    """One result per workspace, caller and key, for 24 hours (draft-ietf-httpapi-idempotency-key-header-07)."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @contextmanager
    def run(self, principal: Principal, once: Once | None) -> Iterator[Run]:
        """Claims the key for the work inside. A refused request gives it free, an unknown outcome does not."""
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
            raise
        except Exception:
            self._release(claim)
            raise

    @retry_on_conflict
    def _claim(self, principal: Principal, once: Once) -> rows.Claim:
        now = self._clock.now()
        with self._database.write(principal.workspace_id, keeps_access=True) as tx:
            rows.delete_claims_before(tx, principal.workspace_id, now - KEPT)
            found = rows.find_claim(tx, principal.workspace_id, principal.id, once.key)
            if found is not None and found.fingerprint != once.fingerprint:
                raise IdempotencyMismatch
            if found is not None and found.resource_id is not None:
                return found
            if found is not None and now < found.claimed_at + ABANDONED_AFTER:
                raise IdempotencyInProgress
            claim = rows.Claim(
                principal.workspace_id,
                principal.id,
                once.key,
                once.fingerprint,
                new_id("claim", now),
                now,
            )
            rows.insert_claim(tx, claim)
            return claim

    @retry_on_conflict
    def _release(self, claim: rows.Claim) -> None:
        with self._database.write(claim.workspace_id, keeps_access=True) as tx:
            rows.delete_claim(tx, claim)
