"""Access as people choose it: a grid of resources with None, Read and Write, and the sentence that sums it up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from keystead.domain.scopes import EVERYTHING, KEYS_WRITE, Scopes

_READ: Final = "read"
_WRITE: Final = "write"
_ORDER: Final = ("keys", "collections", "documents", "events", "webhooks", "plan")
"""The resources that come first, in this order. The product's own follow by name."""


class Level(StrEnum):
    """What a row of the grid grants. `WRITE` includes reading."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    WRITE_ONLY = "write-only"


class Ability(StrEnum):
    """What a key can do with a resource, or with a scope that the grid has no row for."""

    READ = "read"
    BOTH = "both"
    CHANGE = "change"
    USE = "use"


_ACTIONS: Final[Mapping[Level, tuple[str, ...]]] = {
    Level.NONE: (),
    Level.READ: (_READ,),
    Level.WRITE: (_READ, _WRITE),
    Level.WRITE_ONLY: (_WRITE,),
}
ABILITIES: Final[Mapping[Level, Ability]] = {
    Level.READ: Ability.READ,
    Level.WRITE: Ability.BOTH,
    Level.WRITE_ONLY: Ability.CHANGE,
}
PHRASES: Final[Mapping[Ability, str]] = {
    Ability.READ: "Can read {}.",
    Ability.BOTH: "Can read and change {}.",
    Ability.CHANGE: "Can change {} (write only).",
    Ability.USE: "Can use {}.",
}
"""The parts of the sentence, in its order. Pages give them to the script that keeps the sentence current."""
NOTHING_CHANGES: Final = "Can't change anything."
NOTHING_CHOSEN: Final = "No permissions chosen yet."
_ALL: Final = "Can read and change all data. Can't change keys."
_ALL_AND_KEYS: Final = "Can read and change all data and keys."


@dataclass(frozen=True, slots=True)
class GridRow:
    """A resource: whether any scope reads it, and whether any scope changes it."""

    resource: str
    reads: bool
    writes: bool


def rows_of(names: Iterable[str]) -> Sequence[GridRow]:
    """Return the rows of a grid in which these scopes can be chosen, apart from `others_of` them."""
    actions = defaultdict[str, set[str]](set)
    for name in names:
        resource, _, action = name.partition(":")
        if action in {_READ, _WRITE}:
            actions[resource].add(action)
    rows = [
        GridRow(resource, _READ in found, _WRITE in found) for resource, found in actions.items()
    ]
    return sorted(rows, key=lambda row: _place(row.resource))


def others_of(names: Iterable[str]) -> Sequence[str]:
    """Return those scopes that a grid has no cell for: `*`, and those with another action than read or write."""
    return sorted(name for name in names if name.partition(":")[2] not in {_READ, _WRITE})


def level_of(row: GridRow, scopes: Scopes) -> Level:
    """Return what the scopes permit with a resource, by those of its scopes that there are."""
    permitted = tuple(
        action
        for there, action in ((row.reads, _READ), (row.writes, _WRITE))
        if there and scopes.permit(f"{row.resource}:{action}")
    )
    return next(level for level, actions in _ACTIONS.items() if actions == permitted)


def scopes_at(resource: str, level: Level) -> Sequence[str]:
    """Return the scopes that a row grants at that level."""
    return [f"{resource}:{action}" for action in _ACTIONS[level]]


def noun_of(resource: str) -> str:
    """Return a resource as the sentence names it."""
    return "the plan" if resource == "plan" else resource


def sentence_of(scopes: Scopes) -> str:
    """Return what a key with these scopes can do, such as `Can read and change documents.`."""
    if scopes.permit(EVERYTHING):
        return _ALL_AND_KEYS if scopes.permit(KEYS_WRITE) else _ALL
    abilities = defaultdict[Ability, list[str]](list)
    for row in rows_of(scopes):
        ability = ABILITIES[level_of(row, scopes)]
        abilities[ability].append(noun_of(row.resource))
    abilities[Ability.USE] += others_of(scopes)
    parts = [PHRASES[each].format(_listed(abilities[each])) for each in PHRASES if abilities[each]]
    if not parts:
        return NOTHING_CHOSEN
    only_reads = len(parts) == 1 and abilities[Ability.READ]
    return " ".join([*parts, NOTHING_CHANGES] if only_reads else parts)


def _place(resource: str) -> tuple[int, str]:
    place = _ORDER.index(resource) if resource in _ORDER else len(_ORDER)
    return place, resource


def _listed(nouns: Sequence[str]) -> str:
    *first, last = nouns
    return f"{', '.join(first)} and {last}" if first else last
