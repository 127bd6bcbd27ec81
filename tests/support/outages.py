"""Outages of a database, the keys that are requested meanwhile, and the bound on waiting."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg

from tests.support.postgres import PrivatePostgres
from tests.support.relay import Relay
from tests.support.server_process import ServerProcess, serving

BOUND_SECONDS: Final = 2.0
"""The longest that any request may wait for a response while the database is away."""
RECOVERY_SECONDS: Final = 5.0
SHARES: Final = 4
"""The number of threads and processes that a response passes through, each of which a busy machine may delay."""

Outage = tuple[Callable[[], None], Callable[[], None]]
"""The functions that begin and end an outage."""
Taking = Callable[[PrivatePostgres, Relay], Outage]


def stopped(postgres: PrivatePostgres, _: Relay) -> Outage:
    """Shut PostgreSQL down."""
    return postgres.stop, postgres.start


def silent(_: PrivatePostgres, relay: Relay) -> Outage:
    """Drop everything and end no connection, as a silent network does."""
    return relay.silence, relay.restore


def cut(_: PrivatePostgres, relay: Relay) -> Outage:
    """Reset every connection."""
    return relay.cut, relay.restore


def frozen(postgres: PrivatePostgres, _: Relay) -> Outage:
    """Stop all processes of PostgreSQL with SIGSTOP."""
    family: list[int] = []

    def freeze() -> None:
        postmaster = postmaster_of(postgres)
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        family[:] = [postmaster, *map(int, children)]
        signal_all(family, signal.SIGSTOP)

    return freeze, lambda: signal_all(reversed(family), signal.SIGCONT)


def half_frozen(postgres: PrivatePostgres, _: Relay) -> Outage:
    """Stop only the process that accepts connections: existing connections go on."""
    postmaster = postmaster_of(postgres)
    return (
        lambda: os.kill(postmaster, signal.SIGSTOP),
        lambda: os.kill(postmaster, signal.SIGCONT),
    )


def postmaster_of(postgres: PrivatePostgres) -> int:
    """Return the ID of the process that all others of that PostgreSQL descend from."""
    with psycopg.connect(postgres.dsn()) as connection:
        backend = connection.info.backend_pid
        return int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])


def signal_all(processes: Iterator[int] | list[int], number: signal.Signals) -> None:
    """Send a signal to each."""
    for process in processes:
        os.kill(process, number)


def bound(lag: float, *, exactly: bool) -> float:
    """Return how many seconds a response may take, on a machine whose idle latency is `lag`."""
    return BOUND_SECONDS if exactly else BOUND_SECONDS + SHARES * lag


def keys_of(server: ServerProcess) -> dict[str, str]:
    """Return a live key, a revoked one, an unknown one, and one that creates others."""
    creator, live, dead = server.token(), server.token(), server.token()
    own = server.call("GET", "/v1/whoami", token=dead).json()["key"]["id"]
    assert server.call("DELETE", f"/v1/keys/{own}", token=dead).status_code == 204
    with serving_elsewhere(server) as unknown:
        return {"live": live, "dead": dead, "unknown": unknown, "create": creator}


@contextmanager
def serving_elsewhere(server: ServerProcess) -> Iterator[str]:
    """Yield the token of a key of another installation."""
    folder = server.data / "elsewhere"
    with serving(f"sqlite:///{folder / 'keystead.db'}", start=False) as other:
        yield other.token()


def threads_of(server: ServerProcess) -> int:
    """Return how many threads the serving process has."""
    (process,) = server.processes()
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("Threads:")[1].split()[0])


def files_of(server: ServerProcess) -> int:
    """Return how many files and connections the serving process has open."""
    (process,) = server.processes()
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def connections_to(port: int) -> int:
    """Return how many connections of this machine lead to that port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)
