"""A server with keys in every state, and requests with every credential."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Final

from keystead import bootstrap
from keystead.bootstrap import Installation
from keystead.domain.credentials import CredentialKind
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.keys import KeyDraft, KeyUse
from keystead.domain.principals import Principal, operator
from keystead.domain.scopes import Scopes
from tests.support.clocks import ManualClock
from tests.support.installations import text_of
from tests.support.server_process import HOST, ServerProcess

REQUIRED: Final = "events:read"
"""The scope that every integration under test requires, as `GET /v1/events` does."""

Field = tuple[bytes, bytes]


@dataclass(frozen=True)
class ClientResponse:
    """The parts of a response that matter to a client."""

    status: int
    challenge: str | None
    body: bytes


@dataclass(frozen=True)
class ClientRequest:
    """The header fields and the query of a request, and the address of the peer that sends it."""

    fields: tuple[Field, ...] = field(default=(), repr=False)
    query: str = field(default="", repr=False)
    peer: str = "192.0.2.7"


@dataclass(frozen=True)
class ServerWithKeys:
    """The server, and the token of a key in each state."""

    server: ServerProcess
    tokens: dict[str, str] = field(repr=False)
    workspace_id: WorkspaceId
    key_id: str
    installation: Installation = field(repr=False)
    service_token: str = field(repr=False)

    def server_token(self) -> str:
        """Return the token of a new key."""
        acting = operator("tests", self.workspace_id)
        return text_of(self.installation.services.keys.create(acting, _draft(REQUIRED)))

    def revoked_service_token(self) -> str:
        """Return the token of a service's revoked credential."""
        by, credentials = (
            operator("tests", self.workspace_id).actor,
            self.installation.services.credentials,
        )
        created_key, token = credentials.create("revoked", by, CredentialKind.SERVICE)
        credentials.revoke(created_key.id, by)
        return token.reveal()

    def revoke(self, token: str) -> None:
        """Revoke a key through the server, with its own token."""
        whoami = self.server.call("GET", "/v1/whoami", token=token).json()
        answer = self.server.call("DELETE", f"/v1/keys/{whoami['key']['id']}", token=token)
        assert answer.status_code == 204

    def ended(self, principal: Principal) -> Principal:
        """Return the principal as if it had just expired."""
        return replace(principal, expires_at=datetime.now(UTC) - timedelta(seconds=1))

    def use_of(self, key_id: str) -> KeyUse | None:
        """Return the last use of a key, as its owner sees it."""
        acting = operator("tests", self.workspace_id)
        return self.installation.services.keys.get(acting, KeyId(key_id)).last_use

    def requests(self) -> dict[str, ClientRequest]:
        """Return the requests with each kind of credential by name. Only `good` and `everything` are admitted."""
        requests = {name: ClientRequest((bearer(token),)) for name, token in self.tokens.items()}
        good = self.tokens["good"]
        return requests | {
            "no credentials": ClientRequest(),
            "another scheme": ClientRequest(((b"authorization", b"Basic a2V5OnNlY3JldA=="),)),
            "two fields": ClientRequest((bearer(good), bearer(good))),
            "two in one": ClientRequest(
                ((b"authorization", f"Bearer {good}, Bearer {good}".encode()),)
            ),
            "not ascii": ClientRequest(((b"authorization", b"Bearer caf\xe9"),)),
            "no token": ClientRequest(((b"authorization", b"Bearer"),)),
            "garbage": ClientRequest((bearer("garbage"),)),
            "wrong checksum": ClientRequest(
                (bearer(good[:-1] + ("a" if good[-1] != "a" else "b")),)
            ),
            "query as well": ClientRequest((bearer(good),), f"access_token={good}"),
            "query alone": ClientRequest((), f"access_token={good}"),
            "lower case scheme": ClientRequest(((b"authorization", f"bearer   {good}".encode()),)),
        }

    def expected(self, request: ClientRequest) -> ClientResponse:
        """Return the response of the server itself for the same scope."""
        connection = HTTPConnection(HOST, self.server.port, timeout=60)
        try:
            connection.putrequest("GET", f"/v1/events?{request.query}".rstrip("?"))
            for name, value in request.fields:
                connection.putheader(name.decode(), value)
            connection.endheaders()
            answer = connection.getresponse()
            return ClientResponse(
                answer.status, answer.getheader("www-authenticate"), answer.read()
            )
        finally:
            connection.close()


def bearer(token: str) -> Field:
    """Return the Authorization field of a token."""
    return b"authorization", b"Bearer " + token.encode()


@contextmanager
def server_with_keys(server: ServerProcess) -> Iterator[ServerWithKeys]:
    """Create keys in every state on a running server, the expired ones as of yesterday."""
    peppers = bootstrap.find_peppers(server.settings)
    assert peppers is not None
    yesterday = ManualClock(datetime.now(UTC) - timedelta(days=1))
    installation = bootstrap.open_installation(server.settings, peppers, clock=yesterday)
    try:
        yield _server_with_keys(server, installation, yesterday)
    finally:
        installation.close()


def _server_with_keys(
    server: ServerProcess, installation: Installation, clock: ManualClock
) -> ServerWithKeys:
    services = installation.services
    workspace = services.workspaces.create("Integrated", plan_id="scale")
    closed = services.workspaces.create("Suspended", plan_id="scale")
    here, there = operator("tests", workspace.id), operator("tests", closed.id)
    revoked = services.keys.create(here, _draft(REQUIRED))
    services.keys.revoke(here, revoked.key.id)
    soon = clock.now().replace(microsecond=0) + timedelta(hours=1)
    created = {
        "good": services.keys.create(here, _draft(REQUIRED)),
        "everything": services.keys.create(here, _draft("*")),
        "wrong scope": services.keys.create(here, _draft("documents:read")),
        "suspended": services.keys.create(there, _draft(REQUIRED)),
        "expired": services.keys.create(here, _draft(REQUIRED, soon)),
        "revoked": revoked,
    }
    services.workspaces.suspend(closed.id)
    tokens = {name: text_of(created_key) for name, created_key in created.items()}
    _, credential = services.credentials.create("product", here.actor, CredentialKind.SERVICE)
    key_id = created["good"].key.id
    return ServerWithKeys(server, tokens, workspace.id, key_id, installation, credential.reveal())


def _draft(scope: str, expires_at: datetime | None = None) -> KeyDraft:
    return KeyDraft("test", expires_at, Scopes([scope]))


ADMITTED = {"good", "everything", "lower case scheme"}
