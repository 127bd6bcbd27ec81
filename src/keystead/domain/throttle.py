"""Throttling: exponential backoff for wrong passwords, and fixed windows for actions.

An attacker meets the backoff of the account and of the address. The owner still signs in from a known device, which has
a backoff of its own, or by an unthrottled one-time link, so an attacker can't lock anyone out.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NewType

from keystead.domain.ids import CredentialId, InvitationId, UserId, WorkspaceId

Subject = NewType("Subject", str)
"""What failures are counted for: `account:…`, `address:…`, `device:…`, `session:…`, `revocation:…` for sent tokens.

Actions are counted for `sending:…`, a workspace, `look-up:…`, a credential, and `new password:…`, an invitation or a
person.
"""

CLOCK_SLACK: Final = timedelta(seconds=60)
"""A failure further in the future than this was written before a clock was set back."""
_MOST_DOUBLINGS: Final = 32


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Exponential backoff: after `free` failures, each one doubles the wait from `first` to `longest`.

    After `most` failures no more are allowed. After `forget_after` without a failure the count restarts.
    """

    free: int
    first: timedelta
    longest: timedelta
    most: int | None = None
    forget_after: timedelta | None = None


ACCOUNT: Final = BackoffPolicy(5, timedelta(seconds=2), timedelta(hours=1), most=100)
"""All unknown devices of an account: at most 100 wrong passwords in a row (NIST SP 800-63B-4 section 3.2.2)."""
ADDRESS: Final = BackoffPolicy(
    20, timedelta(seconds=1), timedelta(minutes=15), forget_after=timedelta(hours=2)
)
"""One address, for all accounts. Many people may share it, so it has no maximum."""
DEVICE: Final = BackoffPolicy(5, timedelta(seconds=2), timedelta(minutes=1), most=20)
"""A known device; after the maximum, it is an unknown one again."""
SESSION: Final = BackoffPolicy(5, timedelta(seconds=2), timedelta(minutes=1), most=10)
"""Reauthentication within a session; after the maximum, the session ends."""

REVOCATION: Final = BackoffPolicy(
    60, timedelta(seconds=1), timedelta(minutes=1), forget_after=timedelta(hours=1)
)
"""Tokens that one address sends to be revoked. After many, it can still revoke one a minute."""


@dataclass(frozen=True, slots=True)
class WindowLimit:
    """At most `most` actions in a fixed window, which begins with its first action."""

    most: int
    window: timedelta


SENDING: Final = WindowLimit(60, timedelta(minutes=1))
"""Webhook tests and resent deliveries of a workspace: each one schedules requests to another server."""
NEW_PASSWORD: Final = WindowLimit(10, timedelta(minutes=10))
"""New passwords by one invitation or person: estimating and hashing each one is slow."""
LOOKUP: Final = WindowLimit(60, timedelta(minutes=1))
"""Tokens that one credential looks up: more would be a way to verify them, which has a call of its own."""


@dataclass(frozen=True, slots=True)
class ThrottleState:
    """Failures in a row and the time of the last one; or actions in a window and the time of the first one."""

    count: int = 0
    last_at: datetime | None = None


NO_FAILURES: Final = ThrottleState()


@dataclass(frozen=True, slots=True)
class ThrottleDecision:
    """Whether a password is checked now, else how long to wait; None until the owner signs in another way."""

    allowed: bool
    wait: timedelta | None = None


def decide(failures: ThrottleState, policy: BackoffPolicy, now: datetime) -> ThrottleDecision:
    """Return whether another password may be tried."""
    current = _current(failures, policy, now)
    if policy.most is not None and current.count >= policy.most:
        return ThrottleDecision(False)
    if current.last_at is None or current.last_at > now + CLOCK_SLACK:
        return ThrottleDecision(True)
    wait = current.last_at + wait_after(current.count, policy) - now
    return ThrottleDecision(True) if wait <= timedelta() else ThrottleDecision(False, wait)


def count_failure(failures: ThrottleState, policy: BackoffPolicy, now: datetime) -> ThrottleState:
    """Return the state after one more failure."""
    return ThrottleState(_current(failures, policy, now).count + 1, now)


def count_in_window(
    state: ThrottleState, limit: WindowLimit, now: datetime
) -> ThrottleState | timedelta:
    """Return the state after one more action, or how long to wait if the window is full."""
    started_at = state.last_at
    if started_at is None or not started_at - CLOCK_SLACK <= now < started_at + limit.window:
        return ThrottleState(1, now)
    if state.count < limit.most:
        return ThrottleState(state.count + 1, started_at)
    return started_at + limit.window - now


def wait_after(count: int, policy: BackoffPolicy) -> timedelta:
    """Return the wait after that many failures in a row."""
    if count < policy.free:
        return timedelta()
    doublings = min(count - policy.free, _MOST_DOUBLINGS)
    factor: int = 2**doublings
    return min(policy.longest, policy.first * factor)


def account_subject(folded_email: str) -> Subject:
    """Return the subject of an account, which need not exist. Hashed, because people may type other things here."""
    return Subject(f"account:{hashlib.sha256(folded_email.encode()).hexdigest()}")


def address_subject(address: str | None) -> Subject:
    """Return the subject of an IPv4 address, or of the /64 of an IPv6 address, which one host can use all of.

    All texts that are not addresses share one subject.
    """
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
    """Return the subject of an address that sends tokens to be revoked."""
    return Subject(f"revocation:{address_subject(address)}")


def device_subject(fingerprint: bytes) -> Subject:
    """Return the subject of a device, by the fingerprint of its secret."""
    return Subject(f"device:{fingerprint.hex()}")


def sending_subject(workspace_id: WorkspaceId) -> Subject:
    """Return the subject of a workspace that sends tests and deliveries."""
    return Subject(f"sending:{workspace_id}")


def lookup_subject(id: CredentialId) -> Subject:
    """Return the subject of a credential that looks tokens up."""
    return Subject(f"look-up:{id}")


def new_password_subject(id: InvitationId | UserId) -> Subject:
    """Return the subject of an invitation or a person that sets new passwords."""
    return Subject(f"new password:{id}")


def session_subject(session_id: str) -> Subject:
    """Return the subject of a session whose person signs in again."""
    return Subject(f"session:{session_id}")


def _current(failures: ThrottleState, policy: BackoffPolicy, now: datetime) -> ThrottleState:
    quiet = policy.forget_after
    if quiet is None or failures.last_at is None or now < failures.last_at + quiet:
        return failures
    return NO_FAILURES
