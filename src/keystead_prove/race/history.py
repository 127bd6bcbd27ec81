"""The history of one key, and whether all its responses can be right.

A key is a register that is written twice: absent, then active, then revoked; each verification reads it at one moment
between its beginning and its end. A history holds if such moments exist for all operations (linearizability;
Herlihy and Wing, 1990). The register never goes back, so the best moments of the two writes are known, and one scan of
the history decides exactly. All times are nanoseconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NEVER: Final = 1 << 62
"""The time of what never happens."""
MILLISECOND: Final = 1_000_000


class Kind(StrEnum):
    """The kind of an operation."""

    CREATE = "create"
    VERIFY = "verify"
    END = "end"


class Answer(StrEnum):
    """The outcome of an operation: a write is done, a verification accepted or refused; everything else is unknown."""

    DONE = "done"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Operation:
    """One request: its server, when it began (before it was sent) and ended (after its response was read)."""

    server: int
    kind: Kind
    began: int
    ended: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Judgement:
    """The faults of a history: how many verifications cannot be right.

    `late`: accepted, though begun after the response to the revocation. `again`: accepted, though begun after
    the response of a refusal. `early`: refused, though ended before the revocation began. `before`: accepted
    before the key existed. `worst`: the last accepted beginning, in nanoseconds after the response to the
    revocation; negative is right; None without a revocation or an accepted verification.
    """

    late: int
    again: int
    early: int
    before: int
    worst: int | None

    @property
    def holds(self) -> bool:
        """Return whether one order of moments explains every response."""
        return not (self.late or self.again or self.early or self.before)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The times between which a write happened."""

    earliest: int
    latest: int


def judge(operations: Iterable[Operation]) -> Judgement:
    """Judge one key's history, in any order; without a creation, the key existed from the start."""
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
    """Return the time from the first request to the first response; None without a request."""
    requests = [o for o in history if o.kind is kind]
    if not requests:
        return None
    answered = [o.ended for o in requests if o.answer is Answer.DONE]
    return _Bounds(min(o.began for o in requests), min(answered, default=NEVER))


def _worst(accepted: Sequence[Operation], ending: _Bounds) -> int | None:
    if not accepted or ending.latest == NEVER:
        return None
    return max(o.began for o in accepted) - ending.latest
