"""Findings, their verdicts, and the report as Markdown and JSON.

A run that could not have shown a violation shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final


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


WORDS: Final = {
    Verdict.HELD: "held",
    Verdict.BROKEN: "**BROKEN**",
    Verdict.INCONCLUSIVE: "**not conclusive**",
}
HEADINGS: Final = ("experiment", "tries", "violations", "worst", "seeded fault seen", "verdict")
EXPLANATION: Final = (
    "A promise held if no try broke it, and the same check saw a fault that was seeded in the same run."
    " If the seeded fault was not seen, the run shows nothing. With no violation in n tries, violations are rarer"
    " than 3/n with 95 % confidence. All times are from one monotonic clock."
)


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one run. `about` names versions, engine and servers."""

    begun_at: datetime
    seconds: float
    about: Mapping[str, str]
    findings: Sequence[Finding]

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict; without findings it is INCONCLUSIVE."""
        verdicts = {finding.verdict for finding in self.findings}
        if Verdict.BROKEN in verdicts:
            return Verdict.BROKEN
        return Verdict.HELD if verdicts == {Verdict.HELD} else Verdict.INCONCLUSIVE


def as_json(report: Report) -> dict[str, object]:
    """Return the report as one JSON object."""
    return {
        "verdict": report.verdict,
        "begun_at": f"{report.begun_at:%Y-%m-%dT%H:%M:%SZ}",
        "seconds": round(report.seconds, 1),
        "about": dict(report.about),
        "findings": [_finding(finding) for finding in report.findings],
    }


def as_markdown(report: Report) -> str:
    """Return the report as a page of Markdown."""
    lines = [
        f"# Keystead, guarantees tested: {WORDS[report.verdict].strip('*')}",
        "",
        f"{report.begun_at:%Y-%m-%d %H:%M} UTC, {report.seconds:.0f} seconds.",
        "",
        *(f"- {name}: {value}" for name, value in report.about.items()),
        "",
        *_table(map(row, report.findings)),
        "",
        EXPLANATION,
        "",
        "## Experiments",
        *(line for finding in report.findings for line in _section(finding)),
    ]
    return "\n".join(lines) + "\n"


def row(finding: Finding) -> list[str]:
    """Return the cells of a finding, under HEADINGS."""
    seen = f"{finding.seeded.caught:,} in {finding.seeded.trials:,}"
    return [
        f"{finding.experiment}: {finding.form}",
        f"{finding.trials:,}",
        f"{sum(finding.violations.values()):,}",
        _milliseconds(finding),
        seen,
        finding.verdict,
    ]


def summary(finding: Finding) -> str:
    """Return a finding in one line."""
    name, tries, violations, worst, seen, verdict = row(finding)
    worst = "" if worst == "-" else f", worst {worst}"
    return f"{name}: {verdict} ({tries} tries, {violations} violations{worst}; seeded fault seen {seen})"


def _section(finding: Finding) -> Iterable[str]:
    yield ""
    yield f"### {finding.experiment}: {finding.form}"
    yield ""
    yield finding.promise
    yield ""
    facts = {**finding.violations, **finding.counts}
    yield from (f"- {name}: {number:,}" for name, number in facts.items())
    if finding.worst is not None:
        yield f"- {finding.measures}: {_milliseconds(finding)}"
    if finding.bound is not None:
        yield f"- violations are rarer than {finding.bound:.2g} with 95 % confidence"
    seeded = finding.seeded
    yield f"- seeded: {seeded.says}; seen {seeded.caught:,} times in {seeded.trials:,} tries"
    yield from (f"- {at_line(at)}" for at in finding.at)


def at_line(at: At) -> str:
    """Return the finding by one probe."""
    worst = "" if at.worst is None else f", worst {at.worst:.1f} ms"
    sees = "no seeded cache seen" if at.sees is None else f"a cache of {at.sees:g} ms seen"
    return (
        f"{at.name}: {at.verifications:,} verifications, {at.after:,} after the response and {at.kept:,} of these over"
        f" connections from before it; {at.wrong:,} wrongly accepted{worst}; {sees}"
    )


def _finding(finding: Finding) -> dict[str, object]:
    seeded = finding.seeded
    return {
        "experiment": finding.experiment,
        "form": finding.form,
        "promise": finding.promise,
        "verdict": finding.verdict,
        "trials": finding.trials,
        "violations": dict(finding.violations),
        "counts": dict(finding.counts),
        "worst_milliseconds": finding.worst,
        "measures": finding.measures or None,
        "bound": finding.bound,
        "seeded": {"fault": seeded.says, "trials": seeded.trials, "seen": seeded.caught},
        "seconds": round(finding.seconds, 1),
        "at": [asdict(at) for at in finding.at],
    }


def _milliseconds(finding: Finding) -> str:
    return "-" if finding.worst is None else f"{finding.worst:.1f} ms"


def _table(rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "|" + "---|" * len(HEADINGS)
    for *others, verdict in rows:
        yield "| " + " | ".join((*others, WORDS[Verdict(verdict)])) + " |"
