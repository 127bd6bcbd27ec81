"""The bodies of calls about keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from keystead.api.bodies.body import Body, SentInstant
from keystead.domain.key_metadata import MAX_BYTES, MAX_MEMBERS, NAME_PATTERN
from keystead.domain.keys import (
    MAX_DESCRIPTION,
    MAX_SCOPES,
    KeyDraft,
    KeyPatch,
    Unset,
)
from keystead.domain.networks import MAX_NETWORKS
from keystead.domain.renewals import Renewal
from keystead.domain.rotations import MAX_OVERLAP, MIN_QUIET
from keystead.wire.schema import INSTANT_SCHEMA, member

_EXPIRY = (
    "When the key expires: RFC 3339 with an offset, later than now. Fractions of a second are"
    " cut off. Null: never."
)
_Description = Annotated[
    str,
    member(
        f"What the key is for: 1-{MAX_DESCRIPTION} characters on one line.",
        "data-warehouse sync",
        minLength=1,
        maxLength=MAX_DESCRIPTION,
    ),
]
_SCOPES = "Each is `resource:action`; `*` is all data of the workspace, but never `keys:write`."


def _expiry(description: str) -> Any:
    return member(description, *INSTANT_SCHEMA["examples"])


def _scopes(description: str) -> Any:
    return member(
        description, ["collections:read", "documents:write"], minItems=1, maxItems=MAX_SCOPES
    )


_BLOCKS = "IPv4 and IPv6 CIDR blocks or single addresses that the key works from."
_LABELS = (
    f"Labels for the product: at most {MAX_MEMBERS} members and {MAX_BYTES:,} bytes as JSON, values on one line."
    " No access depends on them."
)
_NAMES = {"propertyNames": {"pattern": f"^{NAME_PATTERN}$"}, "maxProperties": MAX_MEMBERS}
_RENEWAL = "Permits the key to renew itself. A key can grant only a renewal that it has itself, ending no later."


def _networks(description: str) -> Any:
    return member(description, ["203.0.113.0/24", "2001:db8::/32"], maxItems=MAX_NETWORKS)


class KeyRenewal(Body):
    """The permission of a key to renew itself."""

    until: Annotated[SentInstant | None, _expiry("The end of the permission. Null: without end.")]

    def value(self) -> Renewal:
        """Return the domain's value."""
        return Renewal(self.until)


class NewKey(Body):
    """A key to create."""

    description: _Description
    expires_at: Annotated[
        SentInstant | None,
        _expiry(f"{_EXPIRY} Omitted: when the calling key expires, or earlier by the policy."),
    ] = None
    scopes: Annotated[
        list[str], _scopes(f"{_SCOPES} Omitted: the calling key's, without `keys:write`.")
    ] = []
    networks: Annotated[
        list[str], _networks(f"{_BLOCKS} Empty: anywhere. Omitted: the calling key's.")
    ] = []
    metadata: Annotated[
        dict[str, str], member(f"{_LABELS} Omitted: none.", {"customer": "42"}, **_NAMES)
    ] = {}
    renewal: Annotated[KeyRenewal | None, member(f"{_RENEWAL} Null or omitted: none.")] = None

    def draft(self) -> KeyDraft:
        """Return the domain's value."""
        return KeyDraft(
            self.description,
            self.sent("expires_at"),
            self.sent("scopes"),
            self.sent("networks"),
            self.sent("metadata"),
            _renewal_of(self.sent("renewal")),
        )


class KeyChange(Body):
    """Changes to a key. Omitted members stay as they are."""

    description: _Description = ""
    expires_at: Annotated[SentInstant | None, _expiry(_EXPIRY)] = None
    scopes: Annotated[list[str], _scopes(f"The scopes to keep: none can be added. {_SCOPES}")] = []
    networks: Annotated[list[str], _networks(f"{_BLOCKS} Empty: anywhere.")] = []
    metadata: Annotated[
        dict[str, str | None],
        member(
            f"{_LABELS} Omitted members stay, null removes one.",
            {"customer": "42", "team": None},
            **_NAMES,
        ),
    ] = {}
    renewal: Annotated[KeyRenewal | None, member(f"{_RENEWAL} Null: none.")] = None

    def patch(self) -> KeyPatch:
        """Return the domain's value."""
        return KeyPatch(
            self.sent("description"),
            self.sent("expires_at"),
            self.sent("scopes"),
            self.sent("networks"),
            self.sent("metadata"),
            _renewal_of(self.sent("renewal")),
        )


def _renewal_of(sent: KeyRenewal | None | Unset) -> Renewal | None | Unset:
    return sent.value() if isinstance(sent, KeyRenewal) else sent


class NewRenewal(Body):
    """A renewal, about which there is nothing to choose."""


class NewRotation(Body):
    """How to replace a key by a successor."""

    overlap_seconds: Annotated[
        int,
        Field(
            description="How long the old key keeps working. 0, or omitted: it is revoked immediately.",
            ge=0,
            le=MAX_OVERLAP // timedelta(seconds=1),
        ),
    ] = 0
    expires_at: Annotated[
        SentInstant | None,
        _expiry(
            f"{_EXPIRY} Omitted: the old key's lifetime, counted from now, or less by the policy."
        ),
    ] = None

    end_when_quiet_seconds: Annotated[
        int | None,
        Field(
            description="End the old key earlier, once the successor was used and the old key was silent for so long."
            " Less than the overlap.",
            ge=MIN_QUIET // timedelta(seconds=1),
            lt=MAX_OVERLAP // timedelta(seconds=1),
        ),
    ] = None

    @property
    def quiet(self) -> timedelta | None:
        """The silence as a duration."""
        seconds = self.end_when_quiet_seconds
        return None if seconds is None else timedelta(seconds=seconds)

    @property
    def overlap(self) -> timedelta:
        """The overlap as a duration."""
        return timedelta(seconds=self.overlap_seconds)
