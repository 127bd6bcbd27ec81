"""Scopes (`resource:action`): the available ones, and what a set of them permits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

EVERYTHING = "*"
KEYS_READ = "keys:read"
KEYS_WRITE = "keys:write"
COLLECTIONS_READ = "collections:read"
COLLECTIONS_WRITE = "collections:write"
DOCUMENTS_READ = "documents:read"
DOCUMENTS_WRITE = "documents:write"
EVENTS_READ = "events:read"
WEBHOOKS_READ = "webhooks:read"
WEBHOOKS_WRITE = "webhooks:write"
PLAN_READ = "plan:read"

BUILT_IN: Mapping[str, str] = {
    EVERYTHING: "Read and write all of the workspace's data, but not its keys",
    KEYS_READ: "View the workspace's keys",
    KEYS_WRITE: "Create, change, rotate and revoke keys",
    COLLECTIONS_READ: "List collections",
    COLLECTIONS_WRITE: "Create, change and delete collections",
    DOCUMENTS_READ: "Read and search documents",
    DOCUMENTS_WRITE: "Push, replace and delete documents",
    EVENTS_READ: "Read events",
    WEBHOOKS_READ: "View webhooks and their deliveries",
    WEBHOOKS_WRITE: "Create, change, test and delete webhooks",
    PLAN_READ: "View the plan and its usage",
}
READ_ONLY = (
    KEYS_READ,
    COLLECTIONS_READ,
    DOCUMENTS_READ,
    EVENTS_READ,
    WEBHOOKS_READ,
    PLAN_READ,
)

OF_DOCUMENTS = frozenset({COLLECTIONS_READ, COLLECTIONS_WRITE, DOCUMENTS_READ, DOCUMENTS_WRITE})
"""The scopes of the document store. An installation without it grants none of them."""

_FORM = re.compile(r"[a-z][a-z0-9_-]{0,39}:[a-z][a-z0-9_-]{0,39}")


def is_scope(text: str) -> bool:
    """Return whether `text` has the form `resource:action`, which `*` has not."""
    return _FORM.fullmatch(text) is not None


class Scopes:
    """An immutable set of scopes, in alphabetical order."""

    __slots__ = ("_names", "_sorted")

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(names)
        self._sorted = tuple(sorted(self._names))

    @classmethod
    def parse(cls, text: str) -> Scopes:
        """Return the scopes of a text, separated by spaces (RFC 6749 section 3.3)."""
        return cls(text.split())

    def permit(self, required: str) -> bool:
        """Return whether these include `required`, by name or by `*`, which never covers `keys:write`."""
        names = self._names
        return required in names or (required != KEYS_WRITE and EVERYTHING in names)

    def cover(self, others: Scopes) -> bool:
        """Return whether these permit every scope of `others`; only `*` covers `*`."""
        return all(self.permit(other) for other in others)

    def without(self, scope: str) -> Scopes:
        """Return these scopes without one."""
        return Scopes(self._names - {scope})

    def __iter__(self) -> Iterator[str]:
        return iter(self._sorted)

    def __len__(self) -> int:
        return len(self._names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scopes) and self._names == other._names

    def __hash__(self) -> int:
        return hash(self._names)

    def __str__(self) -> str:
        return " ".join(self)

    def __repr__(self) -> str:
        return f"Scopes({str(self)!r})"


FULL = Scopes([EVERYTHING])


@dataclass(frozen=True)
class ScopeCatalog:
    """The scopes that keys may be given: the built-in ones and those that the product adds.

    Without the document store its scopes are unknown. Keys that have them keep them, and they permit nothing.
    """

    added: Mapping[str, str] = field(default_factory=dict)
    has_documents: bool = True

    def __post_init__(self) -> None:
        for scope in self.added:
            if not is_scope(scope):
                raise ValueError(f"{scope!r} must have the form resource:action")
            if scope in BUILT_IN:
                raise ValueError(f"{scope!r} is a built-in scope")

    def descriptions(self) -> Mapping[str, str]:
        """Return a description for people for each scope."""
        known = {**BUILT_IN, **self.added}
        return {scope: text for scope, text in known.items() if scope in self}

    @property
    def read_only(self) -> Scopes:
        """Return the scopes of keys that only read."""
        return self.known(Scopes(READ_ONLY))

    def known(self, scopes: Scopes) -> Scopes:
        """Return those of the scopes that may be given."""
        return Scopes(scope for scope in scopes if scope in self)

    def __contains__(self, scope: object) -> bool:
        if scope in OF_DOCUMENTS:
            return self.has_documents
        return scope in BUILT_IN or scope in self.added
