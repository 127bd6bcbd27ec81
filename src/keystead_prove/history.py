"""What was done with one key, and whether all answers together can be true.

A key is a register that is written twice: absent, then active, then dead, and each verification reads it at one moment
between its beginning and its end. A history holds if such moments exist for all of its operations (linearizability;
Herlihy and Wing, 1990). Because the register never goes back, the best moments of the two writes can be named, and one
pass over the history decides exactly. All times are nanoseconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NEVER: Final = 1 << 62
"""When what never happens happens."""
MILLISECOND: Final = 1_000_000


class Kind(StrEnum):
    """What an operation asks for."""

    CREATE = "create"
    VERIFY = "verify"
    END = "end"


class Answer(StrEnum):
    """What came back. A write is done, a verification accepted or refused; unknown is everything else."""

    DONE = "done"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Operation:
    """One request: on which server, when it began (before it was sent) and ended (after its answer was read)."""

    server: int
    kind: Kind
    began: int
    ended: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong with a history: how many verifications could not have been answered so.

    `late`: accepted, though begun after the ending had been answered. `again`: accepted, though begun after a refusal
    had been answered. `early`: refused, though answered before the ending was asked for; `before`: accepted before
    there was a key. `worst`: the last accepted beginning, in nanoseconds after the answer of the ending; below zero is
    well, None where nothing ended or was accepted.
    """

    late: int
    again: int
    early: int
    before: int
    worst: int | None

    @property
    def holds(self) -> bool:
        """Whether one order of moments explains every answer."""
        return not (self.late or self.again or self.early or self.before)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Between which moments a write happened."""

    earliest: int
    latest: int


def judge(operations: Iterable[Operation]) -> Judgement:
    """The judgement of one key's history, in any order; without a creation, the key was there from the beginning."""
    history = list(operations)
    accepted = [o for o in history if o.answer is Answer.ACCEPTED]
    refused = [o for o in history if o.answer is Answer.REFUSED]
    creation = _bounds(history, Kind.CREATE) or _Bounds(-NEVER, -NEVER)
    ending = _bounds(history, Kind.END) or _Bounds(NEVER, NEVER)
    first_accepted = min((o.ended for o in accepted), default=NEVER)
    created = min(creation.latest, first_accepted, ending.latest)
    after = [o.ended for o in refused if o.began > created]
    first_refused = min(after, default=NEVER)
    return Judgement(
        late=sum(o.began > ending.latest for o in accepted),
        again=sum(o.began > first_refused for o in accepted),
        early=sum(ended < ending.earliest for ended in after),
        before=sum(o.ended < creation.earliest for o in accepted),
        worst=_worst(accepted, ending),
    )


def _bounds(history: Sequence[Operation], kind: Kind) -> _Bounds | None:
    """From the beginning of the first to the answer of the first that was answered; None where nobody asked."""
    asked = [o for o in history if o.kind is kind]
    if not asked:
        return None
    answered = [o.ended for o in asked if o.answer is Answer.DONE]
    return _Bounds(min(o.began for o in asked), min(answered, default=NEVER))


def _worst(accepted: Sequence[Operation], ending: _Bounds) -> int | None:
    if not accepted or ending.latest == NEVER:
        return None
    return max(o.began for o in accepted) - ending.latest
