"""The sentence about a key's access says what its scopes permit, no more and no less, for every combination."""

from __future__ import annotations

import itertools
import re

import pytest

from keystead.domain.access import (
    NOTHING_CHANGES,
    NOTHING_CHOSEN,
    Level,
    level_of,
    others_of,
    rows_of,
    scopes_at,
    sentence_of,
)
from keystead.domain.scopes import BUILT_IN, EVERYTHING, FULL, KEYS_WRITE, Scopes

NAMES = [*BUILT_IN, "invoices:read", "reports:run"]
SINGLE = [name for name in NAMES if name != EVERYTHING]
ACTIONS = {
    "read": ("read",),
    "read and change": ("read", "write"),
    "change": ("write",),
}
PART = re.compile(
    r"Can (read|read and change|change|use) ((?!and change)[^.]*?)(?: \(write only\))?\."
)


def scopes_said(sentence: str) -> set[str]:
    """Return the scopes that a sentence names, read without the code that writes it."""
    scopes = set()
    for verb, nouns in PART.findall(sentence):
        for noun in re.split(", | and ", nouns):
            if verb == "use":
                scopes.add(noun)
            else:
                resource = noun.removeprefix("the ")
                scopes |= {f"{resource}:{action}" for action in ACTIONS[verb]}
    return scopes


def test_every_combination_is_said() -> None:
    """A reader of the sentence knows exactly the scopes; it says that nothing changes if only reading is granted."""
    for size in range(1, len(SINGLE) + 1):
        for chosen in itertools.combinations(SINGLE, size):
            sentence = sentence_of(Scopes(chosen))
            assert scopes_said(sentence) == set(chosen), sentence
            only_reads = all(name.endswith(":read") for name in chosen)
            assert sentence.endswith(NOTHING_CHANGES) is only_reads


@pytest.mark.parametrize(
    ("scopes", "sentence"),
    [
        ("documents:read", "Can read documents. Can't change anything."),
        (
            "documents:read keys:read plan:read",
            "Can read keys, documents and the plan. Can't change anything.",
        ),
        (
            "documents:read documents:write events:read",
            "Can read events. Can read and change documents.",
        ),
        ("documents:write", "Can change documents (write only)."),
        ("reports:run orders:write", "Can change orders (write only). Can use reports:run."),
        ("*", "Can read and change all data. Can't change keys."),
        ("* keys:write", "Can read and change all data and keys."),
        ("* documents:read", "Can read and change all data. Can't change keys."),
        ("", NOTHING_CHOSEN),
    ],
)
def test_the_sentence_in_words(scopes: str, sentence: str) -> None:
    """Resources have one order; what is only read comes first."""
    assert sentence_of(Scopes.parse(scopes)) == sentence


def test_levels_and_scopes_are_the_same() -> None:
    """The levels of all rows, together with the scopes that no row has, are any set of scopes."""
    for size in range(len(SINGLE) + 1):
        for chosen in itertools.combinations(SINGLE, size):
            scopes = Scopes(chosen)
            levels = {row.resource: level_of(row, scopes) for row in rows_of(SINGLE)}
            granted = [
                scope for resource, level in levels.items() for scope in scopes_at(resource, level)
            ]
            assert Scopes([*granted, *others_of(chosen)]) == scopes


def test_full_access_writes_everything_but_keys() -> None:
    """`*` is what a row has at most, and Read in that of keys."""
    rows = {row.resource: row for row in rows_of([*BUILT_IN, "invoices:read", "mail:write"])}
    levels = {resource: level_of(row, FULL) for resource, row in rows.items()}
    reads = {resource for resource, level in levels.items() if level is Level.READ}
    assert reads == {"keys", "events", "plan", "invoices"}
    assert levels["mail"] is Level.WRITE_ONLY
    assert levels["documents"] is Level.WRITE
    both = Scopes([EVERYTHING, KEYS_WRITE])
    assert level_of(rows["keys"], both) is Level.WRITE


def test_rows_have_one_order() -> None:
    """The built-in resources come first, then the product's own; a row has only the levels that there are."""
    rows = rows_of(["zebra:write", "apples:read", *BUILT_IN, "reports:run"])
    assert [row.resource for row in rows] == [
        *("keys", "collections", "documents", "events", "webhooks", "plan"),
        *("apples", "zebra"),
    ]
    assert [(row.reads, row.writes) for row in rows[-3:]] == [
        (True, False),
        (True, False),
        (False, True),
    ]
