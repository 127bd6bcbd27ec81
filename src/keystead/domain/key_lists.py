"""Lists of keys as people ask for them: filters, orders, and what the tabs count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from keystead.domain.key_hygiene import HygieneFinding
from keystead.domain.keys import KeyStatus

EXAMINED_KEYS: Final = 5_000
"""The newest keys of a tab that filters and orders examine: more would take longer than people wait."""
COUNTED_KEYS: Final = 1_000
"""The most ended keys that are counted exactly, and the most keys of one question."""


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
