"""An experiment can fail: each finds its fault in a server, and is inconclusive if the seeded fault goes unseen."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keystead_prove.experiments import away, clock, kill, limit, revocation
from keystead_prove.race.acts import REVOKED
from keystead_prove.report import Finding, Report, SeededFault, Verdict, as_json, as_markdown
from keystead_prove.servers.endpoints import Target
from keystead_prove.servers.faulty_server import MANAGER, Fault, Register, faulty_server, served
from keystead_prove.servers.processes import start_servers

FINDING = Finding("e", "f", "p", 300, {"wrong": 0}, SeededFault("a fault", 10, 9), worst=-1.25)


@dataclass
class Remembering(Register):
    """A register with a cache in the server: an accepted key stays accepted for 20 ms more."""

    seen: dict[str, float] = field(default_factory=dict, repr=False)

    def accepts(self, token: str) -> bool:
        """Answer from the cache, if there is one."""
        now = time.monotonic()
        if now < self.seen.get(token, 0.0):
            return True
        if super().accepts(token):
            self.seen[token] = now + 0.02
            return True
        return False


def test_a_server_that_caches_is_found() -> None:
    """Revoked keys that a server's cache accepts for 20 ms break the promise, in the actual part of the run."""
    with served(Remembering(Fault.UNSYNCED)) as server:
        finding = revocation.run(server.target, REVOKED, 20, server, processes=1)
    assert finding.verdict is Verdict.BROKEN
    assert finding.violations["accepted after the response"] > 0
    assert finding.worst is not None
    assert finding.worst > 0


def test_a_server_that_counts_without_a_lock_is_found() -> None:
    """Keys beyond the limit are found."""
    with faulty_server(Fault.RACY) as server:
        finding = limit.run(server.target, server, 1)
    assert finding.verdict is Verdict.BROKEN
    assert finding.violations["rounds with too many keys"] == 1


def test_a_server_whose_clock_is_late_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are accepted 0.6 s too long are found."""
    monkeypatch.setattr(clock, "ACT", replace(clock.ACT, lives=timedelta(seconds=0.5)))
    with faulty_server(Fault.LATE) as server:
        finding = clock.run(server.target, server, 4)
    assert finding.verdict is Verdict.BROKEN
    assert finding.violations["accepted after the expiry"] > 0


def test_a_server_that_answers_before_it_writes_is_found(tmp_path: Path) -> None:
    """An acknowledged change that the kill lost is found."""
    command = (sys.executable, "-m", "keystead_prove.servers.faulty_server", "--fault", "UNSYNCED")
    with start_servers(1, (*command, "--journal", str(tmp_path / "journal")), tmp_path) as servers:
        target = Target([servers[0].url], MANAGER)
        finding = kill.run(target, servers, 2)
    assert finding.verdict is Verdict.BROKEN
    assert finding.violations["acknowledged creations lost"] > 0


def test_a_server_that_accepts_during_an_outage_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key accepted while its state cannot be known is found, and so is a dead one."""
    monkeypatch.setattr(away, "BACK_SECONDS", 0.1)
    monkeypatch.setattr(away, "ANSWER_SECONDS", 0.0)
    with faulty_server(Fault.OPEN) as server:
        finding = away.run(server.target, server, 1.0)
    assert finding.verdict is Verdict.BROKEN
    assert finding.violations["responses after more than two seconds"] > 0
    assert finding.violations["accepted meanwhile"] > 0
    assert finding.violations["revoked or unknown keys accepted"] > 0


def test_nothing_is_shown_by_a_run_that_could_not_fail() -> None:
    """Without tries, or with the seeded fault unseen, the verdict is that the run was not conclusive."""
    unseen = replace(FINDING, seeded=SeededFault("a fault", 10, 0))
    assert FINDING.verdict is Verdict.HELD
    assert unseen.verdict is Verdict.INCONCLUSIVE
    assert replace(FINDING, trials=0).verdict is Verdict.INCONCLUSIVE
    assert replace(unseen, violations={"wrong": 1}).verdict is Verdict.BROKEN


def test_the_bound_is_three_in_so_many() -> None:
    """No violation in 300 tries: fewer than one in a hundred, with 95 % confidence; otherwise there is no bound."""
    assert FINDING.bound == 0.01
    assert replace(FINDING, violations={"wrong": 1}).bound is None
    assert replace(FINDING, trials=3).bound is None


@pytest.mark.parametrize(
    ("others", "verdict"),
    [
        ([], Verdict.HELD),
        ([replace(FINDING, trials=0)], Verdict.INCONCLUSIVE),
        ([replace(FINDING, trials=0), replace(FINDING, violations={"w": 1})], Verdict.BROKEN),
    ],
)
def test_a_report_is_as_good_as_its_worst_finding(others: list[Finding], verdict: Verdict) -> None:
    """Its verdict is in its heading, and each finding has its row and its section."""
    begun_at = datetime(2026, 11, 23, tzinfo=UTC)
    report = Report(begun_at, 61.5, {"database": "SQLite"}, [FINDING, *others])
    page = as_markdown(report)
    assert report.verdict is verdict
    assert as_json(report)["verdict"] == verdict
    assert page.splitlines()[0].endswith(f": {verdict if verdict != 'broken' else 'BROKEN'}")
    assert page.count("| e: f | ") == page.count("### e: f") == 1 + len(others)
    assert "| e: f | 300 | 0 | -1.2 ms | 9 in 10 | held |" in page
    assert "rarer than 0.01" in page


def test_a_report_of_nothing_shows_nothing() -> None:
    """A report without a finding is not a success."""
    assert Report(datetime.now(UTC), 0.0, {}, []).verdict is Verdict.INCONCLUSIVE
