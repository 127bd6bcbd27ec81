"""The judgement of a history is exact: it agrees with trying every order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keystead_prove.race.history import NEVER, Answer, Judgement, Kind, Operation, judge

ABSENT, ACTIVE, DEAD = range(3)


def verify(began: int, ended: int, *, accepted: bool, server: int = 0) -> Operation:
    """Return one verification."""
    answer = Answer.ACCEPTED if accepted else Answer.REFUSED
    return Operation(server, Kind.VERIFY, began, ended, answer)


def write(kind: Kind, began: int, ended: int, answer: Answer = Answer.DONE) -> Operation:
    """Return a creation or a revocation."""
    return Operation(0, kind, began, ended, answer)


def explained(order: Sequence[Operation]) -> bool:
    """Return whether every answer is right if the operations happened in this order."""
    state = ABSENT
    for operation in order:
        match operation.kind:
            case Kind.CREATE if state == ABSENT:
                state = ACTIVE
            case Kind.END if state != ABSENT:
                state = DEAD
            case Kind.END if operation.answer is Answer.DONE:
                return False
            case Kind.VERIFY if (operation.answer is Answer.ACCEPTED) != (state == ACTIVE):
                return False
            case _:
                pass
    return True


def in_time(order: Sequence[Operation]) -> bool:
    """Return whether no operation comes after one that began only when it had ended."""
    latest = -NEVER
    for operation in order:
        if operation.ended < latest:
            return False
        latest = max(latest, operation.began)
    return True


def linearizable(history: Sequence[Operation]) -> bool:
    """Try every order: an unanswered write may happen at any time after its beginning."""
    open_ended = [
        write(o.kind, o.began, NEVER, o.answer) if o.answer is Answer.UNKNOWN else o
        for o in history
    ]
    return any(in_time(order) and explained(order) for order in permutations(open_ended))


moments = st.integers(0, 8)


@st.composite
def operations(draw: st.DrawFn, kind: Kind, answers: Sequence[Answer]) -> Operation:
    """Draw an operation of that kind; its times are small, so that they often coincide."""
    start, end = sorted((draw(moments), draw(moments)))
    return Operation(0, kind, start, end, draw(st.sampled_from(answers)))


writes = (Answer.DONE, Answer.DONE, Answer.UNKNOWN)
histories = st.builds(
    lambda creation, endings, reads: [creation, *endings, *reads],
    operations(Kind.CREATE, writes),
    st.lists(operations(Kind.END, writes), max_size=2),
    st.lists(operations(Kind.VERIFY, (Answer.ACCEPTED, Answer.REFUSED)), max_size=4),
)


@settings(max_examples=700)
@given(histories)
def test_one_pass_agrees_with_every_order(history: list[Operation]) -> None:
    """A history holds exactly if some order in time explains every answer."""
    creation, endings = history[0], [o for o in history if o.kind is Kind.END]
    assume(all(end.ended >= creation.began for end in endings))
    assert judge(history).holds is linearizable(history)


@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_recording_does_not_matter(history: list[Operation], random: Random) -> None:
    """Threads record in any order."""
    shuffled = list(history)
    random.shuffle(shuffled)
    assert judge(shuffled) == judge(history)


CREATED, ENDED = write(Kind.CREATE, 0, 10), write(Kind.END, 100, 110)


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ([verify(111, 112, accepted=True)], Judgement(1, 0, 0, 0, 1)),
        ([verify(110, 112, accepted=True)], Judgement(0, 0, 0, 0, 0)),
        (
            [verify(101, 102, accepted=False), verify(103, 104, accepted=True)],
            Judgement(0, 1, 0, 0, -7),
        ),
        ([verify(90, 99, accepted=False)], Judgement(0, 0, 1, 0, None)),
        ([verify(-5, -1, accepted=True)], Judgement(0, 0, 0, 1, -115)),
        ([verify(101, 104, accepted=False), verify(103, 105, accepted=True)], None),
    ],
)
def test_what_is_wrong_is_named(reads: list[Operation], expected: Judgement | None) -> None:
    """Accepted after the answer, accepted after a refusal, refused while alive, accepted before it was made."""
    judged = judge([CREATED, ENDED, *reads])
    if expected is None:
        assert judged.holds
    else:
        assert judged == expected


def test_a_key_that_was_there_before() -> None:
    """Without a recorded creation the key exists from the beginning, and without a revocation it never ends."""
    assert judge([verify(0, 1, accepted=True), verify(5, 6, accepted=True)]).holds
    assert judge([verify(0, 1, accepted=False)]).early == 1


def test_one_among_very_many_is_found() -> None:
    """In a long history a single wrong answer is found, with its delay."""
    reads = [verify(20 + n, 21 + n, accepted=n < 80, server=n % 3) for n in range(200_000)]
    assert judge([CREATED, ENDED, *reads]).holds
    late = verify(5_000, 5_001, accepted=True)
    assert judge([CREATED, ENDED, *reads, late]) == Judgement(1, 1, 0, 0, 4_890)
