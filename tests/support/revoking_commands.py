"""Keys revoked by the command line, in a process of its own each time; its output signals success."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from keystead.cli import run
from keystead_prove.race.acts import Act
from keystead_prove.race.history import MILLISECOND
from keystead_prove.servers.calls import Key
from keystead_prove.servers.connection import Connection, Reply
from tests.support.processes import die_with_parent, nursery
from tests.support.two_servers import Servers

REMEMBERS = 1_000 * MILLISECOND
"""The lifetime of a seeded cache entry: a command reports success a good while after the change."""
DONE = 204
FAILED = 500


@dataclass(frozen=True)
class Environment:
    """What a command finds in its environment; some of it is secret."""

    settings: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Commands:
    """The place of commands: the installation's own machine, or one of its servers with a token."""

    folder: Path
    here: Environment
    workspace: str
    url: str
    token: str = field(repr=False)

    def acts(self) -> list[Act]:
        """Return the ways of the command line to revoke keys."""
        made = [
            Act("command", "revoked by `keystead keys revoke` on the machine", self.revoke_here),
            Act("remote", "revoked by `keystead keys revoke --url`", self.revoke_there),
            Act("own", "revoked by `keystead keys revoke --url` with its own token", self.end_self),
            Act("rotated here", "rotated by `keystead keys rotate` on the machine", self.rotate),
            Act("rotated", "rotated by `keystead keys rotate --url`", self.rotate_there),
            Act(
                "suspended",
                "its workspace suspended by `keystead workspaces suspend`",
                self.suspend,
                with_operator=True,
            ),
        ]
        return [replace(act, remembers=REMEMBERS) for act in made]

    def revoke_here(self, _: Connection, key: Key) -> Reply:
        """Revoke over the installation's own database."""
        words = ("keys", "revoke", key.id, "--yes", "--workspace", self.workspace)
        return self._run("Revoked", words, self.here)

    def revoke_there(self, _: Connection, key: Key) -> Reply:
        """Revoke at a server."""
        return self._at_server("Revoked", "revoke", key.id, "--yes")

    def end_self(self, _: Connection, key: Key) -> Reply:
        """Revoke at a server, with the key itself."""
        return self._at_server("Revoked", "revoke", key.id, "--yes", token=key.token)

    def rotate(self, _: Connection, key: Key) -> Reply:
        """Rotate over the installation's own database; the new token is printed first."""
        words = ("keys", "rotate", key.id, "--workspace", self.workspace)
        return self._run("ks_", words, self.here)

    def rotate_there(self, _: Connection, key: Key) -> Reply:
        """Rotate at a server."""
        return self._at_server("ks_", "rotate", key.id)

    def suspend(self, _: Connection, __: Key) -> Reply:
        """Suspend the whole workspace."""
        return self._run("suspended", ("workspaces", "suspend", self.workspace), self.here)

    def _at_server(self, says: str, *words: str, token: str | None = None) -> Reply:
        known = Environment({"KEYSTEAD_TOKEN": token or self.token})
        return self._run(says, ("keys", *words, "--url", self.url), known)

    def _run(self, says: str, words: Sequence[str], known: Environment) -> Reply:
        """Run a command. The reply ends when its output contains the text `says`."""
        context = nursery()
        reading, writing = context.Pipe(duplex=False)
        child = context.Process(target=speak, args=(words, known, str(self.folder), writing))
        started = time.monotonic_ns()
        child.start()
        writing.close()
        output, ended = b"", 0
        while part := os.read(reading.fileno(), 65_536):
            output += part
            if not ended and says.encode() in output:
                ended = time.monotonic_ns()
        reading.close()
        child.join()
        is_done = child.exitcode == 0 and ended
        return Reply(DONE if is_done else FAILED, started, ended or time.monotonic_ns())


def commands_of(made: Servers, folder: Path) -> Commands:
    """Return the command line of that installation."""
    first = made.servers[0]
    place = {"KEYSTEAD_DATA": str(first.data), "KEYSTEAD_DATABASE": first.database_url}
    folder.mkdir(exist_ok=True)
    target = made.setup.environment.target
    return Commands(folder, Environment(place), made.setup.workspace, first.base_url, target.token)


def speak(words: Sequence[str], known: Environment, folder: str, writing: Pipe) -> None:
    """Do what the console script does with its output in the pipe; in a child of the nursery."""
    os.setsid()
    die_with_parent()
    os.chdir(folder)
    path = os.environ["PATH"]
    os.environ.clear()
    os.environ.update({"HOME": folder, "PATH": path, **known.settings})
    for number in (1, 2):
        os.dup2(writing.fileno(), number)
    writing.close()
    sys.exit(run(words))
