"""`keystead prove`: on an installation of its own, and on a running one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from keystead.cli.options import Place
from keystead.cli.outcome import Exit
from keystead.domain.key_lists import KeySelection
from keystead.domain.keys import KeyStatus
from keystead.domain.principals import system
from keystead.domain.workspaces import Workspace
from keystead_prove.environment import on_running
from tests.cli.conftest import CommandResult, Keystead, one_engine, run
from tests.support.server_process import ServerProcess

__all__ = ["run"]


@pytest.mark.slow
def test_on_an_installation_of_its_own(run: Keystead, tmp_path: Path) -> None:
    """It starts servers, and reports the result for people and for programs."""
    file = tmp_path / "proof.md"
    arguments = ("limit", "--servers", "2", "--rounds", "1", "--report", str(file), "--json")
    ended = run("prove", *arguments)
    assert ended.code == Exit.DONE, ended.err
    report = ended.json
    assert report["verdict"] == "held"
    (finding,) = report["findings"]
    assert finding["experiment"] == "limit"
    assert finding["seeded"]["seen"] > 0
    assert sum(finding["violations"].values()) == 0
    assert report["about"]["servers"] == "2, started on this machine"
    assert file.read_text().startswith("# Keystead, guarantees tested: held\n")
    assert "100 concurrent creations for 10 places: held (1 tries" in ended.err


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_all_of_it_on_an_installation_of_its_own(run: Keystead, database_url: str) -> None:
    """It runs every experiment in its quick form; on PostgreSQL the one without a database too."""
    own = () if database_url.startswith("sqlite") else ("--database", database_url)
    ended = run("prove", *own, "--json")
    assert ended.code == Exit.DONE, ended.err
    names = {finding["experiment"] for finding in ended.json["findings"]}
    assert names == {"revocation", "limit", "clock", "kill", "restart"} | (
        {"away"} if own else set()
    )


@one_engine
def test_on_a_running_installation(
    run: Keystead, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works in a workspace of its own, which it leaves without a live key and suspended; others are unchanged."""
    token = server.token()
    monkeypatch.setenv("KEYSTEAD_DATA", str(server.data))
    monkeypatch.setenv("KEYSTEAD_DATABASE", server.database_url)
    ended = run("prove", "limit", "--url", server.base_url, "--rounds", "1")
    assert ended.code == Exit.DONE, ended.err
    assert "Overall: held." in ended.out
    assert "are revoked, and it is suspended" in ended.err
    assert server.call("GET", "/v1/whoami", token=token).status_code == 200
    proof, mine = _workspaces(server)
    assert proof.name.startswith("Proof 20")
    assert proof.suspended_at is not None
    assert mine.suspended_at is None
    assert _live_keys(server, proof) == 0
    assert _live_keys(server, mine) == 1


@one_engine
def test_a_proof_that_fails_leaves_nothing_alive(server: ServerProcess) -> None:
    """However it ends, its keys are revoked and its workspace is suspended."""
    place = Place(server.data, server.database_url)
    with suppress(KeyboardInterrupt), on_running(place, [server.base_url]) as setup:
        assert setup.environment.target.token not in repr(setup)
        raise KeyboardInterrupt
    proof = _workspaces(server)[0]
    assert proof.suspended_at is not None
    assert _live_keys(server, proof) == 0


@one_engine
def test_what_cannot_be_run_is_said(
    run: Keystead, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown experiment, one that would stop a given server, or an empty size: one line, and no attempt."""
    monkeypatch.setenv("KEYSTEAD_DATA", str(server.data))
    monkeypatch.setenv("KEYSTEAD_DATABASE", server.database_url)
    for arguments, says in (
        (["nonsense"], "Unknown experiment nonsense."),
        (["kill"], "Unknown experiment kill."),
        (["limit", "--rounds", "0"], "greater than zero"),
    ):
        ended = run("prove", *arguments, "--url", server.base_url)
        assert (ended.code, ended.out) == (Exit.USAGE, "")
        assert says in ended.err


@one_engine
def test_through_another_address(
    run: Keystead, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that accepts only requests with a key is an endpoint like a server's own; any other is refused."""
    monkeypatch.setenv("KEYSTEAD_DATA", str(server.data))
    monkeypatch.setenv("KEYSTEAD_DATABASE", server.database_url)
    url = server.base_url
    for page, code, says in (
        ("/v1/plan", Exit.USAGE, "Unknown experiment nonsense."),
        ("/healthz", Exit.UNAVAILABLE, "does not refuse (401 or 403) requests without a key"),
        ("/operator/v1/workspaces", Exit.UNAVAILABLE, "does not accept (2xx) a key"),
        ("/v1/plan#here", Exit.USAGE, "can't have a user or a fragment"),
    ):
        ended = run("prove", "nonsense", "--url", url, "--through", url + page)
        assert (ended.code, ended.out) == (code, "")
        assert says in ended.err
    abroad = run("prove", "limit", "--url", url, "--through", "http://192.0.2.1/page")
    assert abroad.code == Exit.USAGE
    alone = run("prove", "limit", "--through", url)
    assert alone.code == Exit.USAGE
    assert "give the --url of its servers" in alone.err
    assert {_live_keys(server, workspace) for workspace in _workspaces(server)} == {0}


@one_engine
def test_a_server_of_another_installation_is_refused(
    run: Keystead, server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the server does not know the created key, no experiment runs."""
    other = tmp_path / "other"
    monkeypatch.setenv("KEYSTEAD_DATA", str(other))
    assert run("migrate").code == Exit.DONE
    ended = run("prove", "limit", "--url", server.base_url)
    assert ended.code == Exit.UNAVAILABLE
    assert "Is it one of its servers?" in ended.err


@one_engine
def test_a_database_in_use_is_not_touched(run: Keystead, server: ServerProcess) -> None:
    """Without --url it creates an installation of its own, and never uses one that has keys."""
    server.token()
    refused: CommandResult = run("prove", "--database", server.database_url)
    assert refused.code == Exit.USAGE
    assert "This database is in use." in refused.err


def _workspaces(server: ServerProcess) -> list[Workspace]:
    from keystead import bootstrap

    installation = bootstrap.open_safely(server.settings)
    try:
        return installation.services.workspaces.list().items
    finally:
        installation.close()


def _live_keys(server: ServerProcess, workspace: Workspace) -> int:
    from keystead import bootstrap

    installation = bootstrap.open_safely(server.settings)
    try:
        acting = system(workspace.id)
        return len(installation.services.keys.list(acting, KeySelection(KeyStatus.ACTIVE)).items)
    finally:
        installation.close()
