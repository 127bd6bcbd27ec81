"""What an experiment found, and its verdict. A run that could not have shown the opposite shows nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """How an experiment came out."""

    HELD = "held"
    BROKEN = "broken"
    INCONCLUSIVE = "not conclusive"


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault that was put into the same run on purpose: what it was, how often it was tried, how often it was seen."""

    says: str
    trials: int
    caught: int


@dataclass(frozen=True, slots=True)
class At:
    """What was found by one way of asking.

    `after`: how many verifications began after the answer; `kept`: those of them over connections from before it.
    `wrong`: how many were accepted after the answer or after a refusal; `worst` as that of the finding. `sees`: the
    shortest planted memory, in milliseconds, that showed by this way; None: none did.
    """

    name: str
    verifications: int
    after: int
    kept: int
    wrong: int
    worst: float | None
    sees: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One experiment in one form.

    `promise` is what it tries to break, `trials` how often it tried. `violations` counts what must not be, by name;
    `counts` everything else worth telling. `worst` is its worst figure in milliseconds, `measures` what that measures.
    `at`: the same by each way of asking.
    """

    experiment: str
    form: str
    promise: str
    trials: int
    violations: Mapping[str, int]
    planted: Planted
    counts: Mapping[str, int] = field(default_factory=dict)
    worst: float | None = None
    measures: str = ""
    seconds: float = 0.0
    at: Sequence[At] = ()

    @property
    def verdict(self) -> Verdict:
        """Broken by a single violation; without trials, or with a planted fault unseen, nothing was shown."""
        if any(self.violations.values()):
            return Verdict.BROKEN
        is_blind = any(at.sees is None for at in self.at)
        if not self.trials or not self.planted.caught or is_blind:
            return Verdict.INCONCLUSIVE
        return Verdict.HELD

    @property
    def bound(self) -> float | None:
        """Below what rate a violation lies with 95 % confidence, none having been seen: 3 in so many trials.

        None where something was seen, or three trials say nothing.
        """
        tells = self.verdict is Verdict.HELD and self.trials > 3
        return 3 / self.trials if tells else None
