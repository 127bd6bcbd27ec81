"""Conditions on keys: their status, their hygiene findings, and what a search matches; and the values of these."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    type_coerce,
)

from keystead.domain.key_hygiene import OLD_AFTER, UNUSED_AFTER, HygieneFinding
from keystead.domain.keys import EXPIRES_SOON, KeyStatus, fold_for_search
from keystead.domain.policies import Policy
from keystead.storage.schema.columns import escape_like
from keystead.storage.schema.tables import api_keys, key_use

_KEYS: Final = api_keys.c
_TRUE: Final[ColumnElement[int]] = literal_column("1")
_NO_MAXIMUM: Final = 2**62
"""Longer than every lifetime, in microseconds."""
_IS_ACTIVE: Final = and_(
    _KEYS.revoked_at.is_(None), or_(_KEYS.expires_at.is_(None), _KEYS.expires_at > bindparam("now"))
)
COUNTS: Final = and_(_IS_ACTIVE, _KEYS.rotated_to.is_(None))
"""The condition that `ApiKey.counts` checks."""
HAS_STATUS: Final = {
    KeyStatus.ACTIVE: _IS_ACTIVE,
    KeyStatus.EXPIRED: and_(_KEYS.revoked_at.is_(None), _KEYS.expires_at <= bindparam("now")),
    KeyStatus.REVOKED: _KEYS.revoked_at.is_not(None),
}
_LIFETIME: Final = type_coerce(_KEYS.expires_at, BigInteger) - type_coerce(
    _KEYS.created_at, BigInteger
)
IS_OUTSIDE: Final = or_(
    and_(_KEYS.expires_at.is_(None), bindparam("expiry_required", type_=Integer) == _TRUE),
    bindparam("longest", type_=BigInteger) < _LIFETIME,
    and_(
        _KEYS.renewable_until.is_not(None), bindparam("renewal_forbidden", type_=Integer) == _TRUE
    ),
)
"""The condition of `domain.key_hygiene.is_outside`, with `values_of_policy`."""
HAS_FINDING: Final = {
    HygieneFinding.NEVER_USED: and_(
        key_use.c.last_used_at.is_(None), _KEYS.created_at <= bindparam("unused_since")
    ),
    HygieneFinding.UNUSED: key_use.c.last_used_at <= bindparam("unused_since"),
    HygieneFinding.EXPIRING: _KEYS.expires_at <= bindparam("soon"),
    HygieneFinding.OLD: _KEYS.created_at <= bindparam("old_since"),
    HygieneFinding.NEVER_EXPIRES: _KEYS.expires_at.is_(None),
    HygieneFinding.OUTSIDE_POLICY: IS_OUTSIDE,
}
"""The conditions of `domain.key_hygiene.has_finding`, for a counted key with its row of `key_use`."""
MATCHES: Final = or_(
    _KEYS.folded_description.contains(bindparam("folded"), escape="/"),
    _KEYS.id == bindparam("query"),
    func.substr(_KEYS.hint, func.length(_KEYS.hint) - 3) == bindparam("query"),
)
"""A part of the description in any case, the exact id, or the token's last four characters."""


def values_at(now: datetime) -> dict[str, datetime]:
    """Return the values of the conditions on status and hygiene."""
    return {
        "now": now,
        "unused_since": now - UNUSED_AFTER,
        "old_since": now - OLD_AFTER,
        "soon": now + EXPIRES_SOON,
    }


def values_of_policy(policy: Policy) -> dict[str, int]:
    """Return the values of the condition `IS_OUTSIDE`."""
    days = policy.max_lifetime_days
    longest = _NO_MAXIMUM if days is None else timedelta(days=days) // timedelta(microseconds=1)
    return {
        "longest": longest,
        "expiry_required": int(bool(policy.expiry_required)),
        "renewal_forbidden": int(policy.renewal_allowed is False),
    }


def values_of(query: str) -> dict[str, str]:
    """Return the values of the condition `MATCHES`."""
    return {"query": query, "folded": escape_like(fold_for_search(query))}
