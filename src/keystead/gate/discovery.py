"""`GET /.well-known/oauth-authorization-server`: what this server offers to OAuth clients (RFC 8414)."""

from __future__ import annotations

import json
from typing import Final

from keystead.domain.device_logins import GRANT_TYPE
from keystead.domain.errors import NotFound
from keystead.domain.scopes import ScopeCatalog
from keystead.gate import device_login, introspection, revocation
from keystead.http.asgi import Answer, Receive, Scope, Send, send_answer
from keystead.http.client import note_route
from keystead.http.problems import MethodNotAllowed

PATH: Final = "/.well-known/oauth-authorization-server"


class Discovery:
    """The ASGI application, to run behind `http.stack.Stack`."""

    def __init__(self, public_url: str | None, catalog: ScopeCatalog) -> None:
        """`public_url`: the issuer. Without one the server doesn't know its own name, so the document doesn't exist."""
        self._answer = None if public_url is None else _answer_of(public_url, catalog)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        if scope["path"] != PATH or self._answer is None:
            raise NotFound
        note_route(scope, PATH)
        if scope["method"] not in {"GET", "HEAD"}:
            raise MethodNotAllowed("GET, HEAD")
        await send_answer(send, self._answer)


def _answer_of(issuer: str, catalog: ScopeCatalog) -> Answer:
    body = json.dumps(_metadata(issuer, catalog), separators=(",", ":")).encode("ascii")
    return Answer(200, ((b"content-type", b"application/json"),), body)


def _metadata(issuer: str, catalog: ScopeCatalog) -> dict[str, object]:
    """Return the members of section 2. Endpoints without a kind of client authentication take none."""
    return {
        "issuer": issuer,
        "device_authorization_endpoint": f"{issuer}{device_login.DEVICE_AUTHORIZATION}",
        "token_endpoint": f"{issuer}{device_login.TOKEN}",
        "token_endpoint_auth_methods_supported": ["none"],
        "grant_types_supported": [GRANT_TYPE],
        "response_types_supported": [],
        "scopes_supported": list(catalog.descriptions()),
        "introspection_endpoint": f"{issuer}{introspection.PATH}",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "Bearer"],
        "revocation_endpoint": f"{issuer}{revocation.PATH}",
        "revocation_endpoint_auth_methods_supported": ["none"],
        "service_documentation": f"{issuer}/docs",
    }
