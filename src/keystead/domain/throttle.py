"""How many wrong passwords are looked at: a growing wait per account, per address, per known device; and paces.

An attacker runs into the account's and the address's wait; the owner comes in from a device that signed in before,
which has an allowance of its own, or by a one-time link, which has no bound: nobody is locked out by somebody else.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NewType

from keystead.domain.ids import InvitationId, UserId, WorkspaceId

Subject = NewType("Subject", str)
"""Whose failures are counted: `account:…`, `address:…`, `device:…`, `session:…`, or `revocation:…` for tokens sent.

`sending:…` is a workspace whose acts are counted, each of which sends something; `new password:…` an invitation, or a
person, by which new passwords come.
"""

CLOCK_SLACK: Final = timedelta(seconds=60)
"""A failure further in the future than this was written by a clock that has since been set back."""
_MOST_DOUBLINGS: Final = 32


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """`free` failures cost no wait, each further one doubles it from `first` to `longest`; after `most` it is over.

    After `forget_after` without a failure the count begins anew.
    """

    free: int
    first: timedelta
    longest: timedelta
    most: int | None = None
    forget_after: timedelta | None = None


ACCOUNT: Final = BackoffPolicy(5, timedelta(seconds=2), timedelta(hours=1), most=100)
"""Strangers to an account, all together: at most 100 wrong passwords on end (NIST SP 800-63B-4 section 3.2.2)."""
ADDRESS: Final = BackoffPolicy(
    20, timedelta(seconds=1), timedelta(minutes=15), forget_after=timedelta(hours=2)
)
"""One address over all accounts. Many people may share it, so it is never over."""
DEVICE: Final = BackoffPolicy(5, timedelta(seconds=2), timedelta(minutes=1), most=20)
"""A device that signed this person in before; when it is over, the device is a stranger again."""
SESSION: Final = BackoffPolicy(5, timedelta(seconds=2), timedelta(minutes=1), most=10)
"""Proving oneself again within a session; when it is over, the session is."""

REVOCATION: Final = BackoffPolicy(
    60, timedelta(seconds=1), timedelta(minutes=1), forget_after=timedelta(hours=1)
)
"""Tokens that one address sends to be revoked. Who found more of them than that goes on with one a minute."""


@dataclass(frozen=True, slots=True)
class WindowLimit:
    """At most `most` acts in a window, which begins with its first."""

    most: int
    window: timedelta


SENDING: Final = WindowLimit(60, timedelta(minutes=1))
"""Tests and deliveries sent again that a workspace asks for: each is a schedule of requests to somebody else."""
NEW_PASSWORD: Final = WindowLimit(10, timedelta(minutes=10))
"""New passwords that come with one invitation, or from one person: each is estimated and hashed, which is slow."""


@dataclass(frozen=True, slots=True)
class ThrottleState:
    """Wrong passwords on end, and when the last of them was; of a pace, its acts, and when the first of them was."""

    count: int = 0
    last_at: datetime | None = None


NO_FAILURES: Final = ThrottleState()


@dataclass(frozen=True, slots=True)
class ThrottleDecision:
    """Whether a password is looked at now; else how long to wait, None being until the owner came in another way."""

    allowed: bool
    wait: timedelta | None = None


def decide(failures: ThrottleState, allowance: BackoffPolicy, now: datetime) -> ThrottleDecision:
    """Whether another password may be tried."""
    known = _remembered(failures, allowance, now)
    if allowance.most is not None and known.count >= allowance.most:
        return ThrottleDecision(False)
    if known.last_at is None or known.last_at > now + CLOCK_SLACK:
        return ThrottleDecision(True)
    wait = known.last_at + wait_after(known.count, allowance) - now
    return ThrottleDecision(True) if wait <= timedelta() else ThrottleDecision(False, wait)


def count_failure(
    failures: ThrottleState, allowance: BackoffPolicy, now: datetime
) -> ThrottleState:
    """The failures after one more."""
    return ThrottleState(_remembered(failures, allowance, now).count + 1, now)


def count_in_window(
    seen: ThrottleState, pace: WindowLimit, now: datetime
) -> ThrottleState | timedelta:
    """The acts of the window after one more; or how long to wait, where the window is full."""
    begun = seen.last_at
    if begun is None or not begun - CLOCK_SLACK <= now < begun + pace.window:
        return ThrottleState(1, now)
    if seen.count < pace.most:
        return ThrottleState(seen.count + 1, begun)
    return begun + pace.window - now


def wait_after(count: int, allowance: BackoffPolicy) -> timedelta:
    """How long to wait after so many failures on end."""
    if count < allowance.free:
        return timedelta()
    doublings = min(count - allowance.free, _MOST_DOUBLINGS)
    factor: int = 2**doublings
    return min(allowance.longest, allowance.first * factor)


def account_subject(folded_email: str) -> Subject:
    """An account that may or may not exist. Hashed: people type other things than their address here."""
    return Subject(f"account:{hashlib.sha256(folded_email.encode()).hexdigest()}")


def address_subject(address: str | None) -> Subject:
    """An address: an IPv4 address, or the /64 that one IPv6 host commands. All that are no address count as one."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return Subject("address:unknown")
    if isinstance(ip, ipaddress.IPv4Address):
        return Subject(f"address:{ip}")
    if ip.ipv4_mapped is not None:
        return Subject(f"address:{ip.ipv4_mapped}")
    return Subject(f"address:{ipaddress.IPv6Network((int(ip), 64), strict=False)}")


def revocation_subject(address: str | None) -> Subject:
    """An address that sends tokens to be revoked, told apart as address_subject does."""
    return Subject(f"revocation:{address_subject(address)}")


def device_subject(fingerprint: bytes) -> Subject:
    """A device, by the fingerprint of the secret it holds."""
    return Subject(f"device:{fingerprint.hex()}")


def sending_subject(workspace_id: WorkspaceId) -> Subject:
    """A workspace that has something sent."""
    return Subject(f"sending:{workspace_id}")


def new_password_subject(id: InvitationId | UserId) -> Subject:
    """Return the subject of an invitation, or a person, by which new passwords come."""
    return Subject(f"new password:{id}")


def session_subject(session_id: str) -> Subject:
    """A session whose person proves themselves again."""
    return Subject(f"session:{session_id}")


def _remembered(failures: ThrottleState, allowance: BackoffPolicy, now: datetime) -> ThrottleState:
    quiet = allowance.forget_after
    if quiet is None or failures.last_at is None or now < failures.last_at + quiet:
        return failures
    return NO_FAILURES
