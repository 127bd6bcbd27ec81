"""The doctor reports what is wrong and how to fix it, and changes nothing."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from keystead.bootstrap import Installation
from keystead.operation import checks
from keystead.operation.checks import Verdict
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
    """The verdicts by check."""
    return {finding["check"]: finding["verdict"] for finding in ended.json}


def test_a_sound_installation_has_no_fault(
    keystead: Keystead, monkeypatch: pytest.MonkeyPatch, installation: Installation
) -> None:
    """Every check is made and none is a fault; exit code 0. As text each is one line."""
    monkeypatch.setenv("KEYSTEAD_PORT", "0")
    told = keystead("doctor", "--json")
    verdicts = findings(told)
    own = set() if installation.settings.is_embedded else {"role", "row security"}
    assert verdicts.keys() == CHECKS | own
    assert "fault" not in verdicts.values()
    assert told.code == 0
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
    """A Python whose parsers have known faults is a warning, which says what to upgrade to."""
    found = checks.check_interpreter(version)
    assert found.verdict is verdict
    assert ("CVE-2024-7592" in found.says) == (verdict is Verdict.WARNING)


def test_nothing_is_made_by_looking(run: Keystead) -> None:
    """Before the first start the doctor finds nothing wrong, and leaves nothing behind."""
    assert run("doctor").code == 0
    assert not list(Path.cwd().iterdir())


@one_engine
def test_each_fault_is_found_and_told_how_to_mend(
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
        told = keystead("doctor", "--json")
    verdicts = findings(told)
    assert {check for check, verdict in verdicts.items() if verdict == "fault"} == {
        "files",
        "port",
        "peppers",
    }
    assert told.code == 1
    assert f"run: chmod 0640 {file}" in told.out


@pytest.mark.slow
def test_a_server_that_runs_is_no_fault(server: ServerProcess) -> None:
    """While Keystead answers on the port, the port is as it should be."""
    told = server.cli("doctor", "--json", KEYSTEAD_PORT=str(server.port))
    assert told.returncode == 0
    assert "Keystead answers" in told.stdout


@one_engine
def test_a_wrong_configuration_is_the_one_finding(
    keystead: Keystead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the settings can't be read, nothing else is checked."""
    monkeypatch.setenv("KEYSTEAD_HOST", "0.0.0.0")
    told = keystead("doctor", "--json")
    assert findings(told) == {"configuration": "fault"}
    assert told.code == 1


def test_a_database_that_is_away_is_a_fault(run: Keystead, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed address is reported without waiting."""
    monkeypatch.setenv("KEYSTEAD_DATABASE", "postgresql://nobody:swordfish@127.0.0.1:1/none")
    told = run("doctor", "--json")
    assert findings(told)["database"] == "fault"
    assert "swordfish" not in told.out + told.err


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
    """The doctor reports whether losing one server of PostgreSQL could lose acknowledged changes."""
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
