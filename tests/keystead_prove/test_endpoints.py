"""The revocation race at every endpoint: servers, nginx, an application, kept connections, two versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from keystead.cli.options import Place
from keystead.domain.credentials import CredentialKind
from keystead_prove.environment import on_running
from keystead_prove.experiments import restart, revocation
from keystead_prove.race.acts import ACTS, REVOKED, Act
from keystead_prove.report import Finding, Verdict, at_line, summary
from keystead_prove.servers.endpoints import Endpoint, Target
from tests.support.postgres import PostgresServer
from tests.support.protected_applications import Application, behind_nginx, hosted, with_middleware
from tests.support.revoking_commands import commands_of
from tests.support.server_process import ServerProcess
from tests.support.two_servers import Servers, servers_of
from tests.support.versions import two_versions

SHORT = 15
FEW = 3
LONG = 500
OWN_DOORS = {"REST", "forward-auth", "introspection"}
ENGINES = [("sqlite", "read"), ("sqlite", "stamp"), ("postgresql", "read")]
"""Each engine, and on SQLite each way of verifying."""
on_every_engine = pytest.mark.parametrize(
    ("database_url", "mode"), ENGINES, indirect=["database_url"]
)


@contextmanager
def entrances_of(database_url: str, mode: str, folder: Path) -> Iterator[Servers]:
    """Start two servers, nginx before both, and an application in a process of its own over the same database."""

    @contextmanager
    def through(servers: Sequence[ServerProcess]) -> Iterator[Sequence[str]]:
        gateway, application = folder / "gateway", folder / "application"
        gateway.mkdir()
        with (
            behind_nginx(servers, gateway) as page,
            with_middleware(servers[0], application) as other,
        ):
            yield page, other

    environment = {"KEYSTEAD_VERIFICATION": mode}
    with servers_of(database_url, 2, environment, through) as started:
        yield started


def race(
    servers: Servers, act: Act, keys: int, target: Target | None = None, processes: int = 1
) -> Finding:
    """Run the race at the endpoints of that target, or of all."""
    environment = servers.setup.environment
    return revocation.run(
        target or environment.target, act, keys, environment.operator, processes=processes
    )


def kept(target: Target) -> Target:
    """Return the same endpoints with connections that are kept open."""
    return replace(
        target, endpoints=[replace(endpoint, kept=True) for endpoint in target.endpoints]
    )


def others(target: Target) -> list[Endpoint]:
    """Return the endpoints that are not a server's own."""
    return [endpoint for endpoint in target.endpoints if endpoint.url not in target.urls]


def names(endpoints: Sequence[Endpoint]) -> set[str]:
    """Return how the endpoints are probed."""
    return {probe.name for endpoint in endpoints for probe in endpoint.probes}


def check(finding: Finding, keys: int, endpoints: Sequence[Endpoint], times: int = 1) -> None:
    """Check that each endpoint, often probed, accepted no revoked key, and that the seeded cache was seen."""
    report(finding)
    assert finding.violations == dict.fromkeys(finding.violations, 0)
    assert finding.verdict is Verdict.HELD
    assert finding.trials >= keys
    assert {at.name for at in finding.at} == names(endpoints)
    for at in finding.at:
        assert at.wrong == 0
        assert at.after >= finding.trials * times
        assert at.sees is not None
        assert at.worst is not None


def report(finding: Finding) -> None:
    """Print the findings, for `pytest -s`."""
    print(f"\n{summary(finding)}", *map(at_line, finding.at), sep="\n  ")  # noqa: T201


def check_kept(finding: Finding, keys: int, endpoints: Sequence[Endpoint]) -> None:
    """Check the findings, and that all probes used connections that were open before the revocation."""
    check(finding, keys, endpoints)
    for at in finding.at:
        assert at.kept == at.after, at


def other_acts(servers: Servers, _: Path) -> list[Act]:
    """Return the other acts that revoke a key with their response."""
    acts = [
        act for act in revocation.acts_of(servers.setup.environment.target) if act.ends_at is None
    ]
    assert len(acts) == 6
    return acts[1:]


def revoking_commands(servers: Servers, folder: Path) -> list[Act]:
    """Return `keystead keys revoke` on the machine, and with `--url`."""
    return commands_of(servers, folder / "home").acts()[:2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database_url", "mode", "more"),
    [("sqlite", "stamp", other_acts), ("postgresql", "read", revoking_commands)],
    indirect=["database_url"],
)
def test_every_endpoint_refuses_from_the_response_on(
    database_url: str, mode: str, more: Callable[[Servers, Path], list[Act]], tmp_path: Path
) -> None:
    """A key is dead with the response at servers, by introspection, behind nginx, and in an application elsewhere.

    The same holds on connections that were open before, for each revoking act, and for the command
    line.
    """
    with entrances_of(database_url, mode, tmp_path) as servers:
        target = servers.setup.environment.target
        assert names(target.endpoints) >= OWN_DOORS
        assert len(others(target)) == 2
        check(race(servers, REVOKED, SHORT), SHORT, target.endpoints)
        check_kept(race(servers, REVOKED, SHORT, kept(target)), SHORT, target.endpoints)
        for act in more(servers, tmp_path):
            check(race(servers, act, FEW), FEW, target.endpoints)


@pytest.mark.slow
def test_caches_at_endpoints_are_found(tmp_path: Path) -> None:
    """An nginx that caches for a second, and an application that caches for a quarter, are reported by name."""

    @contextmanager
    def through(servers: Sequence[ServerProcess]) -> Iterator[Sequence[str]]:
        server, folder = servers[0], tmp_path / "application"
        folder.mkdir()
        known = {"KEYSTEAD_SERVICE_TOKEN": service(server)}
        asking = Application(server.base_url, environment=known, remembers=0.25)
        with behind_nginx(servers, tmp_path, cached="1s") as page, hosted(asking, folder) as url:
            yield page, f"{url}/reports?page=1"

    with servers_of(f"sqlite:///{tmp_path / 'keystead.db'}", 1, through=through) as started:
        target = started.setup.environment.target
        finding = race(started, REVOKED, 20)
    assert finding.verdict is Verdict.BROKEN
    assert {at.name for at in finding.at if at.wrong} == names(others(target))
    assert finding.worst is not None
    assert finding.worst > 0


@pytest.mark.prove
@pytest.mark.timeout(7200)
@on_every_engine
@pytest.mark.parametrize("connections", ["mixed", "kept"])
def test_five_hundred_keys_at_every_endpoint(
    database_url: str, mode: str, connections: str, tmp_path: Path
) -> None:
    """Each act that revokes a key, 500 times, at every endpoint; once more over open connections alone."""
    with entrances_of(database_url, mode, tmp_path) as servers:
        target = servers.setup.environment.target
        assert list(revocation.acts_of(target)) == list(ACTS)
        for act in ACTS:
            if connections == "kept":
                check_kept(
                    race(servers, act, LONG, kept(target), processes=2), LONG, target.endpoints
                )
            else:
                check(race(servers, act, LONG, processes=2), LONG, target.endpoints)


@pytest.mark.prove
@pytest.mark.timeout(7200)
@on_every_engine
def test_five_hundred_keys_by_the_command_line(
    database_url: str, mode: str, tmp_path: Path
) -> None:
    """A key that the command line revokes, on the machine or with `--url`, is dead at every endpoint when it exits."""
    with entrances_of(database_url, mode, tmp_path) as servers:
        target = servers.setup.environment.target
        for act in commands_of(servers, tmp_path / "home").acts():
            check(race(servers, act, LONG), LONG, target.endpoints)


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("database_url", "mode"), [ENGINES[1], ENGINES[2]], indirect=["database_url"]
)
def test_rolling_restarts_behind_nginx(database_url: str, mode: str, tmp_path: Path) -> None:
    """Servers restarted one after the other: behind nginx no request fails, and no endpoint accepts a dead key."""
    with entrances_of(database_url, mode, tmp_path) as servers:
        environment = servers.setup.environment
        target = replace(environment.target, endpoints=others(environment.target))
        finding = restart.run(target, environment.operator, servers.servers, 10)
    check(finding, 20, target.endpoints, times=0)
    assert finding.counts["sent while the server was down"] == 0


@pytest.mark.prove
@pytest.mark.timeout(7200)
def test_five_hundred_keys_next_to_the_version_before(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of this version and one of a later one: a key that either revokes is dead at both with the response."""
    with two_versions(postgres, tmp_path, monkeypatch) as (before, after):
        place = Place(before.data, before.database_url)
        with on_running(place, [before.base_url, after.base_url]) as setup:
            environment = setup.environment
            servers = Servers(
                [after],
                replace(
                    setup,
                    environment=replace(
                        environment, target=with_distinct_names(environment.target)
                    ),
                ),
            )
            target = servers.setup.environment.target
            for act in revocation.acts_of(target):
                check(race(servers, act, LONG), LONG, target.endpoints)
                check_kept(race(servers, act, LONG, kept(target)), LONG, target.endpoints)


def with_distinct_names(target: Target) -> Target:
    """Return the two servers of that target, the first of which is of the version before, with distinct names."""
    older, newer = target.endpoints
    probes = [replace(probe, name=f"{probe.name} before") for probe in older.probes]
    return replace(target, endpoints=[replace(older, probes=probes), newer])


def service(server: ServerProcess) -> str:
    """Return the token of a service that introspects."""
    from keystead import bootstrap
    from tests.support.gate import OPERATOR

    installation = bootstrap.open_safely(server.settings)
    try:
        credentials = installation.services.credentials
        return credentials.create("product", OPERATOR, CredentialKind.SERVICE)[1].reveal()
    finally:
        installation.close()
