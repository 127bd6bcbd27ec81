"""What was found, as a page that can stand in a document, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from keystead_prove.finding import At, Finding, Verdict

WORDS: Final = {
    Verdict.HELD: "held",
    Verdict.BROKEN: "**BROKEN**",
    Verdict.INCONCLUSIVE: "**not conclusive**",
}
HEADINGS: Final = ("experiment", "tries", "violations", "worst", "planted fault seen", "verdict")
EXPLANATION: Final = (
    "A promise held if no try broke it and the fault that was planted in the same run was seen by the same check;"
    " where the planted fault went unseen the run shows nothing. With no violation in n tries, violations are rarer"
    " than 3/n with 95 % confidence. All times are of one monotonic clock."
)


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one run, and where it was made: `about` names versions, engine and servers."""

    begun_at: datetime
    seconds: float
    about: Mapping[str, str]
    findings: Sequence[Finding]

    @property
    def verdict(self) -> Verdict:
        """The worst one; nothing tried is nothing shown."""
        verdicts = {finding.verdict for finding in self.findings}
        if Verdict.BROKEN in verdicts:
            return Verdict.BROKEN
        return Verdict.HELD if verdicts == {Verdict.HELD} else Verdict.INCONCLUSIVE


def as_json(report: Report) -> dict[str, object]:
    """The report as one JSON object."""
    return {
        "verdict": report.verdict,
        "begun_at": f"{report.begun_at:%Y-%m-%dT%H:%M:%SZ}",
        "seconds": round(report.seconds, 1),
        "about": dict(report.about),
        "findings": [_finding(finding) for finding in report.findings],
    }


def as_markdown(report: Report) -> str:
    """The report as a page of Markdown."""
    lines = [
        f"# Keystead, put to the proof: {WORDS[report.verdict].strip('*')}",
        "",
        f"{report.begun_at:%Y-%m-%d %H:%M} UTC, {report.seconds:.0f} seconds.",
        "",
        *(f"- {name}: {value}" for name, value in report.about.items()),
        "",
        *_table(map(row, report.findings)),
        "",
        EXPLANATION,
        "",
        "## What was tried",
        *(line for finding in report.findings for line in _section(finding)),
    ]
    return "\n".join(lines) + "\n"


def row(finding: Finding) -> list[str]:
    """The cells of a finding, under HEADINGS."""
    seen = f"{finding.planted.caught:,} in {finding.planted.trials:,}"
    return [
        f"{finding.experiment}: {finding.form}",
        f"{finding.trials:,}",
        f"{sum(finding.violations.values()):,}",
        _milliseconds(finding),
        seen,
        finding.verdict,
    ]


def line(finding: Finding) -> str:
    """A finding in one line, for who watches."""
    name, tries, violations, worst, seen, verdict = row(finding)
    worst = "" if worst == "-" else f", worst {worst}"
    return f"{name}: {verdict} ({tries} tries, {violations} violations{worst}; planted fault seen {seen})"


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
    planted = finding.planted
    yield f"- planted: {planted.says}; seen {planted.caught:,} times in {planted.trials:,} tries"
    yield from (f"- {at_line(at)}" for at in finding.at)


def at_line(at: At) -> str:
    """What was found by one way of asking."""
    worst = "" if at.worst is None else f", worst {at.worst:.1f} ms"
    sees = "no planted memory seen" if at.sees is None else f"a memory of {at.sees:g} ms seen"
    return (
        f"{at.name}: {at.verifications:,} verifications, {at.after:,} after the answer and {at.kept:,} of these over"
        f" connections from before it; {at.wrong:,} accepted wrongly{worst}; {sees}"
    )


def _finding(finding: Finding) -> dict[str, object]:
    planted = finding.planted
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
        "planted": {"fault": planted.says, "trials": planted.trials, "seen": planted.caught},
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
