"""A real cluster on loopback: three PostgreSQL under Patroni, with etcd, and relays that can cut it in two."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import psycopg
import pytest

from tests.support.postgres import HOST, NOBODY, PostgresProcess, wait_until
from tests.support.processes import die_with_parent
from tests.support.relay import CHUNK, Relay, relay_to
from tests.support.server_process import free_port

NODES: Final = 3
TTL_SECONDS: Final = 20
"""The lifetime of the leader key, the shortest that Patroni allows."""
FAILOVER_SECONDS: Final = 120.0
"""The time that the cluster itself may take on a busy machine; Keystead's own share is measured apart."""
_STREAMING: Final = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
_SYNCHRONOUS: Final = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"


class HttpRelay(Relay):
    """A relay for servers that end each connection themselves: the client gets the whole response before the end."""

    def _carry(self, source: socket.socket, sink: socket.socket, watched: bool) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                self._open.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        if watched:
            for end in (source, sink):
                self._ends.discard(end)
                end.close()


@dataclass
class Node:
    """One PostgreSQL with its Patroni. Others reach it, and it reaches etcd, through relays only."""

    name: str
    folder: Path
    port: int
    rest_port: int
    etcd: Relay
    inbound: Relay
    rest: Relay
    command: Sequence[str | Path] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start Patroni, which starts or adopts PostgreSQL."""
        user = NOBODY if os.geteuid() == 0 else None  # PostgreSQL does not run as root
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - a test that is killed leaves no Patroni behind
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )

    def kill_patroni(self) -> None:
        """Kill Patroni with SIGKILL. Its PostgreSQL goes on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kill_postgres(self) -> None:
        """Kill PostgreSQL and all its backends with SIGKILL."""
        with suppress(FileNotFoundError, ProcessLookupError):
            postmaster = int((self.folder / "data/postmaster.pid").read_text().split()[0])
            children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
            for process in [postmaster, *map(int, children)]:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        """Stop both. A Patroni that does not end is killed, and its PostgreSQL with it."""
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            self.process.kill()
            self.process.wait()
        self.kill_postgres()

    def is_primary(self) -> bool:
        """Return whether PostgreSQL accepts writes."""
        return self.query("SELECT NOT pg_is_in_recovery()") is True

    def query(self, statement: Any) -> object:
        """Return the value of a query, or None if PostgreSQL does not answer."""
        with suppress(psycopg.Error):
            url = f"postgresql://postgres@{HOST}:{self.port}/postgres?connect_timeout=2"
            with psycopg.connect(url, options="-c statement_timeout=2000") as connection:
                row = connection.execute(statement).fetchone()
                return row[0] if row else None
        return None

    def log_tail(self) -> str:
        """Return the last lines of Patroni and PostgreSQL."""
        return (self.folder / "log").read_text(errors="replace")[-3000:]


@dataclass
class Cluster:
    """The nodes, and for each Keystead server the relays through which it reaches them."""

    nodes: list[Node]
    ways: list[list[Relay]] = field(default_factory=list)

    def url(self, server: int) -> str:
        """Return the database URL of a Keystead server: every node, through its own relays."""
        hosts = ",".join(f"{HOST}:{relay.port}" for relay in self.ways[server])
        return f"postgresql://postgres@{hosts}/postgres"

    def primary(self) -> Node | None:
        """Return the node that accepts writes."""
        return next((node for node in self.nodes if node.is_primary()), None)

    def is_whole(self) -> bool:
        """Return whether a primary has all standbys, one of them synchronous."""
        primary = self.primary()
        return (
            primary is not None
            and primary.query(_STREAMING) == NODES - 1
            and primary.query(_SYNCHRONOUS) == 1
        )

    def wait(self, reached: Callable[[], object], what: str) -> None:
        """Wait for the cluster. A failure shows the logs."""
        deadline = time.monotonic() + FAILOVER_SECONDS
        while not reached():
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {node.name}\n{node.log_tail()}" for node in self.nodes)
                raise RuntimeError(f"{what}: not within {FAILOVER_SECONDS:.0f} s\n{logs}")
            time.sleep(0.1)

    def switch_over(self) -> None:
        """Have the primary pass its role to the synchronous standby, as an operator does."""
        # After a failover, Patroni needs a moment to agree on the synchronous standby.
        self.wait(self._switches_over, "the switchover is done")

    def _switches_over(self) -> bool:
        primary = self.primary()
        if primary is None:
            return False
        answer = httpx2.post(
            f"http://{HOST}:{primary.rest_port}/switchover",
            json={"leader": primary.name},
            timeout=FAILOVER_SECONDS,
            trust_env=False,
        )
        return answer.status_code == 200

    def cut_off(self, primary: Node, server: int) -> None:
        """Cut the primary and one Keystead server off together from etcd, the other nodes and the other server."""
        for relay in self._cut(primary, server):
            relay.silence()

    def reconnect(self, primary: Node, server: int) -> None:
        """Connect them again."""
        for relay in self._cut(primary, server):
            relay.restore()

    def _cut(self, primary: Node, server: int) -> list[Relay]:
        place = self.nodes.index(primary)
        ways = [
            relay
            for number, relays in enumerate(self.ways)
            for index, relay in enumerate(relays)
            if (number == server) != (index == place)
        ]
        return [primary.etcd, primary.inbound, primary.rest, *ways]


@contextmanager
def cluster(servers: int = 2) -> Iterator[Cluster]:
    """Start a cluster for that many Keystead servers. Skips if Patroni or etcd is not installed."""
    patroni, etcd = shutil.which("patroni"), shutil.which("etcd")
    if patroni is None or etcd is None:
        pytest.skip("no patroni and etcd: make test installs them as root on Debian")
    with (
        tempfile.TemporaryDirectory(
            prefix="keystead-patroni-", ignore_cleanup_errors=True
        ) as place,
        ExitStack() as stack,
    ):
        folder = Path(place)
        folder.chmod(0o755)
        etcd_port = stack.enter_context(_etcd(etcd, folder))
        binaries = PostgresProcess(folder, fsync=False).binaries
        nodes = [
            _node(stack, folder, f"node{n}", etcd_port, binaries, patroni) for n in range(NODES)
        ]
        new_cluster = Cluster(nodes)
        for _ in range(servers):
            new_cluster.ways.append([stack.enter_context(relay_to(node.port)) for node in nodes])
        for node in nodes:
            stack.callback(node.stop)
            node.start()
        new_cluster.wait(new_cluster.is_whole, "the cluster is whole")
        yield new_cluster


@contextmanager
def _etcd(program: str, folder: Path) -> Iterator[int]:
    client, peer = (f"http://{HOST}:{free_port()}" for _ in range(2))
    options = {
        "name": "etcd0",
        "data-dir": folder / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"etcd0={peer}",
    }
    with (folder / "etcd.log").open("ab") as log:
        process = subprocess.Popen(
            [program, *(f"--{name}={value}" for name, value in options.items())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            preexec_fn=die_with_parent,  # noqa: PLW1509 - a test that is killed leaves no etcd behind
        )
    try:
        # Patroni ends if it finds etcd still without a cluster version.
        wait_until(lambda: _is_decided(client), "etcd has decided its version")
        yield int(client.rpartition(":")[2])
    finally:
        process.kill()
        process.wait()


def _is_decided(etcd: str) -> bool:
    with suppress(httpx2.RequestError):
        version = httpx2.get(f"{etcd}/version", trust_env=False).json()
        return bool(version["etcdcluster"] != "not_decided")
    return False


def _node(
    stack: ExitStack, folder: Path, name: str, etcd: int, binaries: Path, patroni: str
) -> Node:
    home = folder / name
    home.mkdir(mode=0o755)
    port, rest_port = free_port(), free_port()
    file = home / "patroni.yml"
    node = Node(
        name,
        home,
        port,
        rest_port,
        etcd=stack.enter_context(relay_to(etcd)),
        inbound=stack.enter_context(relay_to(port)),
        rest=stack.enter_context(closing(HttpRelay(rest_port))),
        command=[patroni, file],
    )
    # JSON is YAML.
    file.write_text(json.dumps(_configuration(node, binaries)))
    if os.geteuid() == 0:
        os.chown(home, NOBODY, NOBODY)
    return node


def _configuration(node: Node, binaries: Path) -> dict[str, Any]:
    """Return what the guide for operators says, with the shortest times that Patroni allows."""
    dcs = {
        "ttl": TTL_SECONDS,
        "loop_wait": 1,
        "retry_timeout": 3,
        "primary_start_timeout": 0,
        "synchronous_mode": True,
        "synchronous_mode_strict": True,
        "postgresql": {"use_pg_rewind": True, "parameters": {"wal_log_hints": "on"}},
    }
    return {
        "scope": "keystead",
        "name": node.name,
        "restapi": {
            "listen": f"{HOST}:{node.rest_port}",
            "connect_address": f"{HOST}:{node.rest.port}",
        },
        # Without use_proxies, Patroni would ask etcd for its own address, and go around the relay.
        "etcd3": {"hosts": [f"{HOST}:{node.etcd.port}"], "use_proxies": True},
        "bootstrap": {"dcs": dcs, "initdb": [{"encoding": "UTF8"}, {"locale": "C"}]},
        "watchdog": {"mode": "off"},  # a machine for tests has no such device
        "postgresql": {
            "listen": f"{HOST}:{node.port}",
            "connect_address": f"{HOST}:{node.inbound.port}",
            "data_dir": str(node.folder / "data"),
            "bin_dir": str(binaries),
            "pgpass": str(node.folder / "pgpass"),
            "pg_hba": [f"host {kind} all {HOST}/32 trust" for kind in ("all", "replication")],
            "authentication": {
                "superuser": {"username": "postgres", "password": "unused"},
                "replication": {"username": "replicator", "password": "unused"},
            },
            "parameters": {
                "unix_socket_directories": "",
                "synchronous_commit": "on",
                "fsync": "off",  # processes die here, never the machine
            },
        },
    }
