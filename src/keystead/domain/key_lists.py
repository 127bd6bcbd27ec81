"""Lists of keys as programs and people ask for them: filters, orders, and what the tabs count."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.errors import Invalid
from keystead.domain.key_hygiene import HygieneFinding
from keystead.domain.keys import KeyStatus
from keystead.domain.policies import Policy

EXAMINED_KEYS: Final = 5_000
"""The newest keys of a tab that filters and orders examine: more would take longer than people wait."""
COUNTED_KEYS: Final = 1_000
"""The most ended keys that are counted exactly, and the most keys of one question."""


DAYS_PATTERN: Final = "[1-9][0-9]{0,3}d"
_DAYS: Final = re.compile(DAYS_PATTERN)


class KeySort(StrEnum):
    """What orders a list of the API. Never used is before every use, never expiring after every expiry."""

    CREATED_AT = "created_at"
    LAST_USED_AT = "last_used_at"
    EXPIRES_AT = "expires_at"


@dataclass(frozen=True, slots=True)
class KeySelection:
    """Which keys to list, and in which order: an index gives every one of these lists.

    Attributes:
        status: Only keys of this status.
        query: A part of the description in any case, the exact id, or the token's last four characters.
        finding: Only counted keys with this hygiene finding.
        created_by: Only keys that the actor with this id created.
        unused_for: Only keys without a use for so long; one that was never used counts from its creation.
        expiring_within: Only active keys that expire within this time.
        outside: Only keys that this policy would not allow as they are.
        sort: What orders the list; ids decide between equal values.
        ascending: Whether the lowest value comes first.
    """

    status: KeyStatus | None = None
    query: str = ""
    finding: HygieneFinding | None = None
    created_by: str = ""
    unused_for: timedelta | None = None
    expiring_within: timedelta | None = None
    outside: Policy | None = None
    sort: KeySort = KeySort.CREATED_AT
    ascending: bool = False


ALL_KEYS: Final = KeySelection()


def parse_days(text: str, pointer: str) -> timedelta:
    """Return the duration of a text such as `30d`. Invalid unless it has 1-4 digits and the unit."""
    if not _DAYS.fullmatch(text):
        raise Invalid.field(pointer, "must be a number of days from 1d to 9999d, such as 30d")
    return timedelta(days=int(text[:-1]))


class KeyOrder(StrEnum):
    """An order of the list. Never used comes first by use, never expiring last by expiry; `-` turns it round."""

    OLDEST = "created"
    LEAST_USED = "used"
    LAST_USED = "-used"
    EXPIRES_FIRST = "expires"
    EXPIRES_LAST = "-expires"


class AccessKind(StrEnum):
    """A kind of access: everything, READ_ONLY, or a choice of scopes."""

    FULL = "full"
    READ_ONLY = "read-only"
    CUSTOM = "custom"


class LastUse(StrEnum):
    """A time of the last use. UNUSED counts from the creation of a key that was never used."""

    DAY = "day"
    UNUSED = "unused"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Which keys to list, and in which order: `order` None lists one status after the other, the newest first."""

    statuses: tuple[KeyStatus, ...]
    query: str = ""
    finding: HygieneFinding | None = None
    order: KeyOrder | None = None
    creator: str = ""
    access: AccessKind | None = None
    last_use: LastUse | None = None

    @property
    def is_examined(self) -> bool:
        """Return whether no index gives this list: then only the newest EXAMINED_KEYS are examined."""
        return bool(self.order or self.creator or self.access or self.last_use)


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """How many keys each tab and each review has. `expired` and `revoked` are exact up to COUNTED_KEYS."""

    active: int
    expired: int
    revoked: int
    findings: Mapping[HygieneFinding, int] = field(default_factory=dict)

    @property
    def are_none(self) -> bool:
        """Return whether the workspace never had a key."""
        return self.active == self.expired == self.revoked == 0
