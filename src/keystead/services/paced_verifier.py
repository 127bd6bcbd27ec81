"""A verifier that keeps to rate limits. Where there are none, nothing of this is on the way of a verification."""

from __future__ import annotations

from keystead.domain.digest import Peppers
from keystead.domain.verification import Denied, KeyRecord, Verification, Verified
from keystead.services.rate_limits import RateLimiter
from keystead.services.usage import Usage
from keystead.services.verification_cache import Memory
from keystead.services.verifier import Verifier
from keystead.storage.clock import Clock
from keystead.storage.point_reads.by_id import Lookup


class PacedVerifier(Verifier):
    """Rate limits come last: what is dead, or lacks the scope, is told so however often it comes, and takes nothing."""

    def __init__(
        self,
        lookup: Lookup[KeyRecord],
        peppers: Peppers,
        clock: Clock,
        usage: Usage,
        memory: Memory | None,
        rates: RateLimiter,
    ) -> None:
        super().__init__(lookup, peppers, clock, usage, memory)
        self._rates = rates

    def verify(
        self,
        text: str,
        required: str | None = None,
        *,
        address: str | None = None,
        agent: str | None = None,
    ) -> Verification:
        """As Verifier.verify, and Denied for what comes too fast."""
        verdict = super().verify(text, required, address=address, agent=agent)
        if isinstance(verdict, Denied):
            return verdict
        return self._settled(self._rates.take(verdict.principal) or verdict, address, agent)

    async def verify_on_loop(
        self,
        text: str,
        required: str | None = None,
        *,
        address: str | None = None,
        agent: str | None = None,
    ) -> Verification:
        """As Verifier.verify_on_loop, and Denied for what comes too fast."""
        verdict = await super().verify_on_loop(text, required, address=address, agent=agent)
        if isinstance(verdict, Denied):
            return verdict
        denied = await self._rates.take_on_loop(verdict.principal)
        return self._settled(denied or verdict, address, agent)

    def _note(
        self, verdict: Verification, now: int, address: str | None, agent: str | None
    ) -> None:
        """Whether a verified token was used is known when the rates were asked."""
        if isinstance(verdict, Denied):
            super()._note(verdict, now, address, agent)

    def _settled(
        self, verdict: Verified | Denied, address: str | None, agent: str | None
    ) -> Verification:
        super()._note(verdict, self._clock.microseconds(), address, agent)
        return verdict
