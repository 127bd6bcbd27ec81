"""The Workspace API over a real database, and clients of its tenants: in process, on one event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, Final

import httpx2

from keystead.api.app import Api
from keystead.bootstrap import Installation, open_installation
from keystead.domain.digest import Pepper, Peppers
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.keys import UNSET, KeyDraft
from keystead.domain.plans import DEFAULT_PLANS
from keystead.domain.principals import Principal, operator
from keystead.domain.renewals import Renewal
from keystead.domain.token import Token
from keystead.http.asgi import App
from keystead.http.problems import Problems
from keystead.http.redaction import redacted
from keystead.http.stack import Stack
from keystead.services import Services
from keystead.settings import Settings
from keystead.storage.engine.roles import Purpose
from keystead.storage.tables import plans
from tests.support.clocks import ManualClock
from tests.support.row_security import declared

BASE: Final = "http://127.0.0.1:8080"
EVERY_SCOPE: Final = ("*", "keys:write")

Headers = Sequence[tuple[str, str]]
_numbers = count(1)


@dataclass
class ApiInstallation:
    """An installation with the Workspace API. Its clock stands still."""

    installation: Installation
    app: App
    clock: ManualClock
    runner: asyncio.Runner
    http: httpx2.AsyncClient

    @property
    def services(self) -> Services:
        """The use cases behind the API."""
        return self.installation.services

    def tenant(self, plan: str = "scale") -> Tenant:
        """Create a workspace."""
        created = self.services.workspaces.create(f"Workspace {next(_numbers)}", plan_id=plan)
        return Tenant(self, created.id)

    def client(self, token: str | None = None) -> ApiClient:
        """Return a client with that token, or without any."""
        return ApiClient(self, token)


@dataclass
class Tenant:
    """A workspace, and the keys that are created for it."""

    api: ApiInstallation
    id: WorkspaceId
    principal: Principal = field(init=False)

    def __post_init__(self) -> None:
        self.principal = operator("tests", self.id)

    def token(
        self,
        *scopes: str,
        lives: timedelta | None = None,
        description: str = "t",
        renewal: Renewal | None = None,
    ) -> Token:
        """Create a key with these scopes, all by default. Returns its token."""
        ends = self.api.clock.now() + lives if lives else UNSET
        draft = KeyDraft(description, ends, scopes or EVERY_SCOPE, renewal=renewal)
        token = self.api.services.keys.create(self.principal, draft).token
        assert token is not None
        return token

    def client(
        self, *scopes: str, lives: timedelta | None = None, renewal: Renewal | None = None
    ) -> ApiClient:
        """Return a client with such a key."""
        token = self.token(*scopes, lives=lives, renewal=renewal)
        return ApiClient(self.api, token.reveal(), token.key_id)

    def event_types(self) -> list[str]:
        """Return the types of all events, newest first."""
        return [str(event.type) for event in self.api.services.events.list(self.principal).items]


@dataclass
class ApiClient:
    """A client with one token. Bodies are sent as JSON, unless they are bytes."""

    api: ApiInstallation
    token: str | None = field(repr=False)
    key_id: KeyId | None = None

    def send(
        self, method: str, path: str, body: Any = None, headers: Headers = ()
    ) -> httpx2.Response:
        """Send a request."""
        return self.api.runner.run(self.send_on_loop(method, path, body, headers))

    def send_concurrently(self, *requests: tuple[str, str, Any, Headers]) -> list[httpx2.Response]:
        """Send requests concurrently. Returns the responses in the order of the requests."""

        async def gather() -> list[httpx2.Response]:
            return await asyncio.gather(*(self.send_on_loop(*request) for request in requests))

        return self.api.runner.run(gather())

    async def send_on_loop(
        self, method: str, path: str, body: Any = None, headers: Headers = ()
    ) -> httpx2.Response:
        """Like `send`, on the installation's event loop."""
        sent = list(headers)
        if self.token is not None:
            sent.append(("authorization", f"Bearer {self.token}"))
        content = body if body is None or isinstance(body, bytes) else _json(body)
        if content is not None and all(name != "content-type" for name, _ in sent):
            sent.append(("content-type", "application/json"))
        raw = [(name.encode(), value.encode()) for name, value in sent]
        return await self.api.http.request(method, path, content=content, headers=raw)

    def get(self, path: str, headers: Headers = ()) -> httpx2.Response:
        """GET."""
        return self.send("GET", path, None, headers)

    def post(self, path: str, body: Any = None, headers: Headers = ()) -> httpx2.Response:
        """POST."""
        return self.send("POST", path, body, headers)

    def put(self, path: str, body: Any = None) -> httpx2.Response:
        """PUT."""
        return self.send("PUT", path, body)

    def patch(self, path: str, body: Any = None) -> httpx2.Response:
        """PATCH."""
        return self.send("PATCH", path, body)

    def delete(self, path: str) -> httpx2.Response:
        """DELETE."""
        return self.send("DELETE", path)

    def create_key(self, **draft: Any) -> dict[str, Any]:
        """Create a key with this one."""
        answer = self.post("/v1/keys", {"description": "made", **draft})
        assert answer.status_code == 201, safe_text(answer)
        created: dict[str, Any] = answer.json()
        return created

    def collection(self, name: str = "handbook") -> str:
        """Create a collection. Returns its path."""
        answer = self.post("/v1/collections", {"name": name})
        assert answer.status_code == 201, safe_text(answer)
        return f"/v1/collections/{name}"


@contextmanager
def open_api(url: str, *, portal_origins: Sequence[str] = ()) -> Iterator[ApiInstallation]:
    """Open the API over the fresh database at `url`, with the default plans; portals may return to these origins."""
    clock = ManualClock()
    settings = Settings(
        database=declared(url),
        scopes={"invoices:read": "Read invoices"},
        plans_url="https://product.example/plans",
        portal_origins=tuple(portal_origins),
    )
    installation = open_installation(settings, Peppers(Pepper("test", bytes(range(32)))), clock)
    database = installation.database
    with database.write_across(Purpose.OPERATOR) as tx:
        plans.replace_plans(tx, DEFAULT_PLANS)
    api = Api(installation.services, base_url=BASE)
    app = Stack(api, Problems(BASE))
    with asyncio.Runner() as runner:
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=BASE)
        try:
            yield ApiInstallation(installation, app, clock, runner, http)
        finally:
            runner.run(http.aclose())
            installation.close()


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


def safe_text(answer: httpx2.Response) -> str:
    """Return the response's text for a message of a test, without anything that could be a token."""
    return redacted(answer.text)


def problem(answer: httpx2.Response) -> tuple[int, str]:
    """Return status and code of a refusal, and check its form."""
    assert answer.headers["content-type"] == "application/problem+json", safe_text(answer)
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["type"] == f"{BASE}/problems/{body['code']}"
    assert body["title"]
    assert body["detail"]
    return answer.status_code, body["code"]


def pointers(answer: httpx2.Response) -> list[str]:
    """Return the pointers to the refused values."""
    assert problem(answer) == (422, "invalid"), safe_text(answer)
    return [error["pointer"] for error in answer.json()["errors"]]
