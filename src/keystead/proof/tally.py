"""Judgements of many histories, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from keystead.proof.history import Judgement


@dataclass
class Tally:
    """So many keys were tried; the history of `broken` of them no order explains."""

    keys: int = 0
    broken: int = 0
    late: int = 0
    again: int = 0
    early: int = 0
    before: int = 0
    worst: int | None = None
    statuses: Counter[int] = field(default_factory=Counter)

    def note_key(self, judgements: Sequence[Judgement]) -> None:
        """Adds one key, by the judgements of its history or of the parts of it."""
        self.keys += 1
        self.broken += not all(judgement.holds for judgement in judgements)
        for judgement in judgements:
            self._note(judgement)

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
        return self.verifications - sum(self.statuses[status] for status in (200, 401, 403))


def _later(one: int | None, other: int | None) -> int | None:
    return max((n for n in (one, other) if n is not None), default=None)
