"""Signing in at a terminal: the device authorization grant (RFC 8628).

A terminal shows a short user code, a person approves it in the Developer area, and the terminal, which polls with a
secret device code, gets a key. What the terminal says is a stranger's claim: it only preselects, a person decides.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.errors import Invalid, KeysteadError
from keystead.domain.ids import UserId, WorkspaceId
from keystead.domain.keys import MAX_SCOPES, KeyDraft, check_description, has_passed
from keystead.domain.scopes import ScopeCatalog, Scopes
from keystead.domain.throttle import BackoffPolicy, Subject, address_subject

CLIENT_ID: Final = "keystead-cli"
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
LIFETIME: Final = timedelta(minutes=10)
"""From the request to the collection of the key, approved or not."""
INTERVAL: Final = timedelta(seconds=5)
"""The least time between two polls."""
JITTER: Final = timedelta(milliseconds=500)
"""A poll may be earlier by this much: the network delays one request more than the next."""
MAX_PENDING: Final = 10_000
MAX_PENDING_OF_ADDRESS: Final = 10
WRONG_CODES: Final = BackoffPolicy(
    5, timedelta(seconds=2), timedelta(minutes=15), forget_after=timedelta(hours=2)
)
"""Wrong user codes of one address or one person."""
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""Without vowels, so that no code is a word (RFC 8628 section 6.1)."""
_DIGITS: Final = "0123456789"
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
"""No spaces: a stranger's host name must not read as our own sentence on the page."""


class PollError(StrEnum):
    """The errors of a poll (RFC 8628 section 3.5)."""

    PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    DENIED = "access_denied"
    EXPIRED = "expired_token"


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """What a terminal asks for. `host` is its name for its computer."""

    description: str | None = None
    scopes: Scopes | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's decision to give the terminal a key, and from which address. The draft leaves nothing open."""

    workspace_id: WorkspaceId
    user_id: UserId
    at: datetime
    address: str | None
    draft: KeyDraft


@dataclass(frozen=True, slots=True)
class DeviceLogin:
    """A sign-in from a terminal, as the server stores it: without its codes."""

    request: DeviceRequest
    address: str | None
    agent: str | None
    created_at: datetime
    expires_at: datetime
    polled_at: datetime | None = None
    denied_at: datetime | None = None
    approval: Approval | None = None

    def is_pending(self, now: datetime) -> bool:
        """Return whether a person may still decide about it."""
        is_decided = self.denied_at is not None or self.approval is not None
        return not is_decided and not self.has_expired(now)

    def has_expired(self, now: datetime) -> bool:
        """Return whether its time is over, whatever was decided."""
        return has_passed(self.expires_at, now)

    def is_polled_too_soon(self, now: datetime) -> bool:
        """Return whether a poll at `now` comes too soon after the last one."""
        last = self.polled_at
        return last is not None and last <= now < last + INTERVAL - JITTER


def check_request(
    description: str | None, scope: str | None, host: str | None, catalog: ScopeCatalog
) -> DeviceRequest:
    """Return the request with these fields, of which empty ones are absent. Raises Invalid, with the field's name."""
    return DeviceRequest(
        check_description(description) if description else None,
        _check_scope(scope, catalog) if scope else None,
        _check_host(host) if host else None,
    )


def new_user_code() -> str:
    """Return a code such as `WXYZ-1234`, which a person types: one of 1.6 billion."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(4))
    return f"{letters}-{''.join(secrets.choice(_DIGITS) for _ in range(4))}"


def user_code_digest(text: str) -> bytes:
    """Return the stored digest of a typed code: in any case, with any separators or none."""
    plain = "".join(character for character in text[:64].upper() if character.isalnum())
    return hashlib.sha256(f"user code {plain}".encode()).digest()


def code_subjects(address: str | None, user_id: UserId) -> list[Subject]:
    """Return what wrong codes are counted for: the address and the person."""
    return [Subject(f"code:{address_subject(address)}"), code_subject(user_id)]


def code_subject(user_id: UserId) -> Subject:
    """Return the subject of a person who enters codes."""
    return Subject(f"code:{user_id}")


def reason_of(refusal: KeysteadError) -> str:
    """Return why something was refused, in one line for a terminal."""
    if not isinstance(refusal, Invalid):
        return refusal.detail
    return " ".join(f"{each.pointer.removeprefix('/')} {each.detail}." for each in refusal.errors)


def _check_scope(text: str, catalog: ScopeCatalog) -> Scopes:
    listed = text.split(" ")
    if len(listed) > MAX_SCOPES or not all(scope in catalog for scope in listed):
        raise Invalid.field("/scope", f"must be 1-{MAX_SCOPES} known scopes separated by spaces")
    return Scopes(listed)


def _check_host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise Invalid.field("/host", "must be the name of a computer, at most 100 characters")
    return text
