"""Are acknowledged changes kept? Servers are killed at random moments while clients create and revoke keys."""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keystead_prove.race.history import MILLISECOND
from keystead_prove.report import Finding, SeededFault
from keystead_prove.servers.calls import WHOAMI, draft
from keystead_prove.servers.connection import NO_ANSWER, Connection
from keystead_prove.servers.endpoints import Target
from keystead_prove.servers.faulty_server import MANAGER, Fault
from keystead_prove.servers.processes import RestartableServer, start_servers

NAME: Final = "kill"
PROMISE: Final = (
    "A killed server has lost no creation and no revocation that it had acknowledged;"
    " a request without a response was done or not, the same at every server."
)
CLIENTS: Final = 4
MOMENTS: Final = (0.05, 0.4)
"""The least and the most seconds of work before the kill."""
SEEDED_KILLS: Final = 2
REVOKE_EVERY: Final = 2
ATTEMPTS: Final = 50
ATTEMPT_SECONDS: Final = 0.1


@dataclass
class Client(threading.Thread):
    """Creates keys and revokes every second one, at one server, until it does not respond or is stopped."""

    url: str
    token: str = field(repr=False)
    halt: threading.Event = field(default_factory=threading.Event, repr=False)
    created: dict[str, str] = field(default_factory=dict, repr=False)
    revoked: set[str] = field(default_factory=set)
    requested: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Initialize the thread."""
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Note what was acknowledged; requests without a response may have either outcome."""
        with Connection(self.url, self.token) as connection:
            while not self.halt.is_set():
                reply = connection.send("POST", "/v1/keys", draft())
                if reply.status != 201:
                    break
                self.created[reply.json["id"]] = reply.json["token"]
                if len(self.created) % REVOKE_EVERY == 0 and not self._revoke(
                    connection, reply.json["id"]
                ):
                    break

    def _revoke(self, connection: Connection, id: str) -> bool:
        self.requested.add(id)
        if connection.send("DELETE", f"/v1/keys/{id}").status != 204:
            return False
        self.revoked.add(id)
        return True


@dataclass
class Losses:
    """What was acknowledged before the kills, and what of it was lost."""

    kills: int = 0
    created: int = 0
    revoked: int = 0
    lost: int = 0
    revived: int = 0
    disagreements: int = 0
    slowest_start: int = 0

    @property
    def any(self) -> int:
        """Return how many promises were broken."""
        return self.lost + self.revived + self.disagreements


def run(
    target: Target,
    servers: Sequence[RestartableServer],
    kills: int,
    on_step: Callable[[int], None] = lambda _: None,
) -> Finding:
    """Kill servers that often, and some times a server that responds before it writes."""
    began = time.monotonic()
    actual = _killed(target, servers, kills, on_step)
    seeded = _kill_faulty_server(on_step)
    return Finding(
        experiment=NAME,
        form="SIGKILL to a server at work",
        promise=PROMISE,
        trials=actual.kills,
        violations={
            "acknowledged creations lost": actual.lost,
            "acknowledged revocations undone": actual.revived,
            "keys about which servers disagree": actual.disagreements,
        },
        seeded=SeededFault(f"a server that {Fault.UNSYNCED}", seeded.created, seeded.any),
        counts={
            "acknowledged creations": actual.created,
            "acknowledged revocations": actual.revoked,
            "milliseconds to start again, at most": actual.slowest_start // MILLISECOND,
        },
        seconds=time.monotonic() - began,
    )


def _killed(
    target: Target, servers: Sequence[RestartableServer], kills: int, on_step: Callable[[int], None]
) -> Losses:
    losses = Losses()
    for _ in range(kills):
        clients = _crash(target, random.choice(servers), losses)  # noqa: S311 - no secret
        for client in clients:
            _check(target, client, losses)
        on_step(1)
    return losses


def _kill_faulty_server(on_step: Callable[[int], None]) -> Losses:
    with tempfile.TemporaryDirectory(prefix="keystead-prove-") as folder:
        command = (sys.executable, "-m", "keystead_prove.servers.faulty_server")
        options = ("--fault", Fault.UNSYNCED.name, "--journal", str(Path(folder) / "journal"))
        with start_servers(1, (*command, *options), Path(folder)) as servers:
            target = Target([server.url for server in servers], MANAGER)
            return _killed(target, servers, SEEDED_KILLS, on_step)


def _crash(target: Target, victim: RestartableServer, losses: Losses) -> list[Client]:
    """Run clients at every server, kill one server meanwhile and start it again."""
    clients = [Client(target.urls[n % len(target.urls)], target.token) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(random.uniform(*MOMENTS))  # noqa: S311 - no secret
    victim.kill()
    for client in clients:
        client.halt.set()
    for client in clients:
        client.join()
    began = time.monotonic_ns()
    victim.start()
    losses.slowest_start = max(losses.slowest_start, time.monotonic_ns() - began)
    losses.kills += 1
    return clients


def _check(target: Target, client: Client, losses: Losses) -> None:
    """Verify every key at every server."""
    losses.created += len(client.created)
    losses.revoked += len(client.revoked)
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(url)) for url in target.urls]
        for id, token in client.created.items():
            statuses = {_verdict(connection, token) for connection in connections}
            if id in client.revoked:
                losses.revived += 200 in statuses
            elif id not in client.requested:
                losses.lost += statuses != {200}
            losses.disagreements += len(statuses) > 1


def _verdict(connection: Connection, token: str) -> int:
    """Return 200 or 401, asking again while the server is unavailable."""
    status = NO_ANSWER
    for _ in range(ATTEMPTS):
        status = connection.get(WHOAMI, token).status
        if status in {200, 401}:
            break
        time.sleep(ATTEMPT_SECONDS)
    return status
