"""Rotations and renewals: a successor with the attributes of a key, and what happens to the old key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from keystead.domain.errors import Invalid, NotRenewable, RateLimited, RotationInProgress
from keystead.domain.keys import (
    MAX_EXPIRY,
    UNSET,
    ApiKey,
    KeyGrant,
    Unset,
    check_expiry,
    earlier,
    has_passed,
    outlives,
    require_changeable,
    require_recent_authentication,
    require_renewal,
    require_within,
)
from keystead.domain.policies import Policy, named_end, omitted_end, renewed_end
from keystead.domain.principals import Principal

MAX_OVERLAP: Final = timedelta(seconds=604_800)
MIN_QUIET: Final = timedelta(seconds=3_600)
QUIET_MARGIN: Final = timedelta(minutes=1)
"""Uses are written some seconds after they happened: a key is silent only if it was silent for this much longer."""
RENEWALS: Final = 10
RENEWAL_WINDOW: Final = timedelta(hours=1)
"""A family of keys renews itself at most RENEWALS times in any such time."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A planned rotation: the successor's attributes, and what happens to the old key.

    `quiet`: the old key ends earlier, once its successor was used and it was silent for so long itself.
    """

    successor: KeyGrant
    revoke_now: bool
    old_expires_at: datetime | None
    quiet: timedelta | None = None


def plan_rotation(
    key: ApiKey,
    overlap: timedelta,
    expires_at: datetime | None | Unset,
    principal: Principal,
    policy: Policy,
    now: datetime,
    quiet: timedelta | None = None,
) -> Rotation:
    """Return the plan of a rotation. By default the successor gets the old key's lifetime, counted from now.

    The caller's expiry and the policy shorten that; an expiry that was named is refused beyond them.
    Both keys expire at whole seconds, as all keys do.
    """
    if not timedelta() <= overlap <= MAX_OVERLAP:
        raise Invalid.field("/overlap_seconds", f"must be 0-{MAX_OVERLAP // timedelta(seconds=1)}")
    if quiet is not None and not MIN_QUIET <= quiet < overlap:
        least = MIN_QUIET // timedelta(seconds=1)
        raise Invalid.field(
            "/end_when_quiet_seconds", f"must be at least {least}, and less than the overlap"
        )
    require_changeable(key, now)
    if key.rotated_to is not None:
        raise RotationInProgress("The key was rotated already; rotate its successor.")
    end = (
        omitted_end(policy, now, _same_lifetime(key, now), principal.expires_at)
        if expires_at is UNSET
        else check_expiry(expires_at, now)
    )
    successor = _succeeding(key, end)
    require_within(principal, successor)
    require_renewal(principal, successor.renewal, now)
    require_recent_authentication(principal, key.scopes, now)
    named_end(policy, end, now)
    if not overlap:
        return Rotation(successor, True, key.expires_at)
    return Rotation(successor, False, end_after(key, overlap, now), quiet)


def end_after(key: ApiKey, overlap: timedelta, now: datetime) -> datetime:
    """Return when a key ends whose overlap begins now: never later than by its own expiry."""
    return earlier(key.expires_at, now + overlap).replace(microsecond=0)


def plan_renewal(key: ApiKey, policy: Policy, now: datetime) -> KeyGrant:
    """Return the attributes of the successor that a key makes of itself: the same lifetime, as far as it may.

    Raises:
        NotRenewable: The key has no such permission, or its successor would not outlive it.
        AgainstPolicy: The key never expires, an expiry is required, and nothing gives one.
    """
    if key.renewal is None or policy.renewal_allowed is False:
        raise NotRenewable("This key is not allowed to renew itself; rotate it instead.")
    if has_passed(key.renewal.until, now):
        raise NotRenewable("This key may not renew itself any longer; create a new key.")
    end = renewed_end(policy, now, _same_lifetime(key, now), key.renewal.until)
    # A key that never expires is outlived by nothing; only a policy may end its successor.
    lasts = policy.expiry_required or end is None
    if not (lasts if key.expires_at is None else outlives(end, key.expires_at)):
        raise NotRenewable("The successor would not outlive this key; create a new key.")
    return _succeeding(key, end)


def require_slow(renewed_at: Sequence[datetime], now: datetime) -> None:
    """Raise RateLimited if a family was renewed too often. `renewed_at`: its latest RENEWALS renewals, newest first."""
    if len(renewed_at) < RENEWALS or renewed_at[-1] <= now - RENEWAL_WINDOW:
        return
    seconds = ceil((renewed_at[-1] + RENEWAL_WINDOW - now).total_seconds())
    raise RateLimited(
        seconds, f"A key can be renewed {RENEWALS} times an hour: wait {seconds} seconds."
    )


def _succeeding(key: ApiKey, end: datetime | None) -> KeyGrant:
    return KeyGrant(
        key.description,
        end,
        key.scopes,
        key.networks,
        key.metadata,
        key.renewal,
        key.stored_in,
    )


def _same_lifetime(key: ApiKey, now: datetime) -> datetime | None:
    if key.expires_at is None:
        return None
    try:
        return (now + (key.expires_at - key.created_at)).replace(microsecond=0)
    except OverflowError:
        return MAX_EXPIRY
