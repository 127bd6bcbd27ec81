"""Judgements of many histories, added up: all together, and for each way of asking."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from keystead_prove.endpoints import REFUSED, lets_in
from keystead_prove.history import Answer, Judgement, Operation, judge
from keystead_prove.verifier import Seen, by_door


@dataclass
class Tally:
    """So many keys were tried; the history of `broken` of them no order explains.

    `after`: how many verifications began after the answer of the ending; `kept`: those of them that went over a
    connection which was open before it.
    """

    keys: int = 0
    broken: int = 0
    late: int = 0
    again: int = 0
    early: int = 0
    before: int = 0
    worst: int | None = None
    after: int = 0
    kept: int = 0
    statuses: Counter[int] = field(default_factory=Counter)

    def note_key(self, judgements: Sequence[Judgement]) -> None:
        """Adds one key, by the judgements of its history or of the parts of it."""
        self.keys += 1
        self.broken += not all(judgement.holds for judgement in judgements)
        for judgement in judgements:
            self._note(judgement)

    def note_seen(self, seen: Iterable[Seen], answered: int) -> None:
        """Adds verifications of keys whose ending was answered then."""
        for one in seen:
            self.statuses[one.status] += 1
            if one.operation.began > answered:
                self.after += 1
                self.kept += one.opened < answered

    def _note(self, judgement: Judgement) -> None:
        self.late += judgement.late
        self.again += judgement.again
        self.early += judgement.early
        self.before += judgement.before
        self.worst = _later(self.worst, judgement.worst)

    def add(self, other: Tally) -> None:
        """Adds what another process saw."""
        self.keys += other.keys
        self.broken += other.broken
        self.late += other.late
        self.again += other.again
        self.early += other.early
        self.before += other.before
        self.worst = _later(self.worst, other.worst)
        self.after += other.after
        self.kept += other.kept
        self.statuses += other.statuses

    @property
    def verifications(self) -> int:
        """How many verifications were sent."""
        return self.statuses.total()

    @property
    def server_errors(self) -> int:
        """How many were answered with an error of the server, 503 aside, by which it says that it cannot tell."""
        return sum(n for status, n in self.statuses.items() if status >= 500 and status != 503)

    @property
    def unanswered(self) -> int:
        """How many told nothing: no answer came, or that the server cannot tell."""
        return sum(
            n
            for status, n in self.statuses.items()
            if not lets_in(status) and status not in REFUSED
        )


@dataclass
class Tallies:
    """All together, and by the names of the questions."""

    whole: Tally = field(default_factory=Tally)
    by_name: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))

    def note(
        self, writes: Sequence[Operation], seen: Sequence[Seen], answered: int, *, apart: bool
    ) -> None:
        """Adds one key. `apart`: each door is judged by itself, since each may have another moment of the ending."""
        parts = by_door(seen) if apart else [seen]
        self.whole.note_key([judge([*writes, *_operations(part)]) for part in parts])
        self.whole.note_seen(seen, answered)
        for name in {one.name for one in seen}:
            mine = [_of_name(part, name) for part in parts]
            judged = [judge([*writes, *_operations(part)]) for part in mine if part]
            self.by_name[name].note_key(judged)
            self.by_name[name].note_seen((one for one in seen if one.name == name), answered)

    def add(self, other: Tallies) -> None:
        """Adds what another process saw."""
        self.whole.add(other.whole)
        for name, tally in other.by_name.items():
            self.by_name[name].add(tally)


def _of_name(part: Sequence[Seen], name: str) -> list[Seen]:
    """What was accepted by that name, and whatever was refused: nobody is to be let in by it afterwards."""
    return [one for one in part if one.name == name or one.operation.answer is Answer.REFUSED]


def _operations(seen: Iterable[Seen]) -> Iterable[Operation]:
    return (one.operation for one in seen)


def _later(one: int | None, other: int | None) -> int | None:
    return max((n for n in (one, other) if n is not None), default=None)
