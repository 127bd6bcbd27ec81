"""The check of a credential that calls: what this process remembers, else parse without I/O and one read."""

from __future__ import annotations

from keystead.domain.credentials import (
    ActingCredential,
    CredentialKind,
    CredentialRecord,
    credential_id,
    kind_of,
)
from keystead.domain.digest import Peppers
from keystead.domain.errors import InvalidToken, Unavailable
from keystead.domain.ids import CredentialId
from keystead.domain.token import Token, parse
from keystead.services.credential_memory import CredentialMemory
from keystead.storage.clock import Clock
from keystead.storage.point_reads.by_id import Lookup


class CredentialVerifier:
    """Tells for a token which credential calls. Every answer is as fresh as a read that began after the call."""

    def __init__(
        self,
        lookup: Lookup[CredentialRecord],
        peppers: Peppers,
        clock: Clock,
        memory: CredentialMemory | None = None,
    ) -> None:
        """Without a memory every check reads its row."""
        self._lookup = lookup
        self._peppers = peppers
        self._clock = clock
        self._memory = memory

    async def verify(self, text: str, *kinds: CredentialKind) -> ActingCredential:
        """The credential that `text` is the token of, of one of these kinds; an operator's where none is named.

        InvalidToken for whatever else it is. Unavailable where the database is away, or where this server lacks the
        pepper of a living one: none that lives is called invalid.
        """
        memory = self._memory
        if memory is None:
            return await self._checked(text, kinds)
        now = self._clock.microseconds()
        known = memory.recall(text, now)
        if known is None:
            word = memory.word()
            known = await self._checked(text, kinds)
            memory.keep(text, word, known, now)
        elif known.kind not in _wanted(kinds):
            raise InvalidToken
        return known

    async def _checked(self, text: str, kinds: tuple[CredentialKind, ...]) -> ActingCredential:
        token = parse(text)
        kind = None if token is None else kind_of(token)
        if token is None or kind is None or kind not in _wanted(kinds):
            raise InvalidToken
        record = await self._lookup.find_on_loop(credential_id(token, kind))
        if record is None or not self._stands(token, record):
            raise InvalidToken
        return ActingCredential(CredentialId(record.id), kind, record.name)

    def _stands(self, token: Token, record: CredentialRecord) -> bool:
        """The digest first, so that a stranger learns nothing of a credential whose id they know."""
        ended = record.revoked_at is not None
        if record.pepper_id not in self._peppers and not ended:
            raise Unavailable("This server lacks a pepper that credentials were made with.")
        return self._peppers.match(token, record.pepper_id, record.digest) and not ended


def _wanted(kinds: tuple[CredentialKind, ...]) -> tuple[CredentialKind, ...]:
    return kinds or (CredentialKind.OPERATOR,)
