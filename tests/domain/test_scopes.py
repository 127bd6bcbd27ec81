from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain import scopes
from keystead.domain.scopes import ScopeCatalog, Scopes

NAMES = st.sampled_from([*scopes.BUILT_IN, "invoices:read", "later:scope"])
SETS = st.frozensets(NAMES).map(Scopes)


def permitted(held: Scopes) -> set[str]:
    """Return every tested scope that these permit."""
    return {
        name for name in (*scopes.BUILT_IN, "invoices:read", "later:scope") if held.permit(name)
    }


@given(SETS, SETS)
def test_covering_is_permitting_all(holder: Scopes, asked: Scopes) -> None:
    """A set covers another exactly if the other permits only what it permits itself."""
    assert holder.cover(asked) == (permitted(asked) <= permitted(holder))


@given(SETS, SETS, SETS)
def test_covering_is_an_order(one: Scopes, two: Scopes, three: Scopes) -> None:
    """Covering is reflexive and transitive: no chain of keys ends with more than it began with."""
    assert one.cover(one)
    if one.cover(two) and two.cover(three):
        assert one.cover(three)


@given(SETS)
def test_everything_but_keys(held: Scopes) -> None:
    """`*` permits every scope, including later ones, but `keys:write` must be named."""
    assert held.permit(scopes.KEYS_WRITE) == (scopes.KEYS_WRITE in set(held))
    if scopes.EVERYTHING in set(held):
        assert permitted(held) | {scopes.KEYS_WRITE} == permitted(Scopes(NAMES_OF_ALL))


NAMES_OF_ALL = (*scopes.BUILT_IN, "invoices:read", "later:scope")


@given(SETS)
def test_only_everything_covers_everything(held: Scopes) -> None:
    """All named scopes together are not `*`, which covers scopes that do not exist yet."""
    assert held.cover(scopes.FULL) == (scopes.EVERYTHING in set(held))


def test_star_never_covers_keys_write() -> None:
    """A holder of `*` cannot hand out `keys:write`."""
    assert not scopes.FULL.cover(Scopes([scopes.KEYS_WRITE]))
    assert not scopes.FULL.permit(scopes.KEYS_WRITE)
    assert scopes.FULL.permit(scopes.KEYS_READ)


@given(SETS)
def test_no_scopes_permit_nothing(held: Scopes) -> None:
    """The empty set permits nothing and is covered by every set."""
    assert not permitted(Scopes())
    assert held.cover(Scopes())


@given(SETS)
def test_written_form(held: Scopes) -> None:
    """Scopes are written in alphabetical order, separated by spaces, and read back the same."""
    assert Scopes.parse(str(held)) == held
    assert str(held).split(" ") == sorted(held) or not len(held)


@given(SETS, NAMES)
def test_without(held: Scopes, name: str) -> None:
    """Removing a scope removes exactly that one."""
    assert set(held.without(name)) == set(held) - {name}


@given(SETS, SETS)
def test_equality_and_hash(one: Scopes, other: Scopes) -> None:
    """Two sets are equal when they hold the same scopes, and then hash alike."""
    assert (one == other) == (set(one) == set(other))
    assert one != other or hash(one) == hash(other)
    assert one != set(one)


def test_no_part_of_a_scope_permits() -> None:
    """A scope permits only itself: no prefix, no longer name, no other case, no wildcard inside."""
    scopes = Scopes(["documents:read"])
    for name in ("documents", "documents:", "documents:rea", "documents:read2", "Documents:read"):
        assert not scopes.permit(name)
    assert not Scopes(["documents:*", "*:read"]).permit("documents:read")


def test_a_product_adds_scopes() -> None:
    """A product's own scopes are listed after the built-in ones, with their descriptions."""
    catalog = ScopeCatalog({"invoices:read": "Read invoices"})
    assert "invoices:read" in catalog
    assert "documents:read" in catalog
    assert "invoices:write" not in catalog
    assert catalog.descriptions()["invoices:read"] == "Read invoices"


@pytest.mark.parametrize(
    "scope",
    [
        "invoices",
        "Invoices:read",
        "invoices:",
        ":read",
        "a b:c",
        "a:b:c",
        "a:b ",
        'a:"b',
        "*",
        "*:*",
    ],
)
def test_bad_product_scopes(scope: str) -> None:
    """A product's scope is of the form resource:action, fit for a challenge's scope attribute (RFC 6750)."""
    with pytest.raises(ValueError, match="resource:action"):
        ScopeCatalog({scope: "Something"})


def test_built_in_scopes_keep_their_meaning() -> None:
    """A product cannot redefine a built-in scope."""
    with pytest.raises(ValueError, match="built-in"):
        ScopeCatalog({"keys:write": "Something else"})
