"""Keystead over a real Patroni cluster: what was acknowledged survives each kind of failover, on every server."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException

import pytest

from tests.support.acknowledged_changes import DEAD, LIVE, AcknowledgedChanges, at_work, verify
from tests.support.patroni import TTL_SECONDS, Cluster, cluster
from tests.support.postgres import wait_until
from tests.support.server_process import ServerProcess, serving

AWAY = 503
OWN_SECONDS = 5.0
"""Keystead answers again at most this many seconds after the cluster does."""

Fault = Callable[[Cluster], None]
"""Disturbs the primary, and restores what the cluster does not restore by itself."""


def primary_killed(cluster: Cluster) -> None:
    """Kill the primary's PostgreSQL. Patroni promotes the standby and brings the old primary back."""
    primary = cluster.primary()
    assert primary is not None
    primary.kill_postgres()


def patroni_killed(cluster: Cluster) -> None:
    """Kill the primary's Patroni, and restart it before the leader key expires."""
    primary = cluster.primary()
    assert primary is not None
    primary.kill_patroni()
    time.sleep(random.uniform(0, TTL_SECONDS / 4))
    primary.start()


def partitioned(cluster: Cluster) -> None:
    """Cut the primary and the first server off together from etcd, the others and the other server."""
    primary = cluster.primary()
    assert primary is not None
    cluster.cut_off(primary, 0)
    others = [node for node in cluster.nodes if node is not primary]
    cluster.wait(lambda: any(node.is_primary() for node in others), "a standby is promoted")
    cluster.reconnect(primary, 0)


def switchover(cluster: Cluster) -> None:
    """Switch over to the synchronous standby, as for maintenance."""
    cluster.switch_over()


class Watcher(threading.Thread):
    """A thread that verifies the clients' keys on one server until it is stopped, and records each wrong verdict."""

    def __init__(
        self, server: ServerProcess, changes_by_client: Sequence[AcknowledgedChanges]
    ) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.verified = 0
        self._server, self._changes_by_client = server, changes_by_client
        self._stopping = threading.Event()

    def run(self) -> None:
        """Verify a revoked and an active key in turn."""
        while not self._stopping.is_set():
            for changes in self._changes_by_client:
                # Noted before the verification begins, so its revocation was acknowledged before.
                if revoked := list(changes.revoked):
                    self._expect(changes, random.choice(revoked), DEAD)
                if active := list(set(changes.created) - changes.revoked - changes.in_doubt):
                    self._expect(changes, random.choice(active), LIVE)
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop, and wait for the last verification."""
        self._stopping.set()
        self.join()

    def _expect(self, changes: AcknowledgedChanges, key: str, expected: int) -> None:
        with suppress(OSError, HTTPException):
            status = verify(self._server, changes.created[key])
            self.verified += 1
            revoked_meanwhile = expected == LIVE and key in changes.revoked | changes.in_doubt
            if status not in {expected, AWAY} and not revoked_meanwhile:
                self.wrong.append(f"{key}: {status} instead of {expected}")


@contextmanager
def servers_over(cluster: Cluster) -> Iterator[list[ServerProcess]]:
    """Two servers of one installation, each with its own way to the cluster."""
    with ExitStack() as stack:
        first = stack.enter_context(serving(cluster.url(0)))
        first.put_on("scale")
        second = stack.enter_context(serving(cluster.url(1), data=first.data))
        yield [first, second]


@contextmanager
def watched(
    servers: Sequence[ServerProcess], changes_by_client: Sequence[AcknowledgedChanges]
) -> Iterator[list[Watcher]]:
    """Verify keys on each server until the block ends."""
    watchers = [Watcher(server, changes_by_client) for server in servers]
    for watcher in watchers:
        watcher.start()
    try:
        yield watchers
    finally:
        for watcher in watchers:
            watcher.stop()


def survive(cluster: Cluster, servers: Sequence[ServerProcess], token: str, fault: Fault) -> int:
    """Let a fault happen under load. Returns the number of promises that were checked and kept."""
    with (
        at_work(servers, token) as changes_by_client,
        watched(servers, changes_by_client) as watchers,
    ):
        time.sleep(random.uniform(0.2, 0.6))
        fault(cluster)
        cluster.wait(cluster.is_whole, "the cluster is whole again")
        whole = time.monotonic()
        wait_until(lambda: all(server.is_ready() for server in servers), "all servers are ready")
        own = time.monotonic() - whole
        before = [len(changes.created) for changes in changes_by_client]
        wait_until(
            lambda: all(len(a.created) > b for a, b in zip(changes_by_client, before, strict=True)),
            "keys are created again",
        )
    assert [wrong for watcher in watchers for wrong in watcher.wrong] == []
    assert all(watcher.verified for watcher in watchers)
    assert own < OWN_SECONDS
    assert {code for changes in changes_by_client for code in changes.refusals} <= {
        "unavailable",
        "outcome-unknown",
    }
    return sum(changes.check(servers) for changes in changes_by_client)


def survive_rounds(faults: Sequence[Fault], record_property: Callable[[str, object], None]) -> None:
    """Let faults happen one after the other in one cluster."""
    with cluster() as nodes, servers_over(nodes) as servers:
        token = servers[0].token()
        promises = [survive(nodes, servers, token, fault) for fault in faults]
    record_property("kept", sum(promises))
    assert min(promises) > 5


@pytest.mark.slow
def test_a_killed_primary_and_a_switchover_lose_nothing(
    record_property: Callable[[str, object], None],
) -> None:
    """No acknowledged change is lost, no revoked key is accepted, and the servers follow by themselves."""
    survive_rounds([primary_killed, switchover], record_property)


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", [primary_killed, patroni_killed, partitioned, switchover])
def test_twenty_faults_lose_nothing(
    fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    """Twenty rounds of each fault."""
    survive_rounds([fault] * 20, record_property)
