"""Verification: what this process remembers, else parse without I/O and one read; one decision, and a note of the use.

It never writes. Reading is the only step that differs between a thread and an event loop.
"""

from __future__ import annotations

from keystead.domain.digest import Peppers
from keystead.domain.errors import Unavailable
from keystead.domain.token import Token, parse
from keystead.domain.verification import (
    MALFORMED,
    UNKNOWN,
    KeyRecord,
    Verification,
    Verified,
    judge,
)
from keystead.services.usage import Usage
from keystead.services.verification_cache import Memory
from keystead.storage.clock import Clock
from keystead.storage.freshness.generation_file import INVALID
from keystead.storage.point_reads.by_id import Lookup


class Verifier:
    """Tells for a token who acts. Every answer is as fresh as a read that began after the call."""

    def __init__(
        self,
        lookup: Lookup[KeyRecord],
        peppers: Peppers,
        clock: Clock,
        usage: Usage,
        memory: Memory | None = None,
    ) -> None:
        """Without a memory every verification reads its row."""
        self._lookup = lookup
        self._peppers = peppers
        self._clock = clock
        self._usage = usage
        self._memory = memory

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
        memory = self._memory
        if memory is not None:
            now = self._clock.microseconds()
            verdict = memory.recall(text, required, now)
            if verdict is not None:
                self._note(verdict, now, address, agent)
                return verdict
        token = parse(text)
        if token is None:
            return MALFORMED
        word = INVALID if memory is None else memory.word()
        record = self._lookup.find(token.key_id)
        return self._conclude(token, record, word, required, address, agent)

    async def verify_on_loop(
        self,
        text: str,
        required: str | None = None,
        *,
        address: str | None = None,
        agent: str | None = None,
    ) -> Verification:
        """As verify, for a task of an event loop: the others go on while a server reads; SQLite is read at once."""
        if self._memory is not None:
            return Verifier.verify(self, text, required, address=address, agent=agent)
        token = parse(text)
        if token is None:
            return MALFORMED
        record = await self._lookup.find_on_loop(token.key_id)
        return self._conclude(token, record, INVALID, required, address, agent)

    def _conclude(
        self,
        token: Token,
        record: KeyRecord | None,
        word: int,
        required: str | None,
        address: str | None,
        agent: str | None,
    ) -> Verification:
        if record is None:
            return UNKNOWN
        now = self._clock.microseconds()
        verdict = judge(token, record, required, now, self._peppers)
        if verdict is UNKNOWN and record.pepper_id not in self._peppers and not record.ended(now):
            raise Unavailable("This server lacks a pepper that keys were made with.")
        if self._memory is not None:
            self._memory.keep(token, word, verdict, now)
        self._note(verdict, now, address, agent)
        return verdict

    def _note(
        self, verdict: Verification, now: int, address: str | None, agent: str | None
    ) -> None:
        if isinstance(verdict, Verified):
            self._usage.note(verdict.principal, now, address, agent)
        else:
            self._usage.note_refusal(verdict, now, address, agent)
