"""Is what was answered kept? Servers are killed at random moments while clients create and revoke keys."""

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

from keystead_prove.calls import WHOAMI, draft
from keystead_prove.connection import NO_ANSWER, Line
from keystead_prove.faulty_server import MANAGER, Fault
from keystead_prove.finding import Finding, Planted
from keystead_prove.history import MILLISECOND
from keystead_prove.servers import Own, fleet
from keystead_prove.target import Site

NAME: Final = "kill"
PROMISE: Final = (
    "A server that is killed has lost no creation and no revocation that it had answered;"
    " what it had not answered is done or not done, the same at every server."
)
CLIENTS: Final = 4
MOMENTS: Final = (0.05, 0.4)
"""Between how many seconds of work and the kill."""
PLANTED_KILLS: Final = 2
REVOKE_EVERY: Final = 2
ATTEMPTS: Final = 50
ATTEMPT_SECONDS: Final = 0.1


@dataclass
class Client(threading.Thread):
    """Creates keys and revokes every second one, at one server, until it does not answer or it is told to stop."""

    url: str
    token: str = field(repr=False)
    halt: threading.Event = field(default_factory=threading.Event, repr=False)
    created: dict[str, str] = field(default_factory=dict, repr=False)
    revoked: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """A thread that is not begun yet."""
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Notes what was answered; what was asked for and not answered may be either."""
        with Line(self.url, self.token) as line:
            while not self.halt.is_set():
                made = line.send("POST", "/v1/keys", draft())
                if made.status != 201:
                    break
                self.created[made.json["id"]] = made.json["token"]
                if len(self.created) % REVOKE_EVERY == 0 and not self._revoke(
                    line, made.json["id"]
                ):
                    break

    def _revoke(self, line: Line, id: str) -> bool:
        self.asked.add(id)
        if line.send("DELETE", f"/v1/keys/{id}").status != 204:
            return False
        self.revoked.add(id)
        return True


@dataclass
class Losses:
    """What was answered before the kills, and what of it is gone."""

    kills: int = 0
    created: int = 0
    revoked: int = 0
    lost: int = 0
    revived: int = 0
    disagreements: int = 0
    slowest_start: int = 0

    @property
    def any(self) -> int:
        """How many promises were broken."""
        return self.lost + self.revived + self.disagreements


def run(
    site: Site, servers: Sequence[Own], kills: int, tell: Callable[[int], None] = lambda _: None
) -> Finding:
    """So many kills, and some of a server that answers before it writes."""
    began = time.monotonic()
    honest = _killed(site, servers, kills, tell)
    planted = _flawed_killed(tell)
    return Finding(
        experiment=NAME,
        form="SIGKILL to a server at work",
        promise=PROMISE,
        trials=honest.kills,
        violations={
            "answered creations lost": honest.lost,
            "answered revocations undone": honest.revived,
            "keys about which servers disagree": honest.disagreements,
        },
        planted=Planted(f"a server that {Fault.UNSYNCED}", planted.created, planted.any),
        counts={
            "answered creations": honest.created,
            "answered revocations": honest.revoked,
            "milliseconds to start again, at most": honest.slowest_start // MILLISECOND,
        },
        seconds=time.monotonic() - began,
    )


def _killed(site: Site, servers: Sequence[Own], kills: int, tell: Callable[[int], None]) -> Losses:
    losses = Losses()
    for _ in range(kills):
        clients = _crash(site, random.choice(servers), losses)  # noqa: S311 - no secret
        for client in clients:
            _check(site, client, losses)
        tell(1)
    return losses


def _flawed_killed(tell: Callable[[int], None]) -> Losses:
    with tempfile.TemporaryDirectory(prefix="keystead-prove-") as folder:
        command = (sys.executable, "-m", "keystead_prove.faulty_server")
        named = ("--fault", Fault.UNSYNCED.name, "--journal", str(Path(folder) / "journal"))
        with fleet(1, (*command, *named), Path(folder)) as servers:
            site = Site([server.url for server in servers], MANAGER)
            return _killed(site, servers, PLANTED_KILLS, tell)


def _crash(site: Site, victim: Own, losses: Losses) -> list[Client]:
    """Clients at every server, and one server killed under them and started again."""
    clients = [Client(site.urls[n % len(site.urls)], site.token) for n in range(CLIENTS)]
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


def _check(site: Site, client: Client, losses: Losses) -> None:
    """Every key at every server."""
    losses.created += len(client.created)
    losses.revoked += len(client.revoked)
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(url)) for url in site.urls]
        for id, token in client.created.items():
            statuses = {_verdict(line, token) for line in lines}
            if id in client.revoked:
                losses.revived += 200 in statuses
            elif id not in client.asked:
                losses.lost += statuses != {200}
            losses.disagreements += len(statuses) > 1


def _verdict(line: Line, token: str) -> int:
    """200 or 401; a server that cannot tell yet is asked again."""
    status = NO_ANSWER
    for _ in range(ATTEMPTS):
        status = line.get(WHOAMI, token).status
        if status in {200, 401}:
            break
        time.sleep(ATTEMPT_SECONDS)
    return status
