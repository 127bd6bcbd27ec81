"""Servers killed, restarted, with wrong clocks, and without a database: the other experiments, over real servers."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from keystead.cli.options import Place
from keystead.settings import Settings
from keystead_prove.environment import Setup, on_running
from keystead_prove.experiments import away, clock, kill, limit, restart
from keystead_prove.report import Finding, Verdict
from keystead_prove.servers.fault_proxy import fault_proxy
from keystead_prove.servers.processes import Server, free_port, keystead
from tests.support.server_process import begin
from tests.support.two_servers import servers_of, setup_of

SHIM = Path(__file__).with_name("skew.c")
MINUTES = 600
HOUR = 3_600
one_engine = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def check(finding: Finding, tries: int) -> None:
    """Check that there is no violation, and that the seeded fault was seen."""
    assert finding.violations == dict.fromkeys(finding.violations, 0)
    assert finding.verdict is Verdict.HELD
    assert finding.trials >= tries


@pytest.mark.slow
def test_killed_and_restarted_servers(database_url: str) -> None:
    """A kill and a rolling restart of two servers lose no acknowledged change, and accept no revoked key."""
    with servers_of(database_url, 2) as servers:
        environment = servers.setup.environment
        check(kill.run(environment.target, servers.servers, 1), 1)
        check(restart.run(environment.target, environment.operator, servers.servers, 1), 2)


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_two_hundred_kills(database_url: str) -> None:
    """The guarantee holds for 200 kills of three servers at work."""
    with servers_of(database_url, 3) as servers:
        finding = kill.run(servers.setup.environment.target, servers.servers, 200)
    check(finding, 200)
    assert finding.counts["acknowledged revocations"] > 200


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_ten_rolling_restarts(database_url: str) -> None:
    """Three servers, ten times one after the other, while keys are verified and revoked."""
    with servers_of(database_url, 3) as servers:
        environment = servers.setup.environment
        check(restart.run(environment.target, environment.operator, servers.servers, 10), 30)


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_fifty_rounds_for_ten_places(database_url: str) -> None:
    """A hundred concurrent creations over three servers, fifty times: ten succeed each time."""
    with setup_of(database_url, 3) as setup:
        check(limit.run(setup.environment.target, setup.environment.operator, 50), 50)


@pytest.mark.prove
@pytest.mark.timeout(600)
@one_engine
def test_thirty_seconds_without_a_database(database_url: str) -> None:
    """The connection to PostgreSQL cut: 503 and nothing else, and recovery within five seconds of its return."""
    host, _, port = database_url.rpartition("/")[0].rpartition("@")[2].partition(":")
    with fault_proxy(host, int(port)) as line:
        there = database_url.replace(f":{port}/", f":{line.port}/")
        with setup_of(there, 3) as setup:
            check(away.run(setup.environment.target, line, 30), 1_000)


class Skews:
    """Servers whose own clocks are wrong, each by the offset in its file."""

    def __init__(self, folder: Path, shim: Path) -> None:
        self._folder, self._shim = folder, shim
        self.files: list[Path] = []

    def environment(self, seconds: int) -> dict[str, str]:
        """Return the environment of a server whose clock is that many seconds off at first."""
        file = self._folder / f"skew-{len(self.files)}"
        self.files.append(file)
        file.write_bytes(bytes(8))
        self.set(file, seconds)
        return {"LD_PRELOAD": str(self._shim), "SKEW_FILE": str(file)}

    def set(self, file: Path, seconds: int) -> None:
        """Set that server's clock that many seconds off."""
        with file.open("r+b") as offset:
            offset.write(struct.pack("q", seconds))


@pytest.fixture
def skews(tmp_path: Path) -> Skews:
    """The compiled shim."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the shim that shifts a process's clock")
    shim = tmp_path / "skew.so"
    command = (compiler, "-shared", "-fPIC", "-O1", "-o", str(shim), str(SHIM), "-ldl")
    subprocess.run(command, check=True)
    compiled = Skews(tmp_path, shim)
    assert abs(time_in(compiled.environment(HOUR)) - time.time() - HOUR) < MINUTES
    return compiled


def time_in(environment: Mapping[str, str]) -> float:
    """Return the time as a process with that environment reads it."""
    command = (sys.executable, "-c", "import datetime; print(datetime.datetime.now().timestamp())")
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, check=True)
    return float(done.stdout)


@contextmanager
def skewed_sandbox(database_url: str, data: Path, skews: Skews) -> Iterator[Setup]:
    """Start three servers whose clocks are ten minutes late, right, and ten minutes early."""
    data.mkdir(mode=0o700)
    begin(Settings(data=data, database=database_url))
    known = os.environ | {"KEYSTEAD_DATABASE": database_url}
    with ExitStack() as stack:
        servers = []
        for seconds in (-MINUTES, 0, MINUTES):
            port = free_port()
            command = keystead("serve", "--data", str(data), "--port", str(port))
            environment = known | skews.environment(seconds)
            servers.append(Server(command, port, data, environment))
            stack.callback(servers[-1].kill)
            servers[-1].start()
        urls = [server.url for server in servers]
        yield stack.enter_context(on_running(Place(data, database_url), urls))


@pytest.mark.prove
@pytest.mark.timeout(600)
@one_engine
def test_servers_with_wrong_clocks(database_url: str, tmp_path: Path, skews: Skews) -> None:
    """Servers with clocks ten minutes apart, and jumping by an hour, behave as before: the database's time decides."""
    with skewed_sandbox(database_url, tmp_path / "data", skews) as setup:
        environment = setup.environment
        check(clock.run(environment.target, environment.operator, 20), 20)
        halt = threading.Event()
        jumping = threading.Thread(target=_jump, args=(skews, halt))
        jumping.start()
        try:
            check(clock.run(environment.target, environment.operator, 20), 20)
        finally:
            halt.set()
            jumping.join()


def _jump(skews: Skews, halt: threading.Event) -> None:
    while not halt.wait(0.3):
        skews.set(random.choice(skews.files), random.choice((-HOUR, 0, HOUR)))
