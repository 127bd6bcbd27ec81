"""Verification: whether a token is valid, for a scope, at a time."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from keystead.domain.digest import Peppers
from keystead.domain.errors import InsufficientScope, InvalidToken, KeysteadError, RateLimited
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import from_microseconds
from keystead.domain.networks import ANYWHERE, Networks
from keystead.domain.principals import Principal
from keystead.domain.rate_limits import RateExceeded
from keystead.domain.renewals import renewal_until
from keystead.domain.scopes import Scopes
from keystead.domain.token import Token


class DenialReason(StrEnum):
    """Why a token is refused. Clients see only `invalid_token` or `insufficient_scope` (RFC 6750)."""

    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    SUSPENDED = "suspended"
    NETWORK = "network"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    RATE_LIMITED = "rate_limited"


class KeyRecord(NamedTuple):
    """The row that verification reads of a key. Times in microseconds since 1970, scopes as one text.

    `extras`: what few keys have, in one column, because each costs every verification. On lines of their own: networks,
    metadata (JSON), the end of the renewal, and the key that it replaces until its first use. None: none of them.
    """

    workspace_id: str
    description: str
    pepper_id: str
    digest: bytes
    scopes: str
    expires_at: int | None
    revoked_at: int | None
    extras: str | None
    suspended_at: int | None

    def ended(self, now: int) -> DenialReason | None:
        """Return why the key is not valid at `now` (microseconds): revoked, expired or suspended; None if it is."""
        if self.revoked_at is not None:
            return DenialReason.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return DenialReason.EXPIRED
        return None if self.suspended_at is None else DenialReason.SUSPENDED

    def __repr__(self) -> str:
        return f"<KeyRecord in {self.workspace_id}>"


class Verified(NamedTuple):
    """The token is valid; `principal` acts. `is_first_use`: of a renewed key, to be committed before it is accepted."""

    principal: Principal
    is_first_use: bool = False


class Denied(NamedTuple):
    """The token is refused. The ids are set only if the secret was right, so that the owner of the key can see it."""

    reason: DenialReason
    key_id: KeyId | None = None
    workspace_id: WorkspaceId | None = None
    exceeded: RateExceeded | None = None

    def refusal(self, required: str | None) -> KeysteadError:
        """Return the error for the client, the same for every reason that ends a token (RFC 6750 section 3.1)."""
        if self.reason is DenialReason.INSUFFICIENT_SCOPE and required is not None:
            return InsufficientScope(required)
        if self.exceeded is not None:
            return RateLimited(self.exceeded.wait, self.exceeded.detail, self.exceeded)
        return InvalidToken()


Verification = Verified | Denied

NO_EXTRAS: Final = "\n{}\n\n"
"""The extras of a key without any."""
MALFORMED = Denied(DenialReason.MALFORMED)
UNKNOWN = Denied(DenialReason.UNKNOWN)


def judge(
    token: Token,
    record: KeyRecord | None,
    required: str | None,
    now: int,
    peppers: Peppers,
    source: str | None = None,
) -> Verification:
    """Return the decision on a token.

    Args:
        token: The token, parsed.
        record: The row of its id, if there is one.
        required: The scope that the key must have; None accepts any.
        now: The time, in microseconds since 1970.
        peppers: What digests are computed with.
        source: The caller's address; None, if it isn't known for certain, is outside of all networks.
    """
    # The digest comes first: without the secret, every key looks unknown, whatever its state.
    if record is None or not peppers.match(token, record.pepper_id, record.digest):
        return UNKNOWN
    reason = record.ended(now)
    if reason is not None:
        return _denied(reason, token, record)
    verified = _verified(token.key_id, record)
    if is_outside(verified.principal, source):
        return _denied(DenialReason.NETWORK, token, record)
    if required is not None and not verified.principal.scopes.permit(required):
        return _denied(DenialReason.INSUFFICIENT_SCOPE, token, record)
    return verified


def is_outside(key: Principal, source: str | None) -> bool:
    """Return whether a caller at `source` (None: unknown) is outside of the key's networks."""
    # `is` costs less than a call, at every verification of a key that works from anywhere.
    return key.networks is not ANYWHERE and not key.networks.contains(source)


def _denied(reason: DenialReason, token: Token, record: KeyRecord) -> Denied:
    return Denied(reason, token.key_id, WorkspaceId(record.workspace_id))


@lru_cache(maxsize=16_384)
def _verified(key_id: KeyId, record: KeyRecord) -> Verified:
    # Cached by the row, so that a key which calls again isn't parsed again.
    networks, metadata, renewable_until, replaces = (record.extras or NO_EXTRAS).split("\n")
    expires_at = record.expires_at
    principal = Principal.of_key(
        key_id,
        record.description,
        record.workspace_id,
        _scopes(record.scopes),
        None if expires_at is None else from_microseconds(expires_at),
        Networks(networks) if networks else ANYWHERE,
        json.loads(metadata),
        renewal_until(int(renewable_until) if renewable_until else None),
    )
    return Verified(principal, bool(replaces))


_scopes = lru_cache(maxsize=1_024)(Scopes.parse)
"""Many keys have the same scopes. Sharing them keeps the data small enough for the processor's caches."""
