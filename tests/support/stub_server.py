"""A server that is not Keystead: it sends prepared responses and records its requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final
from uuid import UUID

from keystead.domain.token import assemble

TOKEN: Final = assemble(
    "ks", UUID("01890a5d-ac96-774b-bcce-b302099a8057").int, bytes(range(32))
).reveal()
"""A well-formed token without a key: the contract's example."""


@dataclass
class StubServer:
    """The responses to send, one after the other, and the requests: method, path, fields, body."""

    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@contextmanager
def stub_server() -> Iterator[StubServer]:
    """Start a server on loopback."""
    stub = StubServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            stub.requests.append((self.command, self.path, headers, body))
            status, fields, content = stub.answers.pop(0) if stub.answers else (500, {}, b"")
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = answer  # noqa: N815 - http.server looks for these names

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def json_response(value: object) -> tuple[int, dict[str, str], bytes]:
    """Return a response 200 with JSON."""
    return 200, {"content-type": "application/json"}, json.dumps(value).encode()
