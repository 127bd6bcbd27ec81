"""One process for the whole run that has imported the program, and forks a child whenever a test needs a process.

A fresh interpreter takes two seconds to import what a server needs; a child of the nursery has it already.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pkgutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, Final

from keystead.cli import run
from tests.support.postgres import DEADLINE_SECONDS, PR_SET_PDEATHSIG

KEYSTEAD: Final = Path(sys.executable).with_name("keystead")
"""The console script."""
PROGRAM: Final = (
    "alembic.command",
    "keystead.api.app",
    "keystead.cli.backup",
    "keystead.cli.doctor",
    "keystead.cli.keys",
    "keystead.cli.migrate",
    "keystead.cli.serve",
    "keystead.cli.workspaces",
    "keystead.client",
    "keystead.developer_area.app",
    "keystead.operation.health",
    "keystead.operation.server.serving",
)
PACKAGES: Final = (
    "keystead.gate",
    "keystead.http",
    "keystead.operation.server",
    "keystead.services",
    "keystead.storage.tables",
    "keystead.worker",
)
"""Packages whose modules a server imports as it needs them. Not that of the metrics, which reads the environment."""


@dataclass(frozen=True)
class CommandResult:
    """The result of a command: exit code, standard output, standard error."""

    code: int | None
    output: str
    log: str


@cache
def nursery() -> ForkServerContext:
    """Return the context whose processes are the nursery's children."""
    context = multiprocessing.get_context("forkserver")
    modules = (name for package in PACKAGES for name in _modules_of(package))
    last = "tests.support.frozen"
    context.set_forkserver_preload(["__main__", __name__, *PROGRAM, *modules, last])
    return context


def _modules_of(package: str) -> Iterator[str]:
    found = pkgutil.iter_modules(import_module(package).__path__)
    return (f"{package}.{module.name}" for module in found)


def run_apart(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    seconds: float = DEADLINE_SECONDS,
) -> CommandResult:
    """Run a command as the console script does, in a process of its own; `code` is None if it exceeded `seconds`."""
    child = nursery().Process(target=live, args=(arguments, environment, str(folder)))
    child.start()
    child.join(seconds)
    code = child.exitcode
    if code is None:
        child.kill()
        child.join()
    return CommandResult(code, (folder / "output").read_text(), (folder / "log").read_text())


def live(arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
    """Do what the console script does, in a process group, an environment and a folder of its own.

    Output goes to the files `output` and `log` in that folder.
    """
    os.setsid()
    die_with_parent()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name, number in (("output", 1), ("log", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    sys.exit(run(arguments))


def together(target: Any, *arguments: Sequence[Any]) -> list[int | None]:
    """Run `target(gate, *arguments)` in one process each; `gate.wait()` lets all start together. Returns exit codes."""
    gate = nursery().Barrier(len(arguments))
    racers = [nursery().Process(target=target, args=(gate, *given)) for given in arguments]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    return [racer.exitcode for racer in racers]


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that began it ends. Linux only; elsewhere it does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
