"""A small server with one fault on purpose: what an experiment must catch before its silence says anything.

It speaks as much of the API as the experiments use, keeps everything in memory and a journal, and is never started for
anything else. `python -m keystead_prove.faulty_server --fault NAME --journal FILE --port N` runs one alone.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from keystead_prove.calls import WHOAMI
from keystead_prove.endpoints import plain
from keystead_prove.target import Site

HOST: Final = "127.0.0.1"
MANAGER: Final = "flawed_manager"
"""The token of a key that is there from the beginning."""
LATE: Final = timedelta(milliseconds=600)
PAUSE_SECONDS: Final = 0.002
"""Between counting and creating, where nothing is held in between."""
BUFFER: Final = 64 * 1024


class Fault(StrEnum):
    """What is wrong with a server."""

    UNSYNCED = "answers before a change is written"
    RACY = "counts, and creates later, without a lock"
    LATE = "a clock that is 0.6 s late"
    OPEN = "accepts every token while its database is away"


@dataclass
class Held:
    """A key as it is kept."""

    id: str
    expires_at: datetime | None
    revoked: bool = False


@dataclass
class Register:
    """The keys of the one workspace, by their tokens, and the fault."""

    fault: Fault
    journal: Path | None = None
    limit: int | None = None
    away: bool = False
    keys: dict[str, Held] = field(default_factory=dict, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """The manager's key, and what the journal holds, which is gone on with; the buffer is lost with the process."""
        self.keys[MANAGER] = Held("key_manager", None)
        if self.journal is None:
            return
        if self.journal.exists():
            for line in self.journal.read_text().splitlines():
                self._replay(*line.split())
        self._file = self.journal.open("a", buffering=BUFFER)

    def add(self, token: str, expires_at: datetime | None = None) -> Held | None:
        """A key with that token; None where the limit is reached. The fault: others may come in between."""
        if self.limit is not None and len(self.active()) >= self.limit:
            return None
        time.sleep(PAUSE_SECONDS)
        held = Held(f"key_{secrets.token_hex(8)}", expires_at)
        self.keys[token] = held
        self._write("add", token, held.id)
        return held

    def revoke(self, id: str) -> None:
        """Ends the key of that id."""
        for held in list(self.keys.values()):
            held.revoked |= held.id == id
        self._write("revoke", id, "-")

    def accepts(self, token: str) -> bool:
        """Whether a token is good."""
        if self.away:
            return self.fault is Fault.OPEN
        held = self.keys.get(token)
        return held is not None and self._lives(held)

    def active(self) -> list[Held]:
        """The keys that live."""
        return [held for held in list(self.keys.values()) if self._lives(held)]

    def _lives(self, held: Held) -> bool:
        late = LATE if self.fault is Fault.LATE else timedelta()
        ended = held.expires_at is not None and held.expires_at <= datetime.now(UTC) - late
        return not (held.revoked or ended)

    def _write(self, *words: str) -> None:
        """Into the buffer, which is not the file: that is the fault."""
        if self.journal is not None:
            with self.lock:
                self._file.write(" ".join(words) + "\n")

    def _replay(self, *words: str) -> None:
        match words:
            case ("add", token, id):
                self.keys[token] = Held(id, None)
            case ("revoke", id, "-"):
                for held in self.keys.values():
                    held.revoked |= held.id == id
            case _:
                pass


class Handler(BaseHTTPRequestHandler):
    """The few calls."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = BUFFER
    register: Register

    def do_GET(self) -> None:
        """Verification, the list of active keys, and whether it is ready."""
        if self.path == "/readyz":
            self._answer(200)
        elif self.register.away and self.register.fault is not Fault.OPEN:
            self._answer(503)
        elif not self.register.accepts(self._token()):
            self._answer(401)
        elif self.path == WHOAMI:
            held = self.register.keys.get(self._token())
            self._answer(200, {"key": {"id": held and held.id}})
        else:
            self._answer(200, {"items": [{"id": held.id} for held in self.register.active()]})

    def do_POST(self) -> None:
        """A new key."""
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        end = sent.get("expires_at")
        token = f"flawed_{secrets.token_hex(16)}"
        made = self.register.add(token, datetime.fromisoformat(end) if end else None)
        if made is None:
            self._answer(409)
        else:
            self._answer(201, {"id": made.id, "token": token, "expires_at": end})

    def do_DELETE(self) -> None:
        """The end of a key."""
        self.register.revoke(self.path.rpartition("/")[2])
        self._answer(204)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""

    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _answer(self, status: int, value: object = None) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Listener(ThreadingHTTPServer):
    """Serves one register."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, register: Register) -> None:
        handler = type("Bound", (Handler,), {"register": register})
        super().__init__((HOST, port), handler)


@dataclass(frozen=True, slots=True)
class Flawed:
    """A flawed server in this process, and what its operator may do."""

    register: Register
    site: Site

    def suspend(self) -> None:
        """It has no such thing."""
        raise NotImplementedError

    def resume(self) -> None:
        """It has no such thing."""
        raise NotImplementedError

    def cut(self) -> None:
        """Its database is away from now on."""
        self.register.away = True

    def mend(self) -> None:
        """It is back."""
        self.register.away = False

    def limit_keys(self, limit: int | None) -> None:
        """How many active keys there may be."""
        self.register.limit = limit

    def now(self) -> datetime:
        """The right time."""
        return datetime.now(UTC)


def flawed(fault: Fault) -> AbstractContextManager[Flawed]:
    """A server with that fault, for as long as the block runs."""
    return served(Register(fault))


@contextmanager
def served(register: Register) -> Iterator[Flawed]:
    """A server of that register, for as long as the block runs."""
    with Listener(0, register) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            url = f"http://{HOST}:{listener.server_port}"
            yield Flawed(register, Site([url], MANAGER, [plain(url)]))
        finally:
            listener.shutdown()
            thread.join()


def main(*arguments: str) -> None:
    """One in a process of its own, until it is killed."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    register = Register(Fault[given["--fault"]], Path(given["--journal"]))
    Listener(int(given["--port"]), register).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
