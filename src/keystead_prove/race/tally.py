"""The sums of many judgements, in total and by probe."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from keystead_prove.race.history import Answer, Judgement, Operation, judge
from keystead_prove.race.verifier import Observation, by_endpoint
from keystead_prove.servers.endpoints import REFUSED, accepts


@dataclass
class Tally:
    """The sums over a number of keys; `broken`: those whose history no order explains.

    `after`: verifications that began after the response to the revocation; `kept`: those of them on a
    connection that was opened before it.
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
        """Add one key, with the judgements of its history or of parts of it."""
        self.keys += 1
        self.broken += not all(judgement.holds for judgement in judgements)
        for judgement in judgements:
            self._note(judgement)

    def note_observations(self, observations: Iterable[Observation], answered: int) -> None:
        """Add verifications of keys that were revoked at that time."""
        for observation in observations:
            self.statuses[observation.status] += 1
            if observation.operation.began > answered:
                self.after += 1
                self.kept += observation.opened < answered

    def _note(self, judgement: Judgement) -> None:
        self.late += judgement.late
        self.again += judgement.again
        self.early += judgement.early
        self.before += judgement.before
        self.worst = _later(self.worst, judgement.worst)

    def add(self, other: Tally) -> None:
        """Add the sums of another process."""
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
        """Return the number of verifications."""
        return self.statuses.total()

    @property
    def server_errors(self) -> int:
        """Return the number of server errors, except 503 (unavailable)."""
        return sum(n for status, n in self.statuses.items() if status >= 500 and status != 503)

    @property
    def unanswered(self) -> int:
        """Return the number of verifications without a result: no response, or unavailable."""
        return sum(
            n
            for status, n in self.statuses.items()
            if not accepts(status) and status not in REFUSED
        )


@dataclass
class Tallies:
    """The tally of all probes, and of each by its name."""

    whole: Tally = field(default_factory=Tally)
    by_name: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))

    def note(
        self,
        writes: Sequence[Operation],
        observations: Sequence[Observation],
        answered: int,
        *,
        apart: bool,
    ) -> None:
        """Add one key. `apart`: judge each endpoint alone, since each may have its own moment of the revocation."""
        parts = by_endpoint(observations) if apart else [observations]
        self.whole.note_key([judge([*writes, *_operations(part)]) for part in parts])
        self.whole.note_observations(observations, answered)
        for name in {observation.name for observation in observations}:
            mine = [_of_name(part, name) for part in parts]
            judged = [judge([*writes, *_operations(part)]) for part in mine if part]
            self.by_name[name].note_key(judged)
            self.by_name[name].note_observations(
                (observation for observation in observations if observation.name == name), answered
            )

    def add(self, other: Tallies) -> None:
        """Add the sums of another process."""
        self.whole.add(other.whole)
        for name, tally in other.by_name.items():
            self.by_name[name].add(tally)


def _of_name(part: Sequence[Observation], name: str) -> list[Observation]:
    """Return what this probe accepted, and what any probe refused: afterwards this one must not accept."""
    return [
        observation
        for observation in part
        if observation.name == name or observation.operation.answer is Answer.REFUSED
    ]


def _operations(observations: Iterable[Observation]) -> Iterable[Operation]:
    return (observation.operation for observation in observations)


def _later(one: int | None, other: int | None) -> int | None:
    return max((n for n in (one, other) if n is not None), default=None)
