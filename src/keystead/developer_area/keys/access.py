"""The access of a key: the grid of permissions as a form that chooses them and as a table that shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keystead.developer_area.web.contexts import Choice
from keystead.developer_area.web.forms import Form
from keystead.domain.access import (
    ABILITIES,
    NOTHING_CHANGES,
    NOTHING_CHOSEN,
    PHRASES,
    GridRow,
    Level,
    level_of,
    noun_of,
    others_of,
    rows_of,
    scopes_at,
    sentence_of,
)
from keystead.domain.errors import InvalidRequest
from keystead.domain.scopes import EVERYTHING, ScopeCatalog, Scopes

_FIELD: Final = "scope_"
_WRITE_ONLY: Final = "write_only"
_GONE: Final = "Permits nothing: this installation no longer has it"
_ALL_GONE: Final = "Can't do anything: this installation no longer has its permissions."


@dataclass(frozen=True, slots=True)
class GridCell:
    """A level that a form offers. `ability` is what the sentence makes of it; a disabled one may not be granted."""

    value: str
    text: str
    ability: str
    chosen: bool
    disabled: bool


@dataclass(frozen=True, slots=True)
class GridLine:
    """A resource in a form: a cell for each column, None if there is no such scope.

    `noun` is its name in the sentence. `write_only` says whether the box next to Write is checked, None without a box.
    `reason` says why a cell is disabled.
    """

    field: str
    resource: str
    text: str
    noun: str
    cells: Sequence[GridCell | None]
    write_only: bool | None
    reason: str


@dataclass(frozen=True, slots=True)
class Grid:
    """The choice of single permissions: the grid, boxes for scopes that don't fit it, and what each scope allows.

    `sentence` sums up what is chosen, `presets` each option above the grid; a script keeps it current with `phrases`.
    """

    lines: Sequence[GridLine]
    others: Sequence[Choice]
    scopes: Sequence[Choice]
    sentence: str
    presets: Mapping[str, str]
    phrases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AccessLine:
    """A resource on the page of a key: one text for each column, empty except in the one that applies."""

    text: str
    marks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Access:
    """What a key may do: a sentence, the grid, and its scopes with their descriptions."""

    sentence: str
    lines: Sequence[AccessLine]
    scopes: Sequence[Choice]


def scopes_in(form: Form) -> tuple[str, ...]:
    """Return the scopes that a form's grid and boxes name. InvalidRequest for a level that no form offers."""
    write_only, scopes = form.many(_WRITE_ONLY), list(form.many("scope"))
    for field in form.fields:
        if not field.startswith(_FIELD):
            continue
        resource, level = field.removeprefix(_FIELD), form.one(field)
        if level not in set(Level):
            raise InvalidRequest("The form is incomplete.")
        if level == Level.WRITE and resource in write_only:
            level = Level.WRITE_ONLY
        scopes += scopes_at(resource, Level(level))
    return tuple(scopes)


def grid_of(
    catalog: ScopeCatalog,
    allowed: Scopes,
    chosen: Iterable[str],
    *,
    reason: str,
    presets: Mapping[str, Scopes],
    access: str,
) -> Grid:
    """Return the grid of a form.

    Args:
        catalog: The scopes that there are.
        allowed: The scopes that may be granted.
        chosen: Those that are.
        reason: Why others may not be granted, with a place for the columns.
        presets: The scopes of each option above the grid.
        access: The chosen option, one of the presets or the grid itself.
    """
    descriptions = catalog.descriptions()
    names = [name for name in descriptions if name != EVERYTHING]
    granted = Scopes(name for name in chosen if allowed.permit(name))
    single = Scopes(name for name in names if granted.permit(name))
    summed_up = presets.get(access, single if access else Scopes())
    return Grid(
        lines=[_line(row, allowed, single, reason) for row in rows_of(names)],
        others=[
            Choice(name, name, descriptions[name], name in single)
            for name in others_of(names)
            if allowed.permit(name)
        ],
        scopes=[Choice(name, name, descriptions[name]) for name in names],
        sentence=present_sentence(summed_up, catalog),
        presets={value: present_sentence(scopes, catalog) for value, scopes in presets.items()},
        phrases={
            **{str(ability): phrase for ability, phrase in PHRASES.items()},
            "never": NOTHING_CHANGES,
            "nothing": NOTHING_CHOSEN,
        },
    )


def access_of(scopes: Scopes, catalog: ScopeCatalog) -> Access:
    """Return a key's access for display. Scopes that there are no more are only listed."""
    descriptions = catalog.descriptions()
    rows = rows_of(descriptions)
    return Access(
        sentence=present_sentence(scopes, catalog),
        lines=[AccessLine(_title(row), _marks(level_of(row, scopes))) for row in rows],
        scopes=[Choice(scope, scope, descriptions.get(scope, _GONE)) for scope in scopes],
    )


def present_sentence(scopes: Scopes, catalog: ScopeCatalog) -> str:
    """Return what a key can do with those of its scopes that there still are."""
    known = catalog.known(scopes)
    return _ALL_GONE if scopes and not known else sentence_of(known)


def _line(row: GridRow, allowed: Scopes, chosen: Scopes, reason: str) -> GridLine:
    resource = row.resource
    may_read, may_write = (
        there and allowed.permit(f"{resource}:{action}")
        for there, action in ((row.reads, "read"), (row.writes, "write"))
    )
    level = level_of(row, chosen)
    writing = Level.WRITE if may_read else Level.WRITE_ONLY
    is_writing = level in {Level.WRITE, Level.WRITE_ONLY}
    refused = [
        text
        for text, there, may in (("Read", row.reads, may_read), ("Write", row.writes, may_write))
        if there and not may
    ]

    def cell(level: Level, text: str, chosen: bool, disabled: bool = False) -> GridCell:
        return GridCell(level, text, ABILITIES.get(level, ""), chosen, disabled)

    return GridLine(
        field=f"{_FIELD}{resource}",
        resource=resource,
        text=_title(row),
        noun=noun_of(resource),
        cells=[
            cell(Level.NONE, "None", level is Level.NONE),
            cell(Level.READ, "Read", level is Level.READ, not may_read) if row.reads else None,
            cell(writing, "Write", is_writing, not may_write) if row.writes else None,
        ],
        write_only=level is Level.WRITE_ONLY if may_read and may_write else None,
        reason=reason.format(" and ".join(refused)) if refused else "",
    )


def _title(row: GridRow) -> str:
    return row.resource.capitalize()


def _marks(level: Level) -> Sequence[str]:
    texts = {Level.WRITE: "Write", Level.WRITE_ONLY: "Write only"}
    return (
        "None" if level is Level.NONE else "",
        "Read" if level is Level.READ else "",
        texts.get(level, ""),
    )
