"""Processor time of commands on the machine, with everything that they import, vs. a bare interpreter's."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.figures import ROUNDS, Figure, at_most, compared, goal
from keystead import bootstrap
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import system
from keystead.settings import Settings
from tests.support.processes import KEYSTEAD

KEYS: Final = 60
LIST: Final = ("keys", "list")


def figures(quick: bool) -> Iterator[Figure]:
    """Measure `keystead keys list` in process over SQLite, and `keystead --version`."""
    rounds = 1 if quick else ROUNDS
    with tempfile.TemporaryDirectory(prefix="keystead-bench-") as temporary:
        folder = Path(temporary)
        _fill(folder)
        commands: dict[str, list[str]] = {
            "listed": [str(KEYSTEAD), *LIST, "--data", str(folder)],
            "version": [str(KEYSTEAD), "--version"],
            "bare": [sys.executable, "-c", "pass"],
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(rounds + 1):
            for name, command in commands.items():
                milliseconds = _processor_milliseconds(command, folder)
                if number:
                    taken[name].append(milliseconds)
    listed, version, bare = (statistics.median(taken[name]) for name in commands)
    yield goal("processor time of `keystead keys list` on SQLite", listed, "ms", at_most(450))
    yield compared("processor time of `keystead --version`, vs. bare Python", version, "ms", bare)


def _fill(folder: Path) -> None:
    """Create an embedded installation with keys."""
    settings = Settings(data=folder)
    bootstrap.migrate(settings)
    installation = bootstrap.open_safely(settings)
    try:
        owner = system(installation.services.workspaces.first().workspace_id)
        installation.services.workspaces.set_plan(owner.workspace_id, "scale")
        for number in range(KEYS):
            installation.services.keys.create(owner, KeyDraft(f"bench {number}"))
    finally:
        installation.close()


def _processor_milliseconds(command: list[str], folder: Path) -> float:
    """Return the time that the command took of a processor, in user and system mode."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return (usage.ru_utime + usage.ru_stime) * 1000
