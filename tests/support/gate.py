"""The gate's applications over a real installation, called as a server calls them: in process, on one event loop."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from keystead.bootstrap.applications import application
from keystead.domain.credentials import CredentialKind
from keystead.domain.ids import CredentialId
from keystead.domain.principals import Actor, PrincipalKind
from keystead.http.asgi import App, Header, Message
from tests.support.asgi import HOST, Response, scope_of
from tests.support.installations import SandboxInstallation, text_of

OPERATOR: Final = Actor(PrincipalKind.OPERATOR, "cli", "root")
FORM: Final[Header] = (b"content-type", b"application/x-www-form-urlencoded")
IDENTITY: Final = (
    "x-keystead-workspace",
    "x-keystead-key",
    "x-keystead-scopes",
    "x-keystead-metadata",
)


@dataclass
class GateApplication:
    """The whole server's application, over that sandbox."""

    sandbox: SandboxInstallation
    app: App
    runner: asyncio.Runner

    def ask(self, path: str, token: str | None = None, **more: Any) -> Response:
        """Return the answer to a gateway's `/forward-auth<path>` for a request with that token; `path` is raw."""
        headers = [HOST, *bearer(token), *more.pop("headers", ())]
        raw = f"/forward-auth{path}".encode()
        return self.send(scope_of(path="/forward-auth/x", headers=headers, raw_path=raw, **more))

    def ask_scope(self, headers: Sequence[Header], scope: dict[str, Any]) -> Response:
        """Send a whole scope."""
        return self.send(scope_of(headers=headers, **scope))

    def post(
        self, path: str, form: Sequence[tuple[str, str]] | bytes, *headers: Header, **more: Any
    ) -> Response:
        """Send a form."""
        body = form if isinstance(form, bytes) else urlencode(form).encode()
        fields = [HOST, FORM, *headers]
        return self.send(scope_of("POST", path, fields, **more), body)

    def introspect(self, token: str, *headers: Header, ip: str | None = None) -> Response:
        """Return the answer about a token, sent from `ip`, to the caller with that credential."""
        form = [("token", token)] if ip is None else [("token", token), ("ip", ip)]
        return self.post("/introspect", form, *headers)

    def revoke(self, token: str, **more: Any) -> Response:
        """Return the answer to a token that is sent to be revoked."""
        return self.post("/revoke", [("token", token)], **more)

    def send(self, scope: dict[str, Any], body: bytes = b"") -> Response:
        """Send a request."""
        return self.runner.run(_exchange(self.app, scope, body))

    def token(self, *scopes: str, **chosen: Any) -> str:
        """Create a key in a new workspace. Returns its token."""
        return text_of(self.sandbox.key(self.sandbox.tenant(), scopes=scopes or ("*",), **chosen))

    def credential(self, kind: CredentialKind = CredentialKind.SERVICE) -> tuple[CredentialId, str]:
        """Create a credential for a service. Returns its ID and its token."""
        created, token = self.sandbox.services.credentials.create("search", OPERATOR, kind)
        return created.id, token.reveal()

    def service(self) -> Header:
        """Return the Authorization field of a new service."""
        return bearer(self.credential()[1])[0]


def gate_of(sandbox: SandboxInstallation, runner: asyncio.Runner) -> GateApplication:
    """Return the endpoints of an installation."""
    return GateApplication(sandbox, application(sandbox.installation, None), runner)


def bearer(token: str | None) -> list[Header]:
    """Return the Authorization field with a token, or no field without a token."""
    return [] if token is None else [(b"authorization", b"Bearer " + token.encode())]


def basic(client_id: str, password: str) -> Header:
    """Return the Authorization field of a client that authenticates by HTTP Basic."""
    return (b"authorization", b"Basic " + b64encode(f"{client_id}:{password}".encode()))


async def _exchange(app: App, scope: dict[str, Any], body: bytes) -> Response:
    sent: list[Message] = []
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start"
    return Response(
        start["status"], list(start["headers"]), b"".join(m.get("body", b"") for m in rest)
    )
