"""A model of the generation: every interleaving of small configurations, with a crash of each writer at each step.

The model follows storage/freshness/generation_file.py and services/verification_cache.py as they
are built, one atomic step a line. Then each of their rules is removed, and the shortest history
with a wrong acceptance is found: a rule that can be removed unnoticed would not be a rule.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import pytest

INVALID = 0
UNLOCKED = -1

AnyValue = TypeVar("AnyValue")


class Actor(NamedTuple):
    """An actor's position in its program, and its local values."""

    at: str = "begin"
    word: int = INVALID
    knows_file: bool = False
    late: bool = False
    row_dead: bool = False
    left: int = 0


class State(NamedTuple):
    """A state. `words` counts the generations so far; `kept` is the tag of each process's entry, or None."""

    actors: tuple[Actor, ...]
    kept: tuple[int | None, ...]
    seen: tuple[int, ...]
    dead: bool = False
    told: bool = False
    lock: int = UNLOCKED
    file: bool = True
    word: int = 1
    words: int = 1


@dataclass(frozen=True)
class Writer:
    """A writer that revokes the key, or changes another one; it may die at any step."""

    ends: bool = True


@dataclass(frozen=True)
class Reader:
    """A thread of a process that verifies the key's token that many times."""

    process: int
    times: int = 2


@dataclass(frozen=True)
class Protocol:
    """The rules as they are built; each can be removed."""

    invalidates: bool = True
    publishes_after: bool = True
    publishes_before: bool = False
    publishes_under_lock: bool = True
    readers_publish: bool = False
    repeats_go_through: bool = True
    tags_before_row: bool = True
    tags_entries: bool = True
    creates_file_under_lock: bool = True
    promises_refusals: bool = True


@dataclass(frozen=True)
class Configuration:
    """The actors. `file`: whether the generation file exists already."""

    actors: Sequence[Writer | Reader]
    file: bool = True
    rules: Protocol = field(default_factory=Protocol)

    def first(self) -> State:
        """Return the initial state: the key is active, and no verification has begun."""
        actors = tuple(Actor(left=getattr(a, "times", 0)) for a in self.actors)
        processes = 1 + max(a.process for a in self.actors if isinstance(a, Reader))
        word = 1 if self.file else INVALID
        return State(actors, (None,) * processes, (word,) * processes, file=self.file, word=word)

    def next(self, state: State) -> Iterator[tuple[str, State]]:
        """Yield every step that is possible now, with the state after it."""
        for i, (kind, actor) in enumerate(zip(self.actors, state.actors, strict=True)):
            if actor.at == "end":
                continue
            if isinstance(kind, Reader):
                moves = self._read(state, i, actor, kind)
            else:
                moves = self._write(state, i, actor, kind)
                if actor.at != "begin":
                    free = UNLOCKED if state.lock == i else state.lock
                    yield f"writer {i} dies", _set(state, i, actor._replace(at="end"), lock=free)
            for what, after in moves:
                yield f"{type(kind).__name__.lower()} {i} {what}", after

    def _write(self, s: State, i: int, me: Actor, kind: Writer) -> Iterator[tuple[str, State]]:
        match me.at:
            case "begin" if s.lock != UNLOCKED:
                return
            case "begin":
                mine = me._replace(at="enter", knows_file=s.file, row_dead=s.dead)
                yield "takes the lock", _set(s, i, mine, lock=i)
            case "enter":
                at_once = me.row_dead and kind.ends and not self.rules.repeats_go_through
                on = me._replace(at="give up lock" if at_once else "change")
                if me.knows_file and s.word == INVALID:
                    yield "finds it invalid and publishes", _fresh(_set(s, i, on))
                else:
                    yield "finds a generation", _set(s, i, on)
            case "give up lock":
                yield "finds the key revoked", _set(s, i, me._replace(at="answer"), lock=UNLOCKED)
            case "change":
                yield self._change(s, i, me)
            case "commit":
                on = me._replace(at="publish" if self.rules.publishes_after else "answer")
                yield "commits", _set(s, i, on, lock=UNLOCKED, dead=s.dead or kind.ends)
            case "answer":
                yield "answers", _set(s, i, me._replace(at="end"), told=s.told or kind.ends)
            case _:
                yield from self._publish(s, i, me)

    def _change(self, s: State, i: int, me: Actor) -> tuple[str, State]:
        on = me._replace(at="commit")
        if self.rules.publishes_before and me.knows_file:
            return "publishes and changes the row", _fresh(_set(s, i, on))
        if self.rules.invalidates and me.knows_file:
            return "invalidates and changes the row", _set(s, i, on, word=INVALID)
        return "changes the row", _set(s, i, on)

    def _publish(self, s: State, i: int, me: Actor) -> Iterator[tuple[str, State]]:
        is_invalid = s.word == INVALID or not self.rules.invalidates
        answer = me._replace(at="answer")
        if me.at == "publish under lock":
            yield "publishes", _fresh(_set(s, i, me._replace(at="let go")))
        elif me.at == "let go":
            yield "lets go", _set(s, i, answer, lock=UNLOCKED)
        elif not me.knows_file or not is_invalid:
            yield "has nothing to publish", _set(s, i, answer)
        elif not self.rules.publishes_under_lock:
            yield "publishes without the lock", _fresh(_set(s, i, answer))
        elif s.lock == UNLOCKED:
            yield "takes the lock again", _set(s, i, me._replace(at="publish under lock"), lock=i)
        elif self.rules.invalidates:
            yield "leaves it to the holder of the lock", _set(s, i, answer)

    def _read(self, s: State, i: int, me: Actor, kind: Reader) -> Iterator[tuple[str, State]]:
        match me.at:
            case "begin":
                yield "begins", _set(s, i, me._replace(at="recall", late=s.told))
            case "recall" if self.rules.tags_entries:
                yield self._recall(s, i, me, kind)
            case "recall":
                yield self._recall_untagged(s, i, me, kind)
            case "tag":
                yield self._tag(s, i, me)
            case "make":
                yield "creates the file", _fresh(_set(s, i, me._replace(at="made"), file=True))
            case "made":
                free = UNLOCKED if s.lock == i else s.lock
                yield "goes to the row", _set(s, i, me._replace(at="row"), lock=free)
            case "row":
                yield "reads the row", _set(s, i, me._replace(at="keep", row_dead=s.dead))
            case "keep":
                yield self._keep(s, i, me, kind)

    def _keep(self, s: State, i: int, me: Actor, kind: Reader) -> tuple[str, State]:
        if me.row_dead:
            return "refuses", self._answered(s, i, me, accepts=False)
        tag = me.word if self.rules.tags_before_row else s.word
        if tag != INVALID or not self.rules.tags_entries:
            s = s._replace(kept=_put(s.kept, kind.process, tag))
        return "accepts by the row", self._answered(s, i, me, accepts=True)

    def _recall(self, s: State, i: int, me: Actor, kind: Reader) -> tuple[str, State]:
        tag = s.kept[kind.process]
        if tag is not None and s.file and tag == s.word:
            return "accepts from memory", self._answered(s, i, me, accepts=True)
        return "remembers nothing that holds", _set(s, i, me._replace(at="tag"))

    def _recall_untagged(self, s: State, i: int, me: Actor, kind: Reader) -> tuple[str, State]:
        p = kind.process
        on = me._replace(at="tag")
        if s.word == INVALID:
            return "finds it invalid", _set(s, i, on)
        if s.word != s.seen[p]:
            s = s._replace(kept=_put(s.kept, p, None), seen=_put(s.seen, p, s.word))
            return "forgets what was kept", _set(s, i, on)
        if s.kept[p] is not None:
            return "accepts from memory", self._answered(s, i, me, accepts=True)
        return "remembers nothing", _set(s, i, on)

    def _tag(self, s: State, i: int, me: Actor) -> tuple[str, State]:
        on = me._replace(at="row", word=s.word)
        if not s.file and not self.rules.creates_file_under_lock:
            return "will create the file", _set(s, i, on._replace(at="make"))
        if not s.file and s.lock == UNLOCKED:
            return "takes the lock to create the file", _set(s, i, on._replace(at="make"), lock=i)
        if s.file and s.word == INVALID and self.rules.readers_publish:
            return "publishes in a dead writer's place", _fresh(_set(s, i, me))
        return "reads the generation", _set(s, i, on)

    def _answered(self, s: State, i: int, me: Actor, *, accepts: bool) -> State:
        """Return the state after an answer; one that accepts and began late must never happen."""
        wrong = accepts and me.late
        left = me.left - 1
        mine = Actor(at="wrong" if wrong else "begin" if left else "end", left=left)
        told = s.told or (not accepts and self.rules.promises_refusals)
        return _set(s, i, mine, told=told)


def _set(state: State, i: int, actor: Actor, **changed: Any) -> State:
    return state._replace(actors=_put(state.actors, i, actor), **changed)


def _put(values: tuple[AnyValue, ...], place: int, value: AnyValue) -> tuple[AnyValue, ...]:
    return (*values[:place], value, *values[place + 1 :])


def _fresh(state: State) -> State:
    return state._replace(word=state.words + 1, words=state.words + 1)


def shortest_wrong(configuration: Configuration) -> tuple[list[str] | None, int]:
    """Return the shortest history that ends in a wrong acceptance, if any, and how many states were seen."""
    first = configuration.first()
    came: dict[State, tuple[State, str] | None] = {first: None}
    ahead = deque([first])
    while ahead:
        state = ahead.popleft()
        if any(actor.at == "wrong" for actor in state.actors):
            return _history(came, state), len(came)
        for what, after in configuration.next(state):
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


ONE = (Writer(), Reader(0), Reader(1))
ANOTHER = (Writer(ends=False), Writer(), Reader(0), Reader(1, times=1))
AGAIN = (Writer(), Writer(), Reader(0), Reader(1, times=1))
THREADS = (Writer(), Reader(0), Reader(0))
PATIENT = (Writer(), Reader(0, times=3))

LOSSES = [
    pytest.param(
        Protocol(invalidates=False), ONE, 16, id="commits, then publishes, without invalidating"
    ),
    pytest.param(
        Protocol(publishes_before=True, publishes_after=False),
        ONE,
        12,
        id="publishes before the commit only",
    ),
    pytest.param(
        Protocol(publishes_under_lock=False), ANOTHER, 18, id="publishes without the lock"
    ),
    pytest.param(
        Protocol(readers_publish=True), ONE, 14, id="a reader publishes in place of a dead writer"
    ),
    pytest.param(Protocol(tags_before_row=False), ONE, 15, id="the tag is read after the row"),
    pytest.param(
        Protocol(tags_entries=False), THREADS, 17, id="threads share one word, entries are untagged"
    ),
]


def _check(configuration: Configuration) -> int:
    history, states = shortest_wrong(configuration)
    assert history is None, history
    return states


@pytest.mark.parametrize("actors", [ONE, ANOTHER, AGAIN, THREADS, PATIENT])
def test_no_key_is_accepted_after_its_revocation(actors: Sequence[Writer | Reader]) -> None:
    """No verification that began after a revocation was acknowledged, or after a refusal, accepts (R29, R30).

    In every interleaving, with writers that die at every step.
    """
    assert _check(Configuration(actors)) > 300


@pytest.mark.parametrize("actors", [ONE, PATIENT])
def test_no_key_is_accepted_by_a_new_file(actors: Sequence[Writer | Reader]) -> None:
    """The guarantee holds if the file is created meanwhile."""
    assert _check(Configuration(actors, file=False)) > 300


@pytest.mark.prove
def test_no_key_is_accepted_among_many() -> None:
    """The guarantee holds for two writers that both revoke the key, and three readers of two processes; needs 1 GB."""
    many = (*AGAIN[:2], Reader(0), Reader(0, times=1), Reader(1, times=1))
    assert _check(Configuration(many)) > 1_000_000


@pytest.mark.parametrize(("rules", "actors", "steps"), LOSSES)
def test_every_rule_is_needed(
    rules: Protocol, actors: Sequence[Writer | Reader], steps: int
) -> None:
    """Without any one of its rules the protocol accepts a revoked key, and this is the shortest way to it."""
    history, _ = shortest_wrong(Configuration(actors, rules=rules))
    assert history is not None
    assert len(history) == steps, history
    assert "accepts" in history[-1]


def test_the_file_is_created_under_the_lock() -> None:
    """A writer that found no file invalidates nothing: entries by a file created meanwhile would outlive the key."""
    rules = Protocol(creates_file_under_lock=False)
    history, _ = shortest_wrong(Configuration(PATIENT, file=False, rules=rules))
    assert history is not None


def test_what_a_repetition_rests_on() -> None:
    """A revocation of a revoked key may answer immediately: INVALID is still set, or a generation followed.

    Without INVALID it must not: the first writer may have died between its commit and its
    generation.
    """
    at_once = Protocol(repeats_go_through=False)
    _check(Configuration(AGAIN, rules=at_once))
    twice = (Writer(), Writer(), Reader(0))
    answers = Protocol(invalidates=False, promises_refusals=False)
    _check(Configuration(twice, rules=answers))
    history, _ = shortest_wrong(
        Configuration(twice, rules=replace(answers, repeats_go_through=False))
    )
    assert history is not None
    assert "writer 1 finds the key revoked" in history
