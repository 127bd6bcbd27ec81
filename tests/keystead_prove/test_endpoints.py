"""The race of revocation at every door: servers, nginx, an application elsewhere, kept connections, two versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from keystead.cli.options import Place
from keystead.domain.credentials import CredentialKind
from keystead.storage.row_security.diff import SERVER_ROLE
from keystead_prove import restart, revocation
from keystead_prove.acts import ACTS, REVOKED, Act
from keystead_prove.endpoints import Door
from keystead_prove.environment import on_running
from keystead_prove.finding import Finding, Verdict
from keystead_prove.report import at_line, line
from keystead_prove.target import Site
from tests.before import Before, before, migrate, sources
from tests.keystead_prove.command_line import commands_of
from tests.keystead_prove.entrances import Application, behind_nginx, hosted, with_middleware
from tests.keystead_prove.grounds import Servers, servers_of
from tests.serving import HOST, Serving, serving

__all__ = ["before", "sources"]

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
    """Two servers, nginx that asks both, and an application in a process of its own over the same database."""

    @contextmanager
    def through(servers: Sequence[Serving]) -> Iterator[Sequence[str]]:
        gateway, application = folder / "gateway", folder / "application"
        gateway.mkdir()
        with (
            behind_nginx(servers, gateway) as page,
            with_middleware(servers[0], application) as other,
        ):
            yield page, other

    environment = {"KEYSTEAD_VERIFICATION": mode}
    with servers_of(database_url, 2, environment, through) as made:
        yield made


def race(
    made: Servers, act: Act, keys: int, site: Site | None = None, processes: int = 1
) -> Finding:
    """The race at the doors of that site, or of all."""
    scene = made.ground.scene
    return revocation.run(site or scene.site, act, keys, scene.operator, processes=processes)


def kept(site: Site) -> Site:
    """The same doors, whose connections are kept open."""
    return replace(site, doors=[replace(door, kept=True) for door in site.doors])


def others(site: Site) -> list[Door]:
    """The doors that are no server's own."""
    return [door for door in site.doors if door.url not in site.urls]


def names(doors: Sequence[Door]) -> set[str]:
    """How they are asked."""
    return {question.name for door in doors for question in door.questions}


def check(finding: Finding, keys: int, doors: Sequence[Door], times: int = 1) -> None:
    """At each of these doors nobody was accepted after the end, many were asked after it, and a memory was seen."""
    report(finding)
    assert finding.violations == dict.fromkeys(finding.violations, 0)
    assert finding.verdict is Verdict.HELD
    assert finding.trials >= keys
    assert {at.name for at in finding.at} == names(doors)
    for at in finding.at:
        assert at.wrong == 0
        assert at.after >= finding.trials * times
        assert at.sees is not None
        assert at.worst is not None


def report(finding: Finding) -> None:
    """What was seen, for who asks pytest to print it."""
    print(f"\n{line(finding)}", *map(at_line, finding.at), sep="\n  ")  # noqa: T201


def check_kept(finding: Finding, keys: int, doors: Sequence[Door]) -> None:
    """The same, all of it over connections that were open before the end."""
    check(finding, keys, doors)
    for at in finding.at:
        assert at.kept == at.after, at


def other_acts(made: Servers, _: Path) -> list[Act]:
    """What else ends a key by its answer."""
    acts = [act for act in revocation.acts_of(made.ground.scene.site) if act.ends_at is None]
    assert len(acts) == 6
    return acts[1:]


def revoking_commands(made: Servers, folder: Path) -> list[Act]:
    """`keystead keys revoke` on the machine, and with `--url`."""
    return commands_of(made, folder / "home").acts()[:2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database_url", "mode", "more"),
    [("sqlite", "stamp", other_acts), ("postgresql", "read", revoking_commands)],
    indirect=["database_url"],
)
def test_every_door_is_shut_with_the_answer(
    database_url: str, mode: str, more: Callable[[Servers, Path], list[Act]], tmp_path: Path
) -> None:
    """A key is dead with the answer at servers, by introspection, behind nginx, and in an application elsewhere.

    So it is on connections that were open before; by whatever act it ends, and where the command line ends it.
    """
    with entrances_of(database_url, mode, tmp_path) as made:
        site = made.ground.scene.site
        assert names(site.doors) >= OWN_DOORS
        assert len(others(site)) == 2
        check(race(made, REVOKED, SHORT), SHORT, site.doors)
        check_kept(race(made, REVOKED, SHORT, kept(site)), SHORT, site.doors)
        for act in more(made, tmp_path):
            check(race(made, act, FEW), FEW, site.doors)


@pytest.mark.slow
def test_what_remembers_is_found(tmp_path: Path) -> None:
    """An nginx that caches for a second, and an application that remembers for a quarter, are told by name."""

    @contextmanager
    def through(servers: Sequence[Serving]) -> Iterator[Sequence[str]]:
        server, folder = servers[0], tmp_path / "application"
        folder.mkdir()
        known = {"KEYSTEAD_SERVICE_TOKEN": service(server)}
        asking = Application(server.base_url, environment=known, remembers=0.25)
        with behind_nginx(servers, tmp_path, cached="1s") as page, hosted(asking, folder) as url:
            yield page, f"{url}/reports?page=1"

    with servers_of(f"sqlite:///{tmp_path / 'keystead.db'}", 1, through=through) as made:
        site = made.ground.scene.site
        finding = race(made, REVOKED, 20)
    assert finding.verdict is Verdict.BROKEN
    assert {at.name for at in finding.at if at.wrong} == names(others(site))
    assert finding.worst is not None
    assert finding.worst > 0


@pytest.mark.prove
@pytest.mark.timeout(7200)
@on_every_engine
@pytest.mark.parametrize("connections", ["mixed", "kept"])
def test_five_hundred_keys_at_every_door(
    database_url: str, mode: str, connections: str, tmp_path: Path
) -> None:
    """Each act that ends a key, 500 times, at every door; once more over open connections alone."""
    with entrances_of(database_url, mode, tmp_path) as made:
        site = made.ground.scene.site
        assert list(revocation.acts_of(site)) == list(ACTS)
        for act in ACTS:
            if connections == "kept":
                check_kept(race(made, act, LONG, kept(site), processes=2), LONG, site.doors)
            else:
                check(race(made, act, LONG, processes=2), LONG, site.doors)


@pytest.mark.prove
@pytest.mark.timeout(7200)
@on_every_engine
def test_five_hundred_keys_by_the_command_line(
    database_url: str, mode: str, tmp_path: Path
) -> None:
    """Whatever the command line ends, on the machine and with `--url`, is dead at every door when it says so."""
    with entrances_of(database_url, mode, tmp_path) as made:
        site = made.ground.scene.site
        for act in commands_of(made, tmp_path / "home").acts():
            check(race(made, act, LONG), LONG, site.doors)


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("database_url", "mode"), [ENGINES[1], ENGINES[2]], indirect=["database_url"]
)
def test_rolling_restarts_behind_nginx(database_url: str, mode: str, tmp_path: Path) -> None:
    """Servers restarted one after the other: behind nginx nobody notices, and no dead key gets in at any door."""
    with entrances_of(database_url, mode, tmp_path) as made:
        scene = made.ground.scene
        site = replace(scene.site, doors=others(scene.site))
        finding = restart.run(site, scene.operator, made.servers, 10)
    check(finding, 20, site.doors, times=0)
    assert finding.counts["sent while the server was away"] == 0


@pytest.mark.prove
@pytest.mark.timeout(7200)
def test_five_hundred_keys_beside_the_version_before(before: Before) -> None:
    """A server of the version before and one of this one: what either ends is dead at both with the answer."""
    with before.serving():
        migrate(before)
        url = before.url.replace("before_walls@", f"{SERVER_ROLE}@")
        with serving(url, data=before.data) as after:
            urls = [f"http://{HOST}:{before.port}", after.base_url]
            with on_running(Place(before.data, url), urls) as ground:
                scene = ground.scene
                made = Servers(
                    [after], replace(ground, scene=replace(scene, site=told(scene.site)))
                )
                site = made.ground.scene.site
                for act in revocation.acts_of(site):
                    check(race(made, act, LONG), LONG, site.doors)
                    check_kept(race(made, act, LONG, kept(site)), LONG, site.doors)


def told(site: Site) -> Site:
    """The two servers of that site, the first of which is of the version before, told apart."""
    older, newer = site.doors
    asked = [replace(question, name=f"{question.name} before") for question in older.questions]
    return replace(site, doors=[replace(older, questions=asked), newer])


def service(server: Serving) -> str:
    """The token of a service that introspects."""
    from keystead import bootstrap
    from tests.gate.doors import OPERATOR

    installation = bootstrap.open_safely(server.settings)
    try:
        credentials = installation.services.credentials
        return credentials.create("product", OPERATOR, CredentialKind.SERVICE)[1].reveal()
    finally:
        installation.close()
