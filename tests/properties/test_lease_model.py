"""A model of the lease: every interleaving of a failover with the two servers that are on either side of it.

The model is of storage/lease.py and the waits of storage/database.py, one atomic step a line, with time in ticks of
which the lease has a few. One server reads the old primary for ever, where the key lives; the other ends the key at the
promoted standby. Then each rule is taken away, and the shortest history in which somebody is wrongly accepted is found.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest

OLD, NEW = "the old primary", "the new primary"
NOBODY = ""


class State(NamedTuple):
    """One moment.

    Of the server at the old primary: whose lease it has and for how many ticks, its renewal under way (`sent` to whom,
    `age` in ticks, confirmed or not), and its verification. Of the other one: for how many ticks it has been confirmed
    by the new primary, None: never; and its act.
    """

    promoted: bool = False
    third: str = NOBODY
    lease_of: str = NOBODY
    left: int = 0
    sent: str = NOBODY
    age: int = 0
    confirmed: bool = False
    asks: str = "idle"
    late: bool = False
    settled: int | None = None
    act: str = "idle"
    dead: bool = False
    told: bool = False
    wrong: bool = False


@dataclass(frozen=True)
class Rules:
    """As they are built; each can be taken away."""

    needs_confirmation: bool = True
    counts_from_the_beginning: bool = True
    counts_sleep: bool = True
    checks_after_the_question: bool = True
    is_bound_to_the_server: bool = True
    waits: bool = True
    waits_before_the_act: bool = True
    begins_anew_with_a_primary: bool = True
    needs_a_majority: bool = True


@dataclass(frozen=True)
class World:
    """`ticks`: how long a lease is. `three`: there is a second standby, which follows one primary at a time."""

    ticks: int = 2
    three: bool = False
    rules: Rules = Rules()

    def first(self) -> State:
        """Nothing has happened; the key lives everywhere."""
        return State(third=OLD if self.three else NOBODY)

    def next(self, s: State) -> Iterator[tuple[str, State]]:
        """What may happen now."""
        if not s.promoted:
            yield "the standby is promoted", s._replace(promoted=True)
        if s.promoted and s.third == OLD:
            yield "the third follows the new primary", s._replace(third=NEW)
        yield "a tick", self._tick(s, counted=True)
        yield "a tick while the old server sleeps", self._tick(s, counted=self.rules.counts_sleep)
        yield from self._renew(s)
        yield from self._verify(s)
        if s.promoted:
            yield from self._end(s)

    def _tick(self, s: State, *, counted: bool) -> State:
        one = 1 if counted else 0
        settled = None if s.settled is None else min(s.settled + 1, self.ticks)
        age = min(s.age + one, self.ticks) if s.sent else 0
        return s._replace(left=max(s.left - one, 0), age=age, settled=settled)

    def _confirms(self, s: State, primary: str) -> bool:
        """Whether somebody is there who confirms what that primary commits."""
        if primary == OLD:
            return not s.promoted or s.third == OLD or not self.rules.needs_confirmation
        return s.promoted and (s.third != OLD or not self.rules.needs_a_majority)

    def _renew(self, s: State) -> Iterator[tuple[str, State]]:
        if not s.sent:
            yield "asks the old primary for a lease", s._replace(sent=OLD)
            if s.promoted:
                yield "asks the new primary for a lease", s._replace(sent=NEW)
        elif not s.confirmed and self._confirms(s, s.sent):
            yield f"{s.sent} has it confirmed", s._replace(confirmed=True)
        elif s.confirmed:
            left = self.ticks - (s.age if self.rules.counts_from_the_beginning else 0)
            done = s._replace(lease_of=s.sent, left=left, sent=NOBODY, age=0, confirmed=False)
            yield f"hears of it from {s.sent}", done

    def _verify(self, s: State) -> Iterator[tuple[str, State]]:
        after = self.rules.checks_after_the_question
        match s.asks:
            case "idle" if after:
                yield "is asked", s._replace(asks="asked", late=s.told)
            case "idle" if self._holds(s):
                yield "looks at its lease", s._replace(asks="may")
            case "may" if not after:
                yield "is asked", s._replace(asks="checked", late=s.told)
            case "asked" if self._holds(s):
                yield "looks at its lease", s._replace(asks="checked")
            case "asked":
                yield "says that it is not available", s._replace(asks="idle", late=False)
            case "checked":
                yield "accepts", s._replace(asks="idle", late=False, wrong=s.late)

    def _holds(self, s: State) -> bool:
        return s.left > 0 and (s.lease_of == OLD or not self.rules.is_bound_to_the_server)

    def _end(self, s: State) -> Iterator[tuple[str, State]]:
        confirms = self._confirms(s, NEW)
        if s.settled is None and confirms:
            anew = self.rules.begins_anew_with_a_primary
            yield "the other is confirmed", s._replace(settled=0 if anew else self.ticks)
        if s.settled is None:
            return
        waited = s.settled >= self.ticks or not self.rules.waits
        before = self.rules.waits_before_the_act
        if s.act == "idle" and (waited or not before):
            yield "the other ends the key", s._replace(act="done", dead=True)
        if s.act == "done" and confirms and (waited or before):
            yield "the other answers", s._replace(act="answered", told=True)
        if s.dead and not s.told:
            yield "the other refuses the key", s._replace(told=True)


def shortest_wrong(world: World) -> tuple[list[str] | None, int]:
    """The shortest history that ends in a wrong acceptance, if there is one, and how many states were seen."""
    came: dict[State, tuple[State, str] | None] = {world.first(): None}
    ahead = deque(came)
    while ahead:
        state = ahead.popleft()
        if state.wrong:
            return _history(came, state), len(came)
        for what, after in world.next(state):
            if after not in came:
                came[after] = (state, what)
                ahead.append(after)
    return None, len(came)


def _history(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    steps: list[str] = []
    while (step := came[state]) is not None:
        state, what = step
        steps.append(what)
    return steps[::-1]


RULES = Rules()
LOSSES = [
    pytest.param(
        replace(RULES, needs_confirmation=False), False, id="an unconfirmed commit counts"
    ),
    pytest.param(
        replace(RULES, counts_from_the_beginning=False), False, id="it counts from the confirmation"
    ),
    pytest.param(replace(RULES, counts_sleep=False), False, id="the clock stops with the machine"),
    pytest.param(
        replace(RULES, checks_after_the_question=False), False, id="it is looked at before one asks"
    ),
    pytest.param(
        replace(RULES, is_bound_to_the_server=False), False, id="any server's lease counts for any"
    ),
    pytest.param(replace(RULES, waits=False), False, id="acts wait for nobody"),
    pytest.param(
        replace(RULES, waits_before_the_act=False), False, id="only the answer of the act waits"
    ),
    pytest.param(
        replace(RULES, begins_anew_with_a_primary=False),
        False,
        id="who waited once never does again",
    ),
    pytest.param(
        replace(RULES, needs_a_majority=False), True, id="both primaries have somebody to confirm"
    ),
]


@pytest.mark.parametrize("ticks", [1, 2, 3, 5])
@pytest.mark.parametrize("three", [False, True], ids=["one standby", "two standbys"])
def test_nobody_is_accepted_after_the_end(ticks: int, three: bool) -> None:
    """No verification that began after the end was answered, or after anybody was refused, is accepted (R37)."""
    history, states = shortest_wrong(World(ticks, three))
    assert history is None, history
    assert states > 300


@pytest.mark.parametrize(("rules", "three"), LOSSES)
def test_every_rule_is_needed(rules: Rules, three: bool) -> None:
    """Without any one of its rules the old server accepts a key that has ended, and this is the shortest way to it."""
    history, _ = shortest_wrong(World(2, three, rules))
    assert history is not None
    assert history[-1] == "accepts"


def test_what_is_waited_for_happens() -> None:
    """The model is not safe by standing still: the end is answered, and the old server accepts before it."""
    seen, ahead = {World(2).first()}, deque([World(2).first()])
    while ahead:
        for _, after in World(2).next(ahead.popleft()):
            if after not in seen:
                seen.add(after)
                ahead.append(after)
    assert any(state.act == "answered" for state in seen)
    assert any(state.asks == "checked" and state.dead for state in seen)
