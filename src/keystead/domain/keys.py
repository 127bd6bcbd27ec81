"""API keys: the record, the rules for a new key, and how a key changes and ends."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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
from keystead.domain.key_metadata import Metadata, check_metadata, merge_metadata
from keystead.domain.networks import ANYWHERE, Networks, parse_networks
from keystead.domain.policies import Policy, named_end, omitted_end, require_renewal_allowed
from keystead.domain.principals import Actor, Principal
from keystead.domain.renewals import Renewal
from keystead.domain.scopes import FULL, KEYS_WRITE, ScopeCatalog, Scopes
from keystead.domain.step_up import SensitiveAction, is_wide
from keystead.domain.text import check_line, is_one_line

MAX_DESCRIPTION: Final = 200
MAX_PLACE: Final = 200
MAX_SCOPES: Final = 50
EXPIRES_SOON: Final = timedelta(days=14)
MAX_EXPIRY: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class KeyStatus(StrEnum):
    """The state at a given time, never stored. Revoked takes precedence over expired."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Unset(Enum):
    """A field that was not sent; null has a meaning of its own."""

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
    """The record of a key. It contains neither the secret nor its digest.

    `creator_left`: the member who created it was removed; the key keeps working. `family`: the first of the keys that
    renewed themselves to this one. `replaces`: the key that made this one by a renewal, until this one is first used.
    `quiet_seconds`: a rotated key ends after so long a silence. `stored_in`: where people keep its token, a note for
    pages alone.
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
    networks: Networks = ANYWHERE
    metadata: Metadata = field(default_factory=dict, hash=False)
    renewal: Renewal | None = None
    family: KeyId | None = None
    replaces: KeyId | None = None
    quiet_seconds: int | None = None
    stored_in: str = ""

    def status(self, now: datetime) -> KeyStatus:
        """Return the status at `now`; the key is expired from `expires_at` on."""
        if self.revoked_at is not None:
            return KeyStatus.REVOKED
        return KeyStatus.EXPIRED if has_passed(self.expires_at, now) else KeyStatus.ACTIVE

    def counts(self, now: datetime) -> bool:
        """Return whether the key counts towards the limit: active, and not in the overlap of a rotation."""
        return self.rotated_to is None and self.status(now) is KeyStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class KeyDraft:
    """The request for a new key; the rules choose what is `UNSET`. Scopes keep their order."""

    description: str
    expires_at: datetime | None | Unset = UNSET
    scopes: Iterable[str] | Unset = UNSET
    networks: Iterable[str] | Unset = UNSET
    metadata: Mapping[str, str] | Unset = UNSET
    renewal: Renewal | None | Unset = UNSET
    stored_in: str = ""


@dataclass(frozen=True, slots=True)
class KeyPatch:
    """The requested changes of a key. `UNSET` leaves a field as it is; `expires_at` None means never.

    `metadata` is merged: None removes a member. `renewal` None takes the permission away.
    """

    description: str | Unset = UNSET
    expires_at: datetime | None | Unset = UNSET
    scopes: Iterable[str] | Unset = UNSET
    networks: Iterable[str] | Unset = UNSET
    metadata: Mapping[str, str | None] | Unset = UNSET
    renewal: Renewal | None | Unset = UNSET
    stored_in: str | Unset = UNSET

    @property
    def may_narrow(self) -> bool:
        """Return whether it names anything that gives access."""
        named = (self.scopes, self.expires_at, self.networks, self.renewal)
        return any(value is not UNSET for value in named)

    @property
    def may_extend(self) -> bool:
        """Return whether it names what a policy bounds. All other changes need no policy."""
        return self.expires_at is not UNSET or self.renewal is not UNSET


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """The attributes of a new key, after the rules were applied."""

    description: str
    expires_at: datetime | None
    scopes: Scopes
    networks: Networks = ANYWHERE
    metadata: Metadata = field(default_factory=dict, hash=False)
    renewal: Renewal | None = None
    stored_in: str = ""


def has_passed(end: datetime | None, now: datetime) -> bool:
    """Return whether `end` is reached at `now`; None never is."""
    return end is not None and end <= now


def outlives(end: datetime | None, bound: datetime | None) -> bool:
    """Return whether `end` is later than `bound`; None means never."""
    return bound is not None and (end is None or end > bound)


def check_description(text: str) -> str:
    """Return `text`. Invalid unless it is 1-200 characters on one line."""
    return check_line(text, "/description", MAX_DESCRIPTION)


def check_place(text: str) -> str:
    """Return `text`, the place of a token. Invalid unless it is empty, or at most 200 characters on one line."""
    return check_line(text, "/stored_in", MAX_PLACE) if text else ""


def check_query(text: str) -> str:
    """Return `text`. Invalid if no description could contain it."""
    if len(text) > MAX_DESCRIPTION or not is_one_line(text):
        raise Invalid.field(
            "query:query", f"must be at most {MAX_DESCRIPTION} characters on one line"
        )
    return text


def fold_for_search(text: str) -> str:
    """Return `text` without differences of case and compatible forms (NFKD, Unicode case folding).

    Each character is folded on its own, so a part of a text is also a part of its folded form.
    """
    return "".join(unicodedata.normalize("NFKD", character) for character in text).casefold()


def check_expiry(
    expires_at: datetime | None, now: datetime, pointer: str = "/expires_at"
) -> datetime | None:
    """Return `expires_at` rounded down to the second. Invalid unless it is later than `now`, or None (never)."""
    whole = whole_seconds(expires_at, pointer)
    # After rounding: an expiry within the current second would already have passed.
    if whole is not None and whole <= now:
        raise Invalid.field(pointer, "must be later than now")
    return whole


def whole_seconds(time: datetime | None, pointer: str = "/expires_at") -> datetime | None:
    """Return `time` without its fraction of a second. Invalid for a naive one."""
    if time is None:
        return None
    if is_naive(time):
        raise Invalid.field(pointer, NAIVE)
    return time.replace(microsecond=0)


def check_renewal(renewal: Renewal | None, now: datetime) -> Renewal | None:
    """Return `renewal` with its end like an expiry: rounded down to the second, and later than `now`."""
    return renewal and Renewal(check_expiry(renewal.until, now, "/renewal/until"))


def check_scopes(scopes: Iterable[str], catalog: ScopeCatalog) -> Scopes:
    """Return the scopes. Invalid unless there are 1-50, all known; errors give the places of values, not the values."""
    listed = list(scopes)
    if not 1 <= len(listed) <= MAX_SCOPES:
        raise Invalid.field("/scopes", f"must have 1-{MAX_SCOPES} scopes")
    errors = [
        FieldError(f"/scopes/{place}", "is not a known scope")
        for place, scope in enumerate(listed)
        if scope not in catalog
    ]
    if errors:
        raise Invalid(errors)
    return Scopes(listed)


def grant(
    draft: KeyDraft, creator: Principal, catalog: ScopeCatalog, policy: Policy, now: datetime
) -> KeyGrant:
    """Return the attributes of the key that `creator` may create for `draft`.

    By default, a key passes on its own expiry, its own networks and its own scopes except `keys:write`, and a person
    grants `*` from anywhere. Renewal is granted only by name. An omitted expiry lies within the effective policy.

    Raises:
        Invalid: A value is malformed.
        AgainstPolicy: A named value is beyond the policy.
        WouldWiden: The key would exceed its creator's scopes, expiry, networks or renewal.
        ReauthenticationRequired: The key would be a wide one or renewable without end, and the person's last sign-in
            is not recent.
    """
    description = check_description(draft.description)
    default_scopes = catalog.known(creator.scopes.without(KEYS_WRITE)) if creator.is_key else FULL
    scopes = default_scopes if draft.scopes is UNSET else check_scopes(draft.scopes, catalog)
    if not len(scopes):
        raise Invalid.field(
            "/scopes", "must be chosen: the caller has only keys:write, which is never passed on"
        )
    expires_at = (
        omitted_end(policy, now, creator.expires_at)
        if draft.expires_at is UNSET
        else check_expiry(draft.expires_at, now)
    )
    granted = KeyGrant(
        description,
        expires_at,
        scopes,
        creator.networks if draft.networks is UNSET else parse_networks(draft.networks),
        {} if draft.metadata is UNSET else check_metadata(draft.metadata),
        None if draft.renewal is UNSET else check_renewal(draft.renewal, now),
        check_place(draft.stored_in),
    )
    require_within(creator, granted)
    require_renewal(creator, granted.renewal, now)
    require_recent_authentication(creator, scopes, now)
    named_end(policy, expires_at, now)
    if granted.renewal is not None:
        require_renewal_allowed(policy)
    return granted


def require_within(principal: Principal, granted: KeyGrant | ApiKey) -> None:
    """Raise WouldWiden unless `principal` may grant these scopes, until then, from these networks."""
    if not grantable(principal).cover(granted.scopes):
        raise WouldWiden("A key can't grant scopes it doesn't have.")
    if outlives(granted.expires_at, principal.expires_at):
        raise WouldWiden("A key can't create or renew a key that expires later than itself.")
    if not granted.networks.lie_within(principal.networks):
        raise WouldWiden("A key can't grant networks outside its own.")


def require_renewal(principal: Principal, renewal: Renewal | None, now: datetime) -> None:
    """Raise WouldWiden unless `principal` may grant `renewal`: a key only what it holds itself.

    ReauthenticationRequired for a person without a recent sign-in if the renewal is without end.
    """
    if renewal is None:
        return
    if principal.is_key and not (principal.renewal and principal.renewal.covers(renewal)):
        raise WouldWiden("A key can't grant a renewal that it doesn't have.")
    if renewal.until is None:
        principal.require_recent_authentication(SensitiveAction.GRANT_WIDE_KEY, now)


def require_recent_authentication(principal: Principal, scopes: Scopes, now: datetime) -> None:
    """Raise ReauthenticationRequired for a person without a recent sign-in if the key would be a wide one."""
    if is_wide(scopes):
        principal.require_recent_authentication(SensitiveAction.GRANT_WIDE_KEY, now)


def grantable(principal: Principal) -> Scopes:
    """Return the scopes that a principal may grant. A developer's keys never manage other people's keys."""
    scopes = principal.scopes
    return scopes if principal.manages_every_key else scopes.without(KEYS_WRITE)


def require_manager(principal: Principal, key: ApiKey) -> None:
    """Raise Forbidden unless the principal's role allows changing this key."""
    if not principal.may_manage(key.created_by):
        raise Forbidden(KEYS_WRITE, f"The role {principal.role} can change only its own keys.")


def require_changeable(key: ApiKey, now: datetime) -> None:
    """Raise KeyRevoked or KeyExpired if the key has ended."""
    match key.status(now):
        case KeyStatus.REVOKED:
            raise KeyRevoked("The key was revoked; that is final.")
        case KeyStatus.EXPIRED:
            raise KeyExpired("The key has expired; create a new one.")
        case KeyStatus.ACTIVE:
            return


def apply_patch(
    key: ApiKey,
    patch: KeyPatch,
    principal: Principal,
    catalog: ScopeCatalog,
    policy: Policy,
    now: datetime,
) -> ApiKey:
    """Return the key after `patch`, equal to `key` if nothing changes. Scopes may only shrink.

    A revoked key can't change, an expired one only its description, metadata and place. The overlap of a rotated key
    can't be extended. The policy bounds a later expiry, counted from the key's creation, and a renewal; what a key has,
    it may keep or shorten.
    """
    if key.revoked_at is not None:
        raise KeyRevoked("The key was revoked; that is final.")
    changed = replace(
        key,
        description=key.description
        if patch.description is UNSET
        else check_description(patch.description),
        scopes=_shrunk(key, patch, catalog),
        expires_at=_new_expiry(key, patch, now),
        networks=key.networks if patch.networks is UNSET else parse_networks(patch.networks),
        metadata=key.metadata
        if patch.metadata is UNSET
        else merge_metadata(key.metadata, patch.metadata),
        renewal=_new_renewal(key, patch, now),
        stored_in=key.stored_in if patch.stored_in is UNSET else check_place(patch.stored_in),
    )
    if _access_of(changed) != _access_of(key):
        require_changeable(key, now)
        if key.rotated_to is not None and outlives(changed.expires_at, key.expires_at):
            raise RotationInProgress("The key was rotated; its overlap can't be extended.")
    require_within(principal, changed)
    if changed.renewal != key.renewal:
        require_renewal(principal, changed.renewal, now)
    if outlives(changed.expires_at, key.expires_at):
        require_recent_authentication(principal, changed.scopes, now)
        named_end(policy, changed.expires_at, key.created_at)
    if changed.renewal is not None and not (key.renewal and key.renewal.covers(changed.renewal)):
        require_renewal_allowed(policy)
    return changed


def narrows(before: ApiKey, after: ApiKey) -> bool:
    """Return whether the change takes away access: scopes, networks, lifetime or renewal."""
    return outlives(before.expires_at, after.expires_at) or restricts(before, after)


def restricts(before: ApiKey, after: ApiKey) -> bool:
    """Return whether the change takes away what a successor inherits: scopes, networks or renewal."""
    renewal = after.renewal
    return (
        before.scopes != after.scopes
        or not before.networks.lie_within(after.networks)
        or not (before.renewal is None or (renewal and renewal.covers(before.renewal)))
    )


def _access_of(key: ApiKey) -> tuple[object, ...]:
    """Return what only a key that hasn't ended may change."""
    return key.scopes, key.expires_at, key.networks, key.renewal


def _shrunk(key: ApiKey, patch: KeyPatch, catalog: ScopeCatalog) -> Scopes:
    if patch.scopes is UNSET:
        return key.scopes
    scopes = check_scopes(patch.scopes, catalog)
    if not key.scopes.cover(scopes):
        raise WouldWiden("A key's scopes may only shrink; create a new key for more.")
    return scopes


def _new_expiry(key: ApiKey, patch: KeyPatch, now: datetime) -> datetime | None:
    sent = patch.expires_at
    # Sending the same expiry again is not a change, even in the past.
    if sent is UNSET or key.expires_at in {sent, whole_seconds(sent)}:
        return key.expires_at
    return check_expiry(sent, now)


def _new_renewal(key: ApiKey, patch: KeyPatch, now: datetime) -> Renewal | None:
    sent = patch.renewal
    if sent is UNSET:
        return key.renewal
    # As with an expiry: the same end again is not a change.
    if sent and key.renewal and key.renewal.until == whole_seconds(sent.until, "/renewal/until"):
        return key.renewal
    return check_renewal(sent, now)


def earlier(first: datetime | None, second: datetime) -> datetime:
    """Return the earlier of two times; None means never."""
    return second if first is None or second < first else first
