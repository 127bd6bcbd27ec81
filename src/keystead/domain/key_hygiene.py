"""Key hygiene: active keys that need a review, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.keys import EXPIRES_SOON, ApiKey, KeyStatus
from keystead.domain.policies import Policy, allows_end

UNUSED_AFTER: Final = timedelta(days=30)
OLD_AFTER: Final = timedelta(days=365)
RECENT_USE: Final = timedelta(days=1)
"""A key that was used this recently has code that stops when it is revoked."""


class HygieneFinding(StrEnum):
    """A reason to review a key. A key may have several."""

    NEVER_USED = "never-used"
    UNUSED = "unused"
    EXPIRING = "expiring"
    OLD = "old"
    NEVER_EXPIRES = "endless"
    OUTSIDE_POLICY = "outside-policy"


def has_finding(key: ApiKey, finding: HygieneFinding, policy: Policy, now: datetime) -> bool:
    """Return whether `finding` applies to `key` at `now`. None applies to ended or rotated keys."""
    if not key.counts(now):
        return False
    if finding is HygieneFinding.OUTSIDE_POLICY:
        return is_outside(key, policy)
    return _needs_review(key, finding, now)


def _needs_review(key: ApiKey, finding: HygieneFinding, now: datetime) -> bool:
    match finding:
        case HygieneFinding.NEVER_USED:
            return key.last_use is None and key.created_at <= now - UNUSED_AFTER
        case HygieneFinding.UNUSED:
            return key.last_use is not None and key.last_use.at <= now - UNUSED_AFTER
        case HygieneFinding.EXPIRING:
            return key.expires_at is not None and key.expires_at <= now + EXPIRES_SOON
        case HygieneFinding.OLD:
            return key.created_at <= now - OLD_AFTER
        case _:
            return key.expires_at is None


def is_outside(key: ApiKey, policy: Policy) -> bool:
    """Return whether the policy would not allow the key as it is."""
    is_renewed_against_it = key.renewal is not None and policy.renewal_allowed is False
    return is_renewed_against_it or not allows_end(policy, key.expires_at, key.created_at)


def is_in_use(key: ApiKey, now: datetime) -> bool:
    """Return whether code is likely to stop when the key is revoked: an active key, used within the last day."""
    if key.status(now) is not KeyStatus.ACTIVE or key.last_use is None:
        return False
    return key.last_use.at > now - RECENT_USE
