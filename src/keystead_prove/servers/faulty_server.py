"""A small server with one seeded fault, which an experiment must see before its result counts.

It implements the part of the API that experiments use, in memory and in a journal.
`python -m keystead_prove.servers.faulty_server --fault NAME --journal FILE --port N` runs one alone.
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

from keystead_prove.servers.calls import WHOAMI
from keystead_prove.servers.endpoints import Target, plain

HOST: Final = "127.0.0.1"
MANAGER: Final = "faulty_manager"
"""The token of a key that exists from the start."""
LATE: Final = timedelta(milliseconds=600)
PAUSE_SECONDS: Final = 0.002
"""Between counting and creating, without a lock."""
BUFFER: Final = 64 * 1024


class Fault(StrEnum):
    """The fault of a server."""

    UNSYNCED = "responds before a change is written"
    RACY = "counts, and creates later, without a lock"
    LATE = "a clock that is 0.6 s slow"
    OPEN = "accepts every token while its database is away"


@dataclass
class StoredKey:
    """A stored key."""

    id: str
    expires_at: datetime | None
    revoked: bool = False


@dataclass
class Register:
    """The keys of a single workspace by token, and the fault."""

    fault: Fault
    journal: Path | None = None
    limit: int | None = None
    away: bool = False
    keys: dict[str, StoredKey] = field(default_factory=dict, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """Store the manager's key and the keys of the journal. What is buffered is lost if the process is killed."""
        self.keys[MANAGER] = StoredKey("key_manager", None)
        if self.journal is None:
            return
        if self.journal.exists():
            for line in self.journal.read_text().splitlines():
                self._replay(*line.split())
        self._file = self.journal.open("a", buffering=BUFFER)

    def add(self, token: str, expires_at: datetime | None = None) -> StoredKey | None:
        """Create a key with that token; None if the limit is reached. The fault: others may come in between."""
        if self.limit is not None and len(self.active()) >= self.limit:
            return None
        time.sleep(PAUSE_SECONDS)
        stored = StoredKey(f"key_{secrets.token_hex(8)}", expires_at)
        self.keys[token] = stored
        self._write("add", token, stored.id)
        return stored

    def revoke(self, id: str) -> None:
        """Revoke the key."""
        for stored in list(self.keys.values()):
            stored.revoked |= stored.id == id
        self._write("revoke", id, "-")

    def accepts(self, token: str) -> bool:
        """Return whether the token is accepted."""
        if self.away:
            return self.fault is Fault.OPEN
        stored = self.keys.get(token)
        return stored is not None and self._lives(stored)

    def active(self) -> list[StoredKey]:
        """Return the active keys."""
        return [stored for stored in list(self.keys.values()) if self._lives(stored)]

    def _lives(self, stored: StoredKey) -> bool:
        late = LATE if self.fault is Fault.LATE else timedelta()
        ended = stored.expires_at is not None and stored.expires_at <= datetime.now(UTC) - late
        return not (stored.revoked or ended)

    def _write(self, *words: str) -> None:
        # Into the buffer, not into the file: this is the fault UNSYNCED.
        if self.journal is not None:
            with self.lock:
                self._file.write(" ".join(words) + "\n")

    def _replay(self, *words: str) -> None:
        match words:
            case ("add", token, id):
                self.keys[token] = StoredKey(id, None)
            case ("revoke", id, "-"):
                for stored in self.keys.values():
                    stored.revoked |= stored.id == id
            case _:
                pass


class Handler(BaseHTTPRequestHandler):
    """The API calls of the experiments."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = BUFFER
    register: Register

    def do_GET(self) -> None:
        """Answer verifications, the list of active keys, and readiness."""
        if self.path == "/readyz":
            self._answer(200)
        elif self.register.away and self.register.fault is not Fault.OPEN:
            self._answer(503)
        elif not self.register.accepts(self._token()):
            self._answer(401)
        elif self.path == WHOAMI:
            stored = self.register.keys.get(self._token())
            self._answer(200, {"key": {"id": stored and stored.id}})
        else:
            self._answer(200, {"items": [{"id": stored.id} for stored in self.register.active()]})

    def do_POST(self) -> None:
        """Create a key."""
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        end = sent.get("expires_at")
        token = f"faulty_{secrets.token_hex(16)}"
        created = self.register.add(token, datetime.fromisoformat(end) if end else None)
        if created is None:
            self._answer(409)
        else:
            self._answer(201, {"id": created.id, "token": token, "expires_at": end})

    def do_DELETE(self) -> None:
        """Revoke a key."""
        self.register.revoke(self.path.rpartition("/")[2])
        self._answer(204)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

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
class FaultyServer:
    """A faulty server in this process, which is also its own operator and database switch."""

    register: Register
    target: Target

    def suspend(self) -> None:
        """Raise NotImplementedError."""
        raise NotImplementedError

    def resume(self) -> None:
        """Raise NotImplementedError."""
        raise NotImplementedError

    def cut(self) -> None:
        """Disconnect its database."""
        self.register.away = True

    def restore(self) -> None:
        """Connect its database again."""
        self.register.away = False

    def limit_keys(self, limit: int | None) -> None:
        """Set the limit of active keys."""
        self.register.limit = limit

    def now(self) -> datetime:
        """Return the correct time."""
        return datetime.now(UTC)


def faulty_server(fault: Fault) -> AbstractContextManager[FaultyServer]:
    """Run a server with that fault."""
    return served(Register(fault))


@contextmanager
def served(register: Register) -> Iterator[FaultyServer]:
    """Run a server of that register."""
    with Listener(0, register) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            url = f"http://{HOST}:{listener.server_port}"
            yield FaultyServer(register, Target([url], MANAGER, [plain(url)]))
        finally:
            listener.shutdown()
            thread.join()


def main(*arguments: str) -> None:
    """Run a server in a process of its own, until it is killed."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    register = Register(Fault[given["--fault"]], Path(given["--journal"]))
    Listener(int(given["--port"]), register).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
