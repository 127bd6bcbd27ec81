"""Verification of keys and credentials, and introspection: the cache, else parse without I/O and read one row.

Verification never writes: the use is noted in memory. The one exception is the first use of a renewed key, which ends
the key before it. Only the read differs between a thread and an event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from keystead.domain.credentials import (
    ActingCredential,
    CredentialKind,
    CredentialRecord,
    credential_id,
    kind_of,
)
from keystead.domain.digest import Peppers
from keystead.domain.errors import InvalidToken, Unavailable
from keystead.domain.ids import CredentialId, KeyId
from keystead.domain.networks import Networks
from keystead.domain.principals import Principal
from keystead.domain.scopes import Scopes
from keystead.domain.token import Token, parse
from keystead.domain.verification import (
    MALFORMED,
    UNKNOWN,
    DenialReason,
    Denied,
    KeyRecord,
    Verification,
    Verified,
    is_outside,
    judge,
)
from keystead.services.first_uses import FirstUses
from keystead.services.rate_limits import RateLimiter
from keystead.services.usage import Usage
from keystead.services.verification_cache import VerificationCache
from keystead.storage.clock import Clock
from keystead.storage.point_reads.by_id import Lookup
from keystead.storage.schema.verification_reads import KeyDetails

CachedKey = tuple[Verified, Denied, Scopes, Networks | None]
"""The two verdicts on an active key, with the required scope and without it; its scopes; its networks, if any."""
KeyCache = VerificationCache[CachedKey]
CredentialCache = VerificationCache[ActingCredential]
OnVerdict = Callable[[str], None]
"""Called with `verified`, `unavailable`, or the reason of a denial."""


class Verifier:
    """Verification of API keys. Every verdict is as fresh as a read that began after the call."""

    def __init__(
        self,
        lookup: Lookup[KeyRecord],
        peppers: Peppers,
        clock: Clock,
        usage: Usage,
        first_uses: FirstUses,
        cache: KeyCache | None = None,
        *,
        rates: RateLimiter | None = None,
        on_verdict: OnVerdict | None = None,
    ) -> None:
        """Omit `cache` to read the row at every verification, and `rates` to have no rate limits."""
        self._lookup = lookup
        self._peppers = peppers
        self._clock = clock
        self._usage = usage
        self._first_uses = first_uses
        self._cache = cache
        self._rates = rates
        self._on_verdict = on_verdict

    def verify(
        self,
        text: str,
        required: str | None = None,
        *,
        address: str | None = None,
        agent: str | None = None,
        source: str | None = None,
    ) -> Verification:
        """Verify a token.

        Args:
            text: What was sent as a token.
            required: The scope that the key must have; None asks for an active key of any scope.
            address: The caller's address, as its use is recorded.
            agent: The caller's User-Agent, as its use is recorded.
            source: The address that the key's networks must contain; None if it isn't known for certain.

        Raises:
            Unavailable: The database doesn't answer, or this server lacks the pepper of an active key.
        """
        try:
            now = 0 if self._cache is None else self._clock.microseconds()
            verdict = self._recall(text, required, source, now)
            was_read = verdict is None
            if verdict is None:
                verdict, now = self._decide(text, required, source)
            # Rate limits come last: a revoked key, or a missing scope, is reported as such however often it comes.
            if self._rates is not None and isinstance(verdict, Verified):
                verdict = self._rates.take(verdict.principal) or verdict
                now = self._clock.microseconds()
            if was_read and isinstance(verdict, Verified) and verdict.is_first_use:
                self._first_uses.commit(verdict.principal, KeyId(verdict.principal.id))
                verdict, now = self._decide(text, required, source)
                _require_committed(verdict)
        except BaseException:
            self._report_failure()
            raise
        return self._note(verdict, now, address, agent)

    async def verify_on_loop(
        self,
        text: str,
        required: str | None = None,
        *,
        address: str | None = None,
        agent: str | None = None,
        source: str | None = None,
    ) -> Verification:
        """Like `verify`, for a task of an event loop. With a cache the read runs inline: SQLite's is that fast."""
        try:
            now = 0 if self._cache is None else self._clock.microseconds()
            verdict = self._recall(text, required, source, now)
            was_read = verdict is None
            if verdict is None:
                verdict, now = await self._decide_on_loop(text, required, source)
            if self._rates is not None and isinstance(verdict, Verified):
                verdict = await self._rates.take_on_loop(verdict.principal) or verdict
                now = self._clock.microseconds()
            if was_read and isinstance(verdict, Verified) and verdict.is_first_use:
                await self._first_uses.commit_on_loop(verdict.principal)
                verdict, now = await self._decide_on_loop(text, required, source)
                _require_committed(verdict)
        except BaseException:
            self._report_failure()
            raise
        return self._note(verdict, now, address, agent)

    def _recall(
        self, text: str, required: str | None, source: str | None, now: int
    ) -> Verification | None:
        cached = None if self._cache is None else self._cache.get(text, now)
        if cached is None:
            return None
        verified, too_narrow, scopes, networks = cached
        # An entry says nothing about where this request comes from.
        if networks is not None and not networks.contains(source):
            return _outside(verified.principal)
        return verified if required is None or scopes.permit(required) else too_narrow

    def _decide(
        self, text: str, required: str | None, source: str | None
    ) -> tuple[Verification, int]:
        token = parse(text)
        if token is None:
            return MALFORMED, 0
        # The generation before the row, never after it: see there.
        generation = 0 if self._cache is None else self._cache.generation()
        return self._judge(token, self._lookup.find(token.key_id), generation, required, source)

    async def _decide_on_loop(
        self, text: str, required: str | None, source: str | None
    ) -> tuple[Verification, int]:
        if self._cache is not None:
            return self._decide(text, required, source)
        token = parse(text)
        if token is None:
            return MALFORMED, 0
        record = await self._lookup.find_on_loop(token.key_id)
        return self._judge(token, record, 0, required, source)

    def _judge(
        self,
        token: Token,
        record: KeyRecord | None,
        generation: int,
        required: str | None,
        source: str | None,
    ) -> tuple[Verification, int]:
        if record is None:
            return UNKNOWN, 0
        now = self._clock.microseconds()
        verdict = judge(token, record, required, now, self._peppers, source)
        if verdict is UNKNOWN and not record.ended(now):
            require_pepper(self._peppers, record.pepper_id)
        if (
            self._cache is not None
            and isinstance(verdict, Verified)
            and not verdict.is_first_use  # each request asks for itself until it is committed
        ):
            key = verdict.principal
            too_narrow = Denied(DenialReason.INSUFFICIENT_SCOPE, KeyId(key.id), key.workspace_id)
            entry = verdict, too_narrow, key.scopes, key.networks or None
            self._cache.put(token.reveal(), generation, entry, now, key.expires_at)
        return verdict, now

    def _note(
        self, verdict: Verification, now: int, address: str | None, agent: str | None
    ) -> Verification:
        if isinstance(verdict, Verified):
            self._usage.note(verdict.principal, now, address, agent)
        else:
            self._usage.note_refusal(verdict, now, address, agent)
        if self._on_verdict is not None:
            self._on_verdict(verdict.reason if isinstance(verdict, Denied) else "verified")
        return verdict

    def verify_recalled(self, principal: Principal, now: int, address: str | None) -> Verification:
        """Verify at `now` a key from a cache in front of this verifier: only its networks are compared."""
        outside = is_outside(principal, address)
        verdict = _outside(principal) if outside else Verified(principal)
        return self._note(verdict, now, address, None)

    def _report_failure(self) -> None:
        if self._on_verdict is not None:
            self._on_verdict("unavailable")


def _outside(key: Principal) -> Denied:
    return Denied(DenialReason.NETWORK, KeyId(key.id), key.workspace_id)


def _require_committed(verdict: Verification) -> None:
    """Raise Unavailable if the use of a renewed key, just committed, can't be read: from a replica that lags, say."""
    if isinstance(verdict, Verified) and verdict.is_first_use:
        raise Unavailable("The key's first use is not visible yet.")


class CredentialVerifier:
    """Verification of the credentials of the product's services, as fresh as a key's."""

    def __init__(
        self,
        lookup: Lookup[CredentialRecord],
        peppers: Peppers,
        clock: Clock,
        cache: CredentialCache | None = None,
    ) -> None:
        """Omit `cache` to read the row at every verification."""
        self._lookup = lookup
        self._peppers = peppers
        self._clock = clock
        self._cache = cache

    async def verify(self, text: str, *kinds: CredentialKind) -> ActingCredential:
        """Return the credential of that token, if it is of one of these kinds; without any, an operator's.

        Raises:
            InvalidToken: It is any other text, or the credential was revoked.
            Unavailable: The database doesn't answer, or this server lacks the pepper of an active credential.
        """
        wanted, cache = kinds or (CredentialKind.OPERATOR,), self._cache
        if cache is None:
            return await self._read(text, wanted)
        now = self._clock.microseconds()
        credential = cache.get(text, now)
        if credential is None:
            generation = cache.generation()
            credential = await self._read(text, wanted)
            cache.put(text, generation, credential, now)
        elif credential.kind not in wanted:
            raise InvalidToken
        return credential

    async def _read(self, text: str, wanted: tuple[CredentialKind, ...]) -> ActingCredential:
        token = parse(text)
        kind = None if token is None else kind_of(token)
        if token is None or kind is None or kind not in wanted:
            raise InvalidToken
        record = await self._lookup.find_on_loop(credential_id(token, kind))
        if record is None or not self._is_active(token, record):
            raise InvalidToken
        return ActingCredential(CredentialId(record.id), kind, record.name)

    def _is_active(self, token: Token, record: CredentialRecord) -> bool:
        """Compare the digest first: a stranger who knows a credential's id learns nothing about it."""
        is_revoked = record.revoked_at is not None
        if self._peppers.match(token, record.pepper_id, record.digest):
            return not is_revoked
        if not is_revoked:
            require_pepper(self._peppers, record.pepper_id)
        return False


class ActiveToken(NamedTuple):
    """An active key: its principal, and the details that introspection adds."""

    principal: Principal
    details: KeyDetails


IntrospectionCache = VerificationCache[ActiveToken]


class Introspection:
    """Introspection of keys (RFC 7662): a verification without rate limits. Credentials are inactive here."""

    def __init__(
        self,
        verifier: Verifier,
        details: Lookup[KeyDetails],
        clock: Clock,
        cache: IntrospectionCache | None = None,
    ) -> None:
        """Omit `cache` to read the rows at every introspection. `verifier` has no cache of its own."""
        self._verifier = verifier
        self._details = details
        self._clock = clock
        self._cache = cache

    async def introspect(self, text: str, address: str | None = None) -> ActiveToken | None:
        """Return the key of that token, or None if it isn't active for a caller at `address` (None: unknown).

        It counts as a use from that address, without an agent.
        """
        cache = self._cache
        if cache is None:
            return await self._read(text, address)
        now = self._clock.microseconds()
        active = cache.get(text, now)
        if active is not None:
            verdict = self._verifier.verify_recalled(active.principal, now, address)
            return None if isinstance(verdict, Denied) else active
        # The generation before the rows, as for a verification.
        generation = cache.generation()
        active = await self._read(text, address)
        if active is not None:
            cache.put(text, generation, active, now, active.principal.expires_at)
        return active

    async def _read(self, text: str, address: str | None) -> ActiveToken | None:
        verdict = await self._verifier.verify_on_loop(text, address=address, source=address)
        if isinstance(verdict, Denied):
            return None
        details = await self._details.find_on_loop(verdict.principal.id)
        return None if details is None else ActiveToken(verdict.principal, details)


def require_pepper(peppers: Peppers, pepper_id: str) -> None:
    """Raise Unavailable if this server lacks a pepper. Call it before refusing the token of an active record.

    Without the pepper no digest can match, so the refusal would call a good token invalid. A record that has ended is
    refused with or without it.
    """
    if pepper_id not in peppers:
        raise Unavailable("This server lacks a pepper that tokens were created with.")
