"""Verification: parse without I/O, one read, one decision, and a note of the use. It never writes."""

from __future__ import annotations

from keystead.domain.digest import Peppers
from keystead.domain.errors import Unavailable
from keystead.domain.token import Token, parse
from keystead.domain.verification import MALFORMED, KeyRecord, Verification, Verified, judge
from keystead.services.usage import Usage
from keystead.storage.clock import Clock
from keystead.storage.lookup import Lookup


class Verifier:
    """Tells for a token who acts. Every answer is as fresh as a read that began after the call."""

    def __init__(self, lookup: Lookup, peppers: Peppers, clock: Clock, usage: Usage) -> None:
        self._lookup = lookup
        self._peppers = peppers
        self._clock = clock
        self._usage = usage

    def verify(
        self,
        text: str,
        required: str | None = None,
        *,
        address: str | None = None,
        agent: str | None = None,
    ) -> Verification:
        """Verified or Denied. `required` None asks for a live key of any scope.

        Unavailable where the database is away, or where this server lacks the pepper of a living key: a live key is
        never called invalid, and one that has ended needs no pepper to be refused.
        """
        token = parse(text)
        if token is None:
            return MALFORMED
        return self._conclude(token, self._lookup.find(token.key_id), required, address, agent)

    async def verify_on_loop(
        self,
        text: str,
        required: str | None = None,
        *,
        address: str | None = None,
        agent: str | None = None,
    ) -> Verification:
        """As verify, for a task of an event loop: the others go on while a server reads; SQLite is read at once."""
        token = parse(text)
        if token is None:
            return MALFORMED
        record = await self._lookup.find_on_loop(token.key_id)
        return self._conclude(token, record, required, address, agent)

    def _conclude(
        self,
        token: Token,
        record: KeyRecord | None,
        required: str | None,
        address: str | None,
        agent: str | None,
    ) -> Verification:
        now = self._clock.microseconds()
        if record is not None and record.pepper_id not in self._peppers and not record.ended(now):
            raise Unavailable("This server lacks a pepper that keys were made with.")
        verdict = judge(token, record, required, now, self._peppers)
        if isinstance(verdict, Verified):
            self._usage.note(verdict.principal, now, address, agent)
        else:
            self._usage.note_refusal(verdict, now, address, agent)
        return verdict
