"""The doctor reports what is wrong and how to fix it, and changes nothing."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from keystead.bootstrap import Installation
from keystead.operation import checks
from keystead.operation.checks import Verdict
from keystead.operation.gateway_files import check_gateways, usual_files
from keystead.settings import Settings
from tests.cli.conftest import CommandResult, Keystead, one_engine
from tests.support.server_process import ServerProcess

CHECKS = {
    "interpreter",
    "configuration",
    "port",
    "disk",
    "files",
    "engine",
    "durability",
    "clock",
    "schema",
    "peppers",
}


def findings(ended: CommandResult) -> dict[str, Any]:
    """Return the findings by check."""
    return {finding["check"]: finding["verdict"] for finding in ended.json}


def test_a_sound_installation_has_no_fault(
    keystead: Keystead, monkeypatch: pytest.MonkeyPatch, installation: Installation
) -> None:
    """Every check runs and finds no fault; exit code 0. As text each is one line."""
    monkeypatch.setenv("KEYSTEAD_PORT", "0")
    result = keystead("doctor", "--json")
    verdicts = findings(result)
    own = set() if installation.settings.is_embedded else {"role", "row security"}
    assert verdicts.keys() == CHECKS | own
    assert "fault" not in verdicts.values()
    assert result.code == 0
    assert len(keystead("doctor").out.splitlines()) == len(verdicts)


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ((3, 11, 7), Verdict.WARNING),
        ((3, 11, 9), Verdict.WARNING),
        ((3, 11, 10), Verdict.OK),
        ((3, 12, 5), Verdict.WARNING),
        ((3, 12, 6), Verdict.OK),
        ((3, 13, 0), Verdict.OK),
        ((3, 15, 0), Verdict.OK),
    ],
)
def test_an_interpreter_with_known_faults_is_named(
    version: tuple[int, int, int], verdict: Verdict
) -> None:
    """A Python whose parsers have known faults is a warning, with the version to upgrade to."""
    finding = checks.check_interpreter(version)
    assert finding.verdict is verdict
    assert ("CVE-2024-7592" in finding.says) == (verdict is Verdict.WARNING)


def test_the_doctor_creates_nothing(run: Keystead) -> None:
    """Before the first start the doctor finds no fault, and leaves no files."""
    assert run("doctor").code == 0
    assert not list(Path.cwd().iterdir())


@one_engine
def test_each_fault_is_found_with_its_fix(
    keystead: Keystead, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open files, a lost pepper and another server on the port: three faults in one run, with exit code 1."""
    ServerProcess(str(settings.database), settings.data).token()
    file = Path(str(settings.database).removeprefix("sqlite:///"))
    file.chmod(0o644)
    (settings.data / "peppers").unlink()
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        monkeypatch.setenv("KEYSTEAD_PORT", str(stranger.getsockname()[1]))
        result = keystead("doctor", "--json")
    verdicts = findings(result)
    assert {check for check, verdict in verdicts.items() if verdict == "fault"} == {
        "files",
        "port",
        "peppers",
    }
    assert result.code == 1
    assert f"run: chmod 0640 {file}" in result.out


GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "gateways"


def test_gateway_files_of_an_earlier_version_are_named(run: Keystead, tmp_path: Path) -> None:
    """One that doesn't know the metadata would let a client's own through; today's files are in order."""
    shipped = [
        GUIDE / name for name in ("nginx.conf", "Caddyfile", "traefik-routes.yml", "envoy.yaml")
    ]
    finding = check_gateways([*shipped, GUIDE / "README.md"])
    assert finding is not None
    assert finding.verdict is Verdict.OK
    assert check_gateways([GUIDE / "traefik.yml"]) is None
    for file in shipped[:3]:
        earlier = tmp_path / file.name
        lines = file.read_text().splitlines(keepends=True)
        earlier.write_text("".join(line for line in lines if "metadata" not in line.lower()))
        result = run("doctor", "--json", "--gateway", str(file), "--gateway", str(earlier))
        (finding,) = [each for each in result.json if each["check"] == "gateways"]
        assert finding["verdict"] == "warning"
        assert str(earlier) in finding["says"]
        assert str(file) not in finding["says"]
    result = run("doctor", "--json", "--gateway", str(tmp_path / "absent"))
    assert findings(result)["gateways"] == "warning"


def test_the_usual_places_of_gateway_files(tmp_path: Path) -> None:
    """They are looked for without an option."""
    names = ["etc/nginx/conf.d/app.conf", "etc/caddy/Caddyfile", "etc/traefik/dynamic.yml"]
    for name in (*names, "etc/nginx/conf.d/README"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(usual_files(tmp_path)) == [tmp_path / name for name in names]


@pytest.mark.slow
def test_a_server_that_runs_is_no_fault(server: ServerProcess) -> None:
    """A port that Keystead itself answers on isn't a fault."""
    result = server.cli("doctor", "--json", KEYSTEAD_PORT=str(server.port))
    assert result.returncode == 0
    assert "Keystead answers" in result.stdout


@one_engine
def test_a_wrong_configuration_is_the_one_finding(
    keystead: Keystead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the settings can't be read, nothing else is checked."""
    monkeypatch.setenv("KEYSTEAD_HOST", "0.0.0.0")
    result = keystead("doctor", "--json")
    assert findings(result) == {"configuration": "fault"}
    assert result.code == 1


def test_a_database_that_is_away_is_a_fault(run: Keystead, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed address is reported without waiting."""
    monkeypatch.setenv("KEYSTEAD_DATABASE", "postgresql://nobody:swordfish@127.0.0.1:1/none")
    result = run("doctor", "--json")
    assert findings(result)["database"] == "fault"
    assert "swordfish" not in result.out + result.err


@pytest.mark.parametrize(
    ("keeps", "verdict"),
    [
        ({"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on"}, Verdict.OK),
        ({"synchronous_commit": "off", "fsync": "on", "full_page_writes": "on"}, Verdict.FAULT),
        ({"synchronous_commit": "local", "fsync": "on", "full_page_writes": "on"}, Verdict.FAULT),
        ({"synchronous_commit": "on", "fsync": "off", "full_page_writes": "on"}, Verdict.WARNING),
    ],
)
def test_durability_of_postgresql(keeps: dict[str, str], verdict: Verdict) -> None:
    """A commit that does not wait for the disk is a fault; a server that never syncs is one for tests."""
    assert checks.check_durability("PostgreSQL", keeps).verdict is verdict


@pytest.mark.parametrize(
    ("standbys", "says"),
    [
        ("", "on disk of this server only: no standby is synchronous, so a failover can lose it."),
        ("ANY 1 (b, c)", "on disk, and on the disks of synchronous standbys: ANY 1 (b, c)."),
    ],
)
def test_where_an_acknowledged_change_is(standbys: str, says: str) -> None:
    """The doctor reports whether losing one PostgreSQL server could lose acknowledged changes."""
    keeps = {"synchronous_commit": "on", "synchronous_standby_names": standbys}
    assert checks.check_durability("PostgreSQL", keeps).says == (
        f"An acknowledged change is {says}"
    )


@pytest.mark.parametrize(
    ("engine", "version", "verdict"),
    [
        ("SQLite", (3, 53, 4), Verdict.OK),
        ("SQLite", (3, 40, 1), Verdict.WARNING),
        ("PostgreSQL", (18, 4), Verdict.OK),
        ("PostgreSQL", (13, 9), Verdict.FAULT),
    ],
)
def test_engines(engine: str, version: tuple[int, ...], verdict: Verdict) -> None:
    """A SQLite with the WAL-reset bug is warned of, a PostgreSQL that is too old is a fault."""
    assert checks.check_engine(engine, version).verdict is verdict
