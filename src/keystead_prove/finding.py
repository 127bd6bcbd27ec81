"""The finding of an experiment, and its verdict. A run that could not have shown a violation shows nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """The result of an experiment."""

    HELD = "held"
    BROKEN = "broken"
    INCONCLUSIVE = "not conclusive"


@dataclass(frozen=True, slots=True)
class SeededFault:
    """A seeded fault: what it is, how often it was tried, and how often the check saw it."""

    says: str
    trials: int
    caught: int


@dataclass(frozen=True, slots=True)
class At:
    """The finding by one probe.

    `after`: verifications that began after the response; `kept`: those of them on connections from before it.
    `wrong`: verifications accepted after the response or after a refusal. `worst`: like that of the finding.
    `sees`: the shortest memory of a seeded cache, in milliseconds, that this probe showed; None: none.
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

    `promise`: what it tries to break. `trials`: how often. `violations` and `counts`: by name. `worst`: the
    worst figure in milliseconds, of what `measures` says. `at`: the same by each probe.
    """

    experiment: str
    form: str
    promise: str
    trials: int
    violations: Mapping[str, int]
    seeded: SeededFault
    counts: Mapping[str, int] = field(default_factory=dict)
    worst: float | None = None
    measures: str = ""
    seconds: float = 0.0
    at: Sequence[At] = ()

    @property
    def verdict(self) -> Verdict:
        """Return BROKEN for any violation, INCONCLUSIVE without trials or if a seeded fault was not seen, else HELD."""
        if any(self.violations.values()):
            return Verdict.BROKEN
        is_blind = any(at.sees is None for at in self.at)
        if not self.trials or not self.seeded.caught or is_blind:
            return Verdict.INCONCLUSIVE
        return Verdict.HELD

    @property
    def bound(self) -> float | None:
        """Return an upper bound of the rate of violations with 95 % confidence: 3 in that many trials.

        None unless the promise held in more than three trials.
        """
        tells = self.verdict is Verdict.HELD and self.trials > 3
        return 3 / self.trials if tells else None
