"""The command line over a database of each engine, run in this process as the console script runs it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keystead import bootstrap, cli
from keystead.bootstrap import Installation
from keystead.settings import Settings
from tests.support.server_process import begin


@dataclass(frozen=True)
class CommandResult:
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


Keystead = Callable[..., CommandResult]

one_engine = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is decided before a database is asked, or after it has answered."""


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Keystead:
    """Runs a command in this process, from an empty folder, with no settings but the ones a test makes."""
    for name in [name for name in os.environ if name.startswith("KEYSTEAD_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(home)

    def run_(*arguments: str) -> CommandResult:
        capsys.readouterr()
        try:
            code = cli.run(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return CommandResult(code, *capsys.readouterr())

    return run_


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """An installation of one engine, its schema made, with one workspace: Acme."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    made = Settings(data=data, database=database_url)
    begin(made)
    return made


@pytest.fixture
def installation(settings: Settings) -> Iterator[Installation]:
    """The same installation, open in this process as a server has it."""
    bootstrap.prepare(settings)
    opened = bootstrap.open_safely(settings)
    opened.services.workspaces.create("Acme", plan_id="free")
    yield opened
    opened.close()


@pytest.fixture
def keystead(
    run: Keystead, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> Keystead:
    """Runs a command on that installation, which its settings in the environment name."""
    monkeypatch.setenv("KEYSTEAD_DATA", str(installation.settings.data))
    monkeypatch.setenv("KEYSTEAD_DATABASE", str(installation.settings.database))
    return run
