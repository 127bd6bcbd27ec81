"""Shares: an owner that wants every place leaves some to the others, however many there are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.ids import WorkspaceId
from keystead.domain.shares import FreePlaces, Shares


def places_of(shares: Shares[Any], owner: str) -> int:
    """Return how many places the owner gets when it asks for all."""
    count = 0
    while shares.take(owner):
        count += 1
    return count


@pytest.mark.parametrize(("greedy", "each"), [(1, 32), (3, 16), (63, 1)])
def test_a_newcomer_finds_a_place(greedy: int, each: int) -> None:
    """Of 64 places one owner gets half, three get a quarter each, and the 64th owner still gets one."""
    shares: Shares[object] = Shares(64)
    places = [0] * greedy
    while any(step := [int(shares.take(str(owner))) for owner in range(greedy)]):
        places = [sum(pair) for pair in zip(places, step, strict=True)]
    assert set(places) == {each}
    assert shares.take("newcomer")


def test_one_after_another_leaves_a_place_too() -> None:
    """Owners that come one after another, each taking all it can get, leave a place to at least six others."""
    shares: Shares[object] = Shares(64)
    assert [places_of(shares, owner) for owner in "abcdef"] == [32, 16, 8, 4, 2, 1]
    assert shares.take("newcomer")


def test_the_one_with_the_fewest_is_next() -> None:
    """A freed place goes to the waiting owner with the fewest, not to the one that has waited longest."""
    shares: Shares[str] = Shares(4)
    assert places_of(shares, "greedy") == 2
    shares.wait("greedy", "third")
    assert shares.take("b")
    assert shares.take("c")
    shares.wait("d", "first")
    assert shares.give_back("greedy") == ["first"]
    assert shares.give_back("b") == []
    assert shares.give_back("c") == ["third"]


def test_a_waiter_that_left_gets_no_place() -> None:
    """A waiter that left gets no place; one that has a place cannot leave."""
    shares: Shares[str] = Shares(1)
    assert shares.take("a")
    shares.wait("b", "early")
    shares.wait("b", "late")
    assert shares.leave("b", "early")
    assert shares.give_back("a") == ["late"]
    assert not shares.leave("b", "late")


@given(places=st.integers(0, 12), steps=st.lists(st.tuples(st.sampled_from("abcd"), st.booleans())))
def test_places_are_never_lost(places: int, steps: list[tuple[str, bool]]) -> None:
    """In any order of calls, no more places are in use than exist, and finally all are free again."""
    shares: Shares[str] = Shares(places)
    owners: list[str] = []
    for owner, gives in steps:
        if gives and owner in owners:
            owners.remove(owner)
            owners += shares.give_back(owner)
        elif shares.take(owner):
            owners.append(owner)
        else:
            shares.wait(owner, owner)
        assert len(owners) <= places
    while owners:
        owners += shares.give_back(owners.pop())
    assert shares._free == places


@pytest.mark.parametrize(
    ("wanting", "held", "free", "admitted"),
    [
        ("abcabc", {}, 8, 6),
        ("aaaaaaaaa", {}, 8, 4),
        ("ba", {"a": 3}, 4, 1),
        ("a", {}, 0, 0),
    ],
)
def test_a_batch_is_admitted_in_turn(
    wanting: str, held: dict[str, int], free: int, admitted: int
) -> None:
    """A batch admits as many requests as would get a place one after the other."""
    places = FreePlaces(free, {WorkspaceId(owner): count for owner, count in held.items()})
    assert places.admitted(map(WorkspaceId, wanting)) == admitted
