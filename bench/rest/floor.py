"""`python -m bench.rest.floor PORT FILE`: a bare application on the same server that only does what a call must.

FILE says what that is for each path: the statements for a bare cursor and the bytes of the product's own response.
Everything runs on the event loop, which is the fastest way of one process. A write's statements are one transaction.
"""

from __future__ import annotations

import json
import os
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from keystead.http.asgi import App, Receive, Scope, Send
from keystead.operation.server.serving import Address, serve
from keystead.storage.engine.connections import SQLITE_PRAGMAS, sqlite_driver
from keystead.storage.point_reads.by_id import READ_PRAGMAS

Execute = Callable[[str, dict[str, Any]], Any]
FRESH_LENGTH: Final = 11


@dataclass(frozen=True, slots=True)
class Script:
    """The statements of one path, whether they are a transaction, and the response; `log` is synced after them."""

    statements: tuple[str, ...]
    values: dict[str, Any]
    writes: bool
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    log: str

    @classmethod
    def of(cls, content: dict[str, Any]) -> Script:
        """Return it from the file's JSON; bytes are base64 there."""
        values = {
            name: b64decode(value["bytes"]) if isinstance(value, dict) else value
            for name, value in content["values"].items()
        }
        headers = tuple((name.encode(), value.encode()) for name, value in content["headers"])
        body = b64decode(content["body"])
        return cls(
            tuple(content["statements"]),
            values,
            content["writes"],
            content["status"],
            headers,
            body,
            content.get("log", ""),
        )

    def run(self, execute: Execute, id: str) -> None:
        """Execute the statements and fetch all rows."""
        if not self.writes:
            for statement in self.statements:
                execute(statement, self.values).fetchall()
            return
        fresh = os.urandom(FRESH_LENGTH).hex()
        own = {"id": id or f"key_{fresh}", "fresh": fresh, "now": time.time_ns() // 1000}
        execute("BEGIN", {})
        for statement in self.statements:
            execute(statement, self.values | own)
        execute("COMMIT", {})
        if self.log:
            _append(self.log, f"{own['now']} key.revoked {self.values['workspace']} {id}\n")


def application(scripts: dict[str, Script], execute: Execute) -> App:
    """Return the application: a path is one of the file's, or one of them and an id."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                await send({"type": f"{(await receive())['type']}.complete"})
            return
        target = f"{scope['method']} {scope['path']}"
        if scope["query_string"]:
            target = f"{target}?{scope['query_string'].decode()}"
        if scope["method"] in {"POST", "PUT"}:
            while (await receive()).get("more_body"):
                pass
        script, id = scripts.get(target), ""
        if script is None:
            parent, _, id = target.rpartition("/")
            script = scripts[f"{parent}/"]
        script.run(execute, id)
        await send(
            {
                "type": "http.response.start",
                "status": script.status,
                "headers": list(script.headers),
            }
        )
        await send({"type": "http.response.body", "body": script.body})

    return answer


def cursor(url: str) -> Execute:
    """Return `execute` of a bare cursor on a connection of its own, with the product's pragmas."""
    if not url.startswith("sqlite:///"):
        connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)
        return connection.cursor().execute
    embedded = sqlite_driver.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    for pragma in (*SQLITE_PRAGMAS, *READ_PRAGMAS):
        if pragma != "PRAGMA query_only = ON":
            embedded.execute(pragma)
    execute: Execute = embedded.cursor().execute
    return execute


def _append(path: str, line: str) -> None:
    file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.write(file, line.encode())
    os.fsync(file)
    os.close(file)


def create() -> App:
    """Read the file and return its application."""
    content = json.loads(Path(sys.argv[2]).read_text())
    scripts = {target: Script.of(script) for target, script in content["scripts"].items()}
    return application(scripts, cursor(content["url"]))


if __name__ == "__main__":
    place = Address("127.0.0.1", int(sys.argv[1]))
    serve(place, create, on_started=lambda: None, may_reload=lambda: True)
