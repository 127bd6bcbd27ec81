"""The revocation race over real servers: no key is accepted after the response, and a cache of 1 ms is found."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from keystead.storage.row_security.diff import SERVER_ROLE
from keystead_prove.environment import Setup
from keystead_prove.experiments import revocation
from keystead_prove.race.acts import ACTS, EXPIRED, REVOKED, Act
from keystead_prove.report import Finding, Verdict
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import PostgresServer
from tests.support.two_servers import setup_of

SERVERS = {"sqlite": 4, "postgresql": 3}
MODES: Mapping[str, Mapping[str, str]] = {
    "read": {"KEYSTEAD_VERIFICATION": "read"},
    "stamp": {"KEYSTEAD_VERIFICATION": "stamp"},
}


def count_of(database_url: str) -> int:
    """Return how many servers the race runs over on that engine."""
    return SERVERS[database_url.partition(":")[0]]


def race(setup: Setup, act: Act, keys: int, *, each: int = 1, processes: int = 2) -> Finding:
    """Run the race on that setup."""
    environment = setup.environment
    return revocation.run(
        environment.target, act, keys, environment.operator, each=each, processes=processes
    )


def check(finding: Finding, keys: int) -> None:
    """Check that no try is a violation, the seeded cache was seen, and few verifications were inconclusive."""
    assert finding.violations == dict.fromkeys(finding.violations, 0)
    assert finding.verdict is Verdict.HELD
    assert finding.trials >= keys
    assert finding.counts["verifications"] > 6 * keys
    assert finding.counts["without a response"] <= finding.counts["verifications"] // 100
    assert finding.worst is not None


@pytest.mark.slow
def test_hundreds_of_keys_are_dead_with_the_answer(database_url: str) -> None:
    """200 revocations on each engine: no verification that begins after the response is accepted."""
    with setup_of(database_url, count_of(database_url)) as setup:
        endpoints = setup.environment.target.endpoints
        assert len({probe.name for endpoint in endpoints for probe in endpoint.probes}) == 3
        finding = race(setup, REVOKED, 200)
    check(finding, 200)
    assert finding.worst is not None
    assert finding.worst < 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_act_revokes_immediately(database_url: str) -> None:
    """Each act revokes a key with its response; those by the clock have a test of their own."""
    with setup_of(database_url, 2) as setup:
        acts = [a for a in revocation.acts_of(setup.environment.target) if a.ends_at is None]
        assert len(acts) == 6
        for act in acts:
            check(race(setup, act, 10, processes=1), 10)


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("database_url", "mode"),
    [("sqlite", "read"), ("sqlite", "stamp"), ("postgresql", "read")],
    indirect=["database_url"],
)
def test_ten_thousand_keys_are_dead_with_the_answer(database_url: str, mode: str) -> None:
    """Ten thousand revocations on each engine and in each mode."""
    with setup_of(database_url, count_of(database_url), MODES[mode]) as setup:
        check(race(setup, REVOKED, 10_000), 10_000)


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("database_url", "mode"),
    [("sqlite", "read"), ("sqlite", "stamp"), ("postgresql", "read")],
    indirect=["database_url"],
)
def test_five_hundred_keys_end_by_every_act(database_url: str, mode: str) -> None:
    """Each act that revokes a key holds 500 times."""
    with setup_of(database_url, 3, MODES[mode]) as setup:
        assert list(revocation.acts_of(setup.environment.target)) == list(ACTS)
        for act in ACTS:
            check(race(setup, act, 500), 500)


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_two_hundred_verifications_in_flight(database_url: str) -> None:
    """With two hundred verifications in flight at every moment, the response of a revocation is still final."""
    with setup_of(database_url, 4) as setup:
        check(race(setup, REVOKED, 200, each=50, processes=1), 200)


@pytest.mark.prove
@pytest.mark.timeout(900)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_revocation_through_pgbouncer(database_url: str, postgres: PostgresServer) -> None:
    """Servers that share few connections through PgBouncer in transaction mode refuse as soon as any other."""
    with (
        pgbouncer(postgres, SERVER_ROLE, "postgres", connections=4) as pooler,
        setup_of(pooler.url(database_url), 3) as setup,
    ):
        check(race(setup, REVOKED, 1_000), 1_000)


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_a_quarter_of_a_second_by_the_clock(database_url: str) -> None:
    """Expiries are exact to a quarter of a second on every server."""
    with setup_of(database_url, 3) as setup:
        check(race(setup, EXPIRED, 100), 100)
