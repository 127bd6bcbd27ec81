"""The calls that are measured, the floors that they are compared with, and their targets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bench.figures import Target, at_least
from bench.load import HOST

ENGINES: Final = ("SQLite", "PostgreSQL")
MANY: Final = 32
"""Connections, in addition to one alone."""
BARE: Final = "a bare 204"
FLOOR: Final = "its floor"
LOGGED: Final = "its floor with the revocation log"
"""A second file, which is synced too: what was revoked survives the restore of a backup."""
LOG: Final = "/logged"
"""Before the path of a call at the floor that also writes the log."""
FORWARD_AUTH: Final = "forward-auth"
COLLECTION: Final = "bench"
DOCUMENT: Final = "d500"
WORD: Final = "needle"
"""A word that is in one of ten documents."""

Targets = Mapping[tuple[str, str], Target]
"""The target of a ratio, by its engine and its baseline."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the REST API: `path` ends in `/` if the id of what is written follows."""

    name: str
    statements: str
    path: str
    method: str = "GET"
    values: Mapping[str, Any] = field(default_factory=dict)
    targets: Targets = field(default_factory=dict)
    revokes: bool = False

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"

    @property
    def connections(self) -> tuple[int, ...]:
        """Return how many connections it is measured with; the targets are those of the last."""
        return (1,) if self.writes else (1, MANY)


def _floors(bound: float) -> Targets:
    return {(engine, FLOOR): at_least(bound) for engine in ENGINES}


_DOCUMENTS: Final = f"/v1/collections/{COLLECTION}/documents"
_WRITE: Final = {("SQLite", FLOOR): at_least(0.6)}
CALLS: Final = (
    Call(
        "whoami",
        "whoami",
        "/v1/whoami",
        targets={
            ("SQLite", BARE): at_least(0.30),
            ("PostgreSQL", FORWARD_AUTH): at_least(0.35),
        },
    ),
    Call("plan", "plan", "/v1/plan"),
    Call("10 keys", "keys", "/v1/keys?limit=10", values={"limit": 11}),
    Call(
        "50 keys",
        "keys",
        "/v1/keys?limit=50",
        values={"limit": 51},
        targets={("SQLite", BARE): at_least(0.045), ("SQLite", FLOOR): at_least(0.35)},
    ),
    Call(
        "one document",
        "document",
        f"{_DOCUMENTS}/{DOCUMENT}",
        targets={
            ("SQLite", BARE): at_least(0.20),
            ("PostgreSQL", FORWARD_AUTH): at_least(0.35),
        },
    ),
    Call(
        "10 documents",
        "documents",
        f"{_DOCUMENTS}?limit=10",
        values={"limit": 11},
        targets=_floors(0.35),
    ),
    Call(
        "search, 10 documents",
        "search",
        f"{_DOCUMENTS}?limit=10&query={WORD}",
        values={"limit": 11},
        targets=_floors(0.35),
    ),
    Call(
        "10 events",
        "events",
        "/v1/events?limit=10",
        values={"limit": 11},
        targets=_floors(0.35),
    ),
    Call(
        "POST key",
        "create",
        "/v1/keys",
        "POST",
        {"type": "key.created", "target": "key"},
        _WRITE,
    ),
    Call(
        "PUT document",
        "put",
        f"{_DOCUMENTS}/",
        "PUT",
        {"type": "documents.pushed", "target": "document"},
        _WRITE,
    ),
    Call(
        "DELETE key",
        "revoke",
        "/v1/keys/",
        "DELETE",
        {"type": "key.revoked", "target": "key"},
        _WRITE | {("SQLite", LOGGED): at_least(0.6)},
        revokes=True,
    ),
)


def request(method: str, path: str, token: str, body: object = None) -> bytes:
    """Return the bytes of a request as a client's library sends it."""
    content = b"" if body is None else json.dumps(body).encode()
    fields = [
        f"{method} {path} HTTP/1.1",
        f"Host: {HOST}",
        f"Authorization: Bearer {token}",
        "User-Agent: bench/1.0",
        "Accept: */*",
    ]
    if body is not None:
        fields += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*fields, "", ""]).encode() + content
