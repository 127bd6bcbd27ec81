"""Rotations: a successor with the attributes of a key, and what happens to the old key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystead.domain.errors import Invalid, RotationInProgress
from keystead.domain.keys import (
    MAX_EXPIRY,
    UNSET,
    ApiKey,
    KeyGrant,
    Unset,
    check_expiry,
    earlier,
    require_changeable,
    require_recent_authentication,
    require_renewal,
    require_within,
)
from keystead.domain.policies import Policy, named_end, omitted_end
from keystead.domain.principals import Principal

MAX_OVERLAP: Final = timedelta(seconds=604_800)


@dataclass(frozen=True, slots=True)
class Rotation:
    """A planned rotation: the successor's attributes, and what happens to the old key."""

    successor: KeyGrant
    revoke_now: bool
    old_expires_at: datetime | None


def plan_rotation(
    key: ApiKey,
    overlap: timedelta,
    expires_at: datetime | None | Unset,
    principal: Principal,
    policy: Policy,
    now: datetime,
) -> Rotation:
    """Return the plan of a rotation. By default the successor gets the old key's lifetime, counted from now.

    The caller's expiry and the policy shorten that; an expiry that was named is refused beyond them.
    Both keys expire at whole seconds, as all keys do.
    """
    if not timedelta() <= overlap <= MAX_OVERLAP:
        raise Invalid.field("/overlap_seconds", f"must be 0-{MAX_OVERLAP // timedelta(seconds=1)}")
    require_changeable(key, now)
    if key.rotated_to is not None:
        raise RotationInProgress("The key was rotated already; rotate its successor.")
    end = (
        omitted_end(policy, now, _same_lifetime(key, now), principal.expires_at)
        if expires_at is UNSET
        else check_expiry(expires_at, now)
    )
    successor = KeyGrant(key.description, end, key.scopes, key.networks, key.metadata, key.renewal)
    require_within(principal, successor)
    require_renewal(principal, successor.renewal, now)
    require_recent_authentication(principal, key.scopes, now)
    named_end(policy, end, now)
    if not overlap:
        return Rotation(successor, True, key.expires_at)
    old_end = earlier(key.expires_at, now + overlap)
    return Rotation(successor, False, old_end.replace(microsecond=0))


def _same_lifetime(key: ApiKey, now: datetime) -> datetime | None:
    if key.expires_at is None:
        return None
    try:
        return (now + (key.expires_at - key.created_at)).replace(microsecond=0)
    except OverflowError:
        return MAX_EXPIRY
