"""The servers side by side over one database: Keystead with the rows to read, and the floor with what to do."""

from __future__ import annotations

import json
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any, Final

from bench.installations import fill
from bench.load import HOST, Requests
from bench.rest.calls import CALLS, COLLECTION, DOCUMENT, LOG, MANY, WORD, Call, request
from bench.rest.statements import statements
from bench.rest.texts import Texts
from bench.servers import application, asking, served, settle
from keystead import bootstrap
from keystead.bootstrap import Installation
from keystead.domain.credentials import CredentialKind
from keystead.domain.documents import CollectionDraft, CollectionId, DocumentDraft, Push
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Actor, Principal, PrincipalKind, system
from keystead.domain.scopes import Scopes
from keystead.domain.search import index_terms
from keystead.domain.token import Token
from keystead.storage.schema.search import term_prefix
from tests.support.row_security import as_owner
from tests.support.server_process import ServerProcess

KEYS: Final = 1_000
REVOCABLE: Final = 60_000
"""Keys to revoke: enough for the fastest disk in all rounds of all sides."""
WRITES: Final = 3_000
"""The most different writes that one round sends."""
DOCUMENTS: Final = 1_000
BATCH: Final = 500
EVENTS: Final = 60
WORDS: Final = 30
BY: Final = Actor(PrincipalKind.OPERATOR, "bench", "bench")
_OF_THE_CONNECTION: Final = {"date", "server", "connection", "transfer-encoding"}


@dataclass
class Target:
    """A server with rows, and the tokens of its workspaces: the first has the rows."""

    engine: str
    server: ServerProcess
    tokens: list[Token]
    workspace: str
    collection: str
    revocable: Iterator[str]
    fresh: Iterator[int]
    text: str

    @property
    def forward_auth(self) -> bytes:
        """Return a gateway's request."""
        return asking(self.tokens[0].reveal())

    @property
    def introspection(self) -> bytes:
        """Return a service's request."""
        return _introspecting(self.server, self.tokens[0].reveal())

    def requests(self, call: Call, prefix: str = "") -> Requests:
        """Return the requests of one round; those that write an id of its own write another each."""
        body, path = self._body(call), prefix + call.path
        if not path.endswith("/"):
            return [self._request(call, path, body)]
        return [self._request(call, path + self._id(call), body) for _ in range(WRITES)]

    def creations(self) -> Requests:
        """Return a request that creates a key for each of the workspaces."""
        body = {"description": "bench"}
        return [request("POST", "/v1/keys", token.reveal(), body) for token in self.tokens]

    def script(self, call: Call) -> dict[str, Any]:
        """Return what the floor does for a call, with the response that the product gives to it."""
        sent = self.requests(call)[0]
        head, _, body = sent.partition(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        method, path, _ = line.split(" ")
        connection = HTTPConnection(HOST, self.server.port, timeout=30)
        connection.request(method, path, body or None, dict(f.split(": ", 1) for f in fields))
        response = connection.getresponse()
        content = response.read()
        connection.close()
        assert 200 <= response.status < 300, f"{line}: {response.status} {content.decode()}"
        headers = [
            (name.lower(), value)
            for name, value in response.getheaders()
            if name.lower() not in _OF_THE_CONNECTION
        ]
        return {
            "statements": statements(call.statements, self.engine),
            "values": self._values() | dict(call.values),
            "writes": call.writes,
            "status": response.status,
            "headers": headers,
            "body": b64encode(content).decode(),
        }

    def _request(self, call: Call, path: str, body: object) -> bytes:
        return request(call.method, path, self.tokens[0].reveal(), body)

    def _body(self, call: Call) -> object:
        match call.method:
            case "POST":
                return {"description": "bench"}
            case "PUT":
                return {"title": "A document of the bench", "text": self.text}
            case _:
                return None

    def _id(self, call: Call) -> str:
        return next(self.revocable) if call.method == "DELETE" else f"put{next(self.fresh)}"

    def _values(self) -> dict[str, Any]:
        prefix, on_sqlite = term_prefix(CollectionId(self.collection), 0), self.engine == "SQLite"
        terms, quote = index_terms("", self.text), '"' if on_sqlite else "'"
        words = "".join(f" {term}" if on_sqlite else f" '{prefix}{term}'" for term in terms)
        return {
            "workspace": self.workspace,
            "key": self.tokens[0].key_id,
            "name": COLLECTION,
            "collection": self.collection,
            "document": DOCUMENT,
            "match": f"{quote}{prefix}a{WORD}{quote}",
            "pepper": "bench",
            "digest": {"bytes": b64encode(bytes(32)).decode()},
            "title": "A document of the bench",
            "text": self.text,
            "words": words,
        }


@contextmanager
def target_on(engine: str, core: int) -> Iterator[Target]:
    """Start a server on that core over a database with rows of every kind."""
    with served(engine, core) as server:
        installation = bootstrap.open_safely(server.settings)
        try:
            target = _filled(engine, server, installation)
        finally:
            installation.close()
        settle(server)
        yield target


@contextmanager
def floor_of(target: Target, core: int) -> Iterator[int]:
    """Start the floor on that core over the same database; yield its port."""
    scripts = {f"{call.method} {call.path}": target.script(call) for call in CALLS}
    nothing = {"statements": [], "values": {}, "writes": False, "headers": [], "body": ""}
    scripts["GET /"] = nothing | {"status": 204}
    with tempfile.TemporaryDirectory(prefix="keystead-bench-") as folder:
        log = {"log": f"{folder}/log"}
        for call in CALLS:
            if call.revokes:
                own = f"{call.method} {call.path}"
                scripts[f"{call.method} {LOG}{call.path}"] = scripts[own] | log
        content = {"url": as_owner(target.server.database_url), "scripts": scripts}
        file = Path(folder) / "scripts.json"
        file.write_text(json.dumps(content))
        with application(core, "bench.rest.floor", str(file)) as port:
            yield port


def _filled(engine: str, server: ServerProcess, installation: Installation) -> Target:
    services = installation.services
    first = services.workspaces.first().workspace_id
    services.workspaces.set_plan(first, "scale")
    owner = system(first)
    peppers = bootstrap.find_peppers(server.settings)
    assert peppers is not None
    old = fill(installation, owner, peppers.current, REVOCABLE, REVOCABLE)
    fill(installation, owner, peppers.current, KEYS, 1)
    for number in range(EVENTS):
        services.keys.create(owner, KeyDraft(f"bench {number}"))
    texts = Texts(WORDS)
    services.documents.create_collection(owner, CollectionDraft(COLLECTION))
    for begin in range(0, DOCUMENTS, BATCH):
        drafts = [
            DocumentDraft(f"d{n}", f"{texts.next()} {WORD if n % 10 == 0 else ''}", f"Document {n}")
            for n in range(begin, begin + BATCH)
        ]
        services.documents.push(owner, COLLECTION, Push(drafts))
    others = [system(services.workspaces.create("W", plan_id="scale").id) for _ in range(MANY - 1)]
    tokens = [_key(installation, principal) for principal in (owner, *others)]
    return Target(
        engine=engine,
        server=server,
        tokens=tokens,
        workspace=first,
        collection=services.documents.get_collection(owner, COLLECTION).id,
        revocable=iter([token.key_id for token in old]),
        fresh=count(),
        text=texts.next(),
    )


def _key(installation: Installation, principal: Principal) -> Token:
    draft = KeyDraft("bench", None, Scopes(["*", "keys:write"]))
    token = installation.services.keys.create(principal, draft).token
    assert token is not None
    return token


def _introspecting(server: ServerProcess, token: str) -> bytes:
    """Return a service's request."""
    installation = bootstrap.open_safely(server.settings)
    try:
        _, own = installation.services.credentials.create("bench", BY, CredentialKind.SERVICE)
    finally:
        installation.close()
    body = f"token={token}"
    fields = (
        f"Host: {HOST}\r\nAuthorization: Bearer {own.reveal()}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
    )
    return f"POST /introspect HTTP/1.1\r\n{fields}\r\n{body}".encode()
