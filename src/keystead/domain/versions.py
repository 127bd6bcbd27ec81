"""Versions of resources: entity tags, and the condition of a change.

A version rises with every change of an editable field, never with use, status or counts. A resource whose name can be
reused after a deletion starts with the time of its creation, so that no version is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from keystead.domain.errors import ChangedMeanwhile, InvalidRequest
from keystead.domain.instants import to_microseconds

_MEMBER: Final = re.compile(r'[ \t]*(?:(W/)?"([!\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|\Z)')
"""One member of the list, possibly empty (RFC 9110 sections 5.6.1 and 8.8.3), with the comma after it."""


def first_version(created_at: datetime) -> int:
    """Return the version of a new resource whose name may be reused."""
    return to_microseconds(created_at)


def etag(version: int) -> str:
    """Return the strong entity tag of a version (RFC 9110 section 8.8.3)."""
    return f'"{version}"'


@dataclass(frozen=True, slots=True)
class IfMatch:
    """The condition of a change: the versions it was made for. `versions` None is `*`, any existing version."""

    versions: frozenset[str] | None

    @classmethod
    def of_version(cls, version: str | int) -> Self:
        """Return the condition for one version."""
        return cls(frozenset([str(version)]))

    @classmethod
    def parse(cls, fields: Iterable[str]) -> Self:
        """Return the condition of `If-Match` fields (RFC 9110 section 13.1.1). Weak tags never match.

        Raises:
            InvalidRequest: The fields hold neither `*` nor a list of entity tags.
        """
        text = ",".join(fields)
        if text.strip(" \t") == "*":
            return cls(None)
        tags, position = set(), 0
        while position < len(text):
            member = _MEMBER.match(text, position)
            if member is None:
                raise InvalidRequest('If-Match must be * or a list of entity tags like "1", "2".')
            if member[2] is not None and member[1] is None:
                tags.add(member[2])
            position = member.end()
        return cls(frozenset(tags))

    def require(self, version: int | None) -> None:
        """Raise ChangedMeanwhile unless the change was made for `version`; None: the resource doesn't exist."""
        if version is None or (self.versions is not None and str(version) not in self.versions):
            raise ChangedMeanwhile(
                "The resource does not have the version in If-Match. Nothing was changed; read it again."
            )


def require_match(if_match: IfMatch | None, version: int | None) -> None:
    """Raise ChangedMeanwhile if there is a condition and it doesn't match."""
    if if_match is not None:
        if_match.require(version)
