"""API keys: what a key is, what may be asked of a new one, and how one changes, ends and is rotated."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import Final

from keystead.domain.errors import (
    FieldError,
    Forbidden,
    Invalid,
    KeyExpired,
    KeyRevoked,
    RotationInProgress,
    WouldWiden,
)
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.instants import NAIVE, is_naive
from keystead.domain.principals import Actor, Principal
from keystead.domain.scopes import FULL, KEYS_WRITE, ScopeCatalog, Scopes
from keystead.domain.step_up import SensitiveAction, is_wide
from keystead.domain.text import check_line, is_one_line

MAX_DESCRIPTION: Final = 200
MAX_SCOPES: Final = 50
MAX_OVERLAP: Final = timedelta(seconds=604_800)
EXPIRES_SOON: Final = timedelta(days=14)
MAX_EXPIRY: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class KeyStatus(StrEnum):
    """Derived from the instant, never stored: revoked before expired before active."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Unset(Enum):
    """A field that was not sent, where null means something of its own."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class KeyUse:
    """The last successful verification: when, from which address, by which agent."""

    at: datetime
    address: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The record of a key. It never contains the secret, and not its digest either.

    `creator_left`: the member who made it is none any more; the key lives on.
    """

    id: KeyId
    workspace_id: WorkspaceId
    description: str
    hint: str
    scopes: Scopes
    created_at: datetime
    created_by: Actor
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    rotated_to: KeyId | None = None
    last_use: KeyUse | None = None
    creator_left: bool = False
    version: int = 1

    def status(self, now: datetime) -> KeyStatus:
        """What the key is at `now`; it is expired from `expires_at` on."""
        if self.revoked_at is not None:
            return KeyStatus.REVOKED
        return KeyStatus.EXPIRED if has_passed(self.expires_at, now) else KeyStatus.ACTIVE

    def counts(self, now: datetime) -> bool:
        """Whether the key takes a place of the limit: active, and not in the overlap of a rotation."""
        return self.rotated_to is None and self.status(now) is KeyStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class KeyDraft:
    """What is asked of a new key; `UNSET` leaves the choice to the rules. Scopes in the order they were sent."""

    description: str
    expires_at: datetime | None | Unset = UNSET
    scopes: Iterable[str] | Unset = UNSET


@dataclass(frozen=True, slots=True)
class KeyPatch:
    """What is to change; `UNSET` stays as it is, `expires_at` None is never."""

    description: str | Unset = UNSET
    expires_at: datetime | None | Unset = UNSET
    scopes: Iterable[str] | Unset = UNSET


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """A new key's attributes after the rules: all chosen, all allowed."""

    description: str
    expires_at: datetime | None
    scopes: Scopes


@dataclass(frozen=True, slots=True)
class Rotation:
    """How a key is succeeded: the successor's attributes, and what becomes of the old one."""

    successor: KeyGrant
    revoke_now: bool
    old_expires_at: datetime | None


def has_passed(end: datetime | None, now: datetime) -> bool:
    """Whether `end` is reached at `now`: the instant itself is past, None never comes."""
    return end is not None and end <= now


def outlives(end: datetime | None, bound: datetime | None) -> bool:
    """Whether `end` is later than `bound`, None being never."""
    return bound is not None and (end is None or end > bound)


def check_description(text: str) -> str:
    """A description: 1-200 characters on one line."""
    return check_line(text, "/description", MAX_DESCRIPTION)


def check_query(text: str) -> str:
    """What may be searched for: nothing, or what a description could hold."""
    if len(text) > MAX_DESCRIPTION or not is_one_line(text):
        raise Invalid.field(
            "query:query", f"must be at most {MAX_DESCRIPTION} characters on one line"
        )
    return text


def fold_for_search(text: str) -> str:
    """`text` without differences of case and of compatible forms, for searching (NFKD, Unicode case folding).

    Character by character, so that whatever is a part of a text is also a part of its folded form.
    """
    return "".join(unicodedata.normalize("NFKD", character) for character in text).casefold()


def check_expiry(expires_at: datetime | None, now: datetime) -> datetime | None:
    """Return `expires_at` rounded down to the second; None is never. Invalid unless that is later than `now`."""
    whole = whole_seconds(expires_at)
    # Only after rounding: an end within the present second would be one that has passed.
    if whole is not None and whole <= now:
        raise Invalid.field("/expires_at", "must be later than now")
    return whole


def whole_seconds(expires_at: datetime | None) -> datetime | None:
    """Return `expires_at` without its fraction of a second. Invalid for a naive one."""
    if expires_at is None:
        return None
    if is_naive(expires_at):
        raise Invalid.field("/expires_at", NAIVE)
    return expires_at.replace(microsecond=0)


def check_scopes(asked: Iterable[str], catalog: ScopeCatalog) -> Scopes:
    """Scopes that exist here: at least one, each known. Every unknown one is named by its place, not its value."""
    listed = list(asked)
    if not 1 <= len(listed) <= MAX_SCOPES:
        raise Invalid.field("/scopes", f"must hold 1-{MAX_SCOPES} scopes")
    errors = [
        FieldError(f"/scopes/{place}", "is not a known scope")
        for place, scope in enumerate(listed)
        if scope not in catalog
    ]
    if errors:
        raise Invalid(errors)
    return Scopes(listed)


def grant(draft: KeyDraft, creator: Principal, catalog: ScopeCatalog, now: datetime) -> KeyGrant:
    """What `creator` gets for `draft`. Invalid for bad values, WouldWiden beyond what the creator holds, ReauthenticationRequired.

    A key passes on its own scopes (without `keys:write`) and its own expiry where none is chosen; a person gives `*`.
    """
    description = check_description(draft.description)
    default_scopes = creator.scopes.without(KEYS_WRITE) if creator.is_key else FULL
    scopes = default_scopes if draft.scopes is UNSET else check_scopes(draft.scopes, catalog)
    if not len(scopes):
        raise Invalid.field(
            "/scopes", "must be named: the caller has none to pass on but keys:write"
        )
    expires_at = (
        creator.expires_at if draft.expires_at is UNSET else check_expiry(draft.expires_at, now)
    )
    require_within(creator, scopes, expires_at)
    require_recent_authentication(creator, scopes, now)
    return KeyGrant(description, expires_at, scopes)


def require_within(principal: Principal, scopes: Scopes, expires_at: datetime | None) -> None:
    """WouldWiden unless `principal` could hand out these scopes until then."""
    if not grantable(principal).cover(scopes):
        raise WouldWiden("The key would hold scopes that its maker may not hand out.")
    if outlives(expires_at, principal.expires_at):
        raise WouldWiden("The key would live longer than its maker.")


def require_recent_authentication(principal: Principal, scopes: Scopes, now: datetime) -> None:
    """Raise ReauthenticationRequired for a person without a recent proof if the key would be a wide one."""
    if is_wide(scopes):
        principal.require_recent_authentication(SensitiveAction.GRANT_WIDE_KEY, now)


def grantable(principal: Principal) -> Scopes:
    """The scopes a principal may hand out: a developer's keys never manage keys that others made."""
    every = principal.manages_every_key
    return principal.scopes if every else principal.scopes.without(KEYS_WRITE)


def require_manager(principal: Principal, key: ApiKey) -> None:
    """Forbidden unless the principal's role allows changing this key."""
    if not principal.may_manage(key.created_by):
        raise Forbidden(KEYS_WRITE, f"The role {principal.role} changes only keys of its own.")


def require_changeable(key: ApiKey, now: datetime) -> None:
    """KeyRevoked or KeyExpired where the key has ended."""
    match key.status(now):
        case KeyStatus.REVOKED:
            raise KeyRevoked("The key was revoked; that is final.")
        case KeyStatus.EXPIRED:
            raise KeyExpired("The key has expired; create a new one.")
        case KeyStatus.ACTIVE:
            return


def apply_patch(
    key: ApiKey, patch: KeyPatch, principal: Principal, catalog: ScopeCatalog, now: datetime
) -> ApiKey:
    """The key after `patch`; equal to `key` where nothing changes. Scopes may only shrink.

    A revoked key cannot be changed, an expired one only described; one in its overlap cannot be made to live longer.
    """
    if key.revoked_at is not None:
        raise KeyRevoked("The key was revoked; that is final.")
    changed = key
    if patch.description is not UNSET:
        changed = replace(changed, description=check_description(patch.description))
    if patch.scopes is not UNSET:
        changed = replace(changed, scopes=_narrowed(key, check_scopes(patch.scopes, catalog)))
    if patch.expires_at is not UNSET and not _is_end(patch.expires_at, key):
        changed = replace(changed, expires_at=check_expiry(patch.expires_at, now))
    if (changed.scopes, changed.expires_at) != (key.scopes, key.expires_at):
        require_changeable(key, now)
        _require_no_longer_overlap(key, changed)
    require_within(principal, changed.scopes, changed.expires_at)
    if outlives(changed.expires_at, key.expires_at):
        require_recent_authentication(principal, changed.scopes, now)
    return changed


def _is_end(expires_at: datetime | None, key: ApiKey) -> bool:
    """Return whether the key ends then already, so that nothing is set, and nothing has to be later than now."""
    return key.expires_at in {expires_at, whole_seconds(expires_at)}


def _narrowed(key: ApiKey, scopes: Scopes) -> Scopes:
    if not key.scopes.cover(scopes):
        raise WouldWiden("A key's scopes may only shrink; create a new key for more.")
    return scopes


def _require_no_longer_overlap(key: ApiKey, changed: ApiKey) -> None:
    if key.rotated_to is not None and outlives(changed.expires_at, key.expires_at):
        raise RotationInProgress("The key was rotated; its overlap cannot be made longer.")


def plan_rotation(
    key: ApiKey,
    overlap: timedelta,
    expires_at: datetime | None | Unset,
    principal: Principal,
    now: datetime,
) -> Rotation:
    """How `key` is succeeded. Without a chosen expiry the successor gets the old key's lifetime, counted from now.

    Both keys end at whole seconds, as every key does.
    """
    if not timedelta() <= overlap <= MAX_OVERLAP:
        raise Invalid.field("/overlap_seconds", f"must be 0-{MAX_OVERLAP // timedelta(seconds=1)}")
    require_changeable(key, now)
    if key.rotated_to is not None:
        raise RotationInProgress("The key was rotated already; rotate its successor.")
    end = _same_lifetime(key, now) if expires_at is UNSET else check_expiry(expires_at, now)
    require_within(principal, key.scopes, end)
    require_recent_authentication(principal, key.scopes, now)
    successor = KeyGrant(key.description, end, key.scopes)
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


def earlier(one: datetime | None, other: datetime) -> datetime:
    """The earlier of two ends, None being never."""
    return other if one is None or other < one else one
