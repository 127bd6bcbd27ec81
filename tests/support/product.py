"""A product that issues keys with Keystead, and its customers: started servers and real HTTP only."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any, Final

import httpx2

from keystead import bootstrap
from keystead.domain.ids import WorkspaceId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import operator
from keystead.services import Services
from keystead.settings import Settings
from tests.support.clocks import SlowClock
from tests.support.server_process import HOST, ServerProcess

Json = dict[str, Any]
EVERY_SCOPE: Final = ("*", "keys:write")


@dataclass(frozen=True)
class Key:
    """A key as its owner holds it: what the answer said of it, and the token, which no output of a test shows."""

    resource: Json
    token: str = field(repr=False)

    @property
    def id(self) -> str:
        """Its public name."""
        return str(self.resource["id"])


@dataclass
class Product:
    """A running server, and its operator."""

    server: ServerProcess
    services: Services
    seconds_ago: Services
    """The same use cases, by a clock that is ten seconds behind."""
    http: httpx2.Client

    def customer(self, plan: str = "scale") -> Customer:
        """Return a customer with a workspace on that plan, and a first key for the code that creates others."""
        workspace = self.services.workspaces.create("A customer", plan_id=plan)
        draft = KeyDraft("provisioning", None, EVERY_SCOPE)
        token = self.services.keys.create(operator("journeys", workspace.id), draft).token
        assert token is not None
        return Customer(self, workspace.id, token.reveal())

    def set_limit(self, customer: Customer, plan: str, **limits: int | None) -> None:
        """Put a customer on another plan, or give them limits of their own."""
        self.services.workspaces.set_plan(customer.workspace_id, plan, limits)


@dataclass
class Customer:
    """A customer of the product. Each request goes over a connection of its own, as a script's does."""

    product: Product
    workspace_id: WorkspaceId
    token: str = field(repr=False)

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: Key | None = None,
        server: ServerProcess | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send a request with that key, or with the provisioning key; to that server, or to the first."""
        url = (server or self.product.server).base_url + path
        token = key.token if key else self.token
        sent = {"authorization": f"Bearer {token}", **(headers or {})}
        return self.product.http.request(method, url, json=body, headers=sent)

    def request_json(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        status: int = 200,
        key: Key | None = None,
    ) -> Any:
        """Return the body of a response with that status."""
        answer = self.send(method, path, body, key=key)
        assert answer.status_code == status, answer.reason_phrase
        return answer.json() if answer.content else None

    def create(self, description: str = "nightly export", **draft: Any) -> Key:
        """Create a key."""
        return key_of(self.send("POST", "/v1/keys", {"description": description, **draft}))

    def rotate(self, key: Key, **how: Any) -> Key:
        """Rotate a key. Returns its successor."""
        return key_of(self.send("POST", f"/v1/keys/{key.id}/rotate", how))

    def revoke(self, key: Key) -> None:
        """Revoke a key."""
        self.request_json("DELETE", f"/v1/keys/{key.id}", status=204)

    def see(self, key: Key) -> Json:
        """Return the key as the list of keys shows it."""
        seen: Json = self.request_json("GET", f"/v1/keys/{key.id}")
        return seen

    def keys(self, filters: str = "") -> list[Json]:
        """Return the keys that the list shows."""
        listed: list[Json] = self.request_json("GET", f"/v1/keys{filters}")["items"]
        return listed

    def works(self, key: Key, server: ServerProcess | None = None) -> bool:
        """Return whether a request with it gets in. A refusal gives no reason."""
        answer = self.send("GET", "/v1/whoami", key=key, server=server)
        if answer.status_code == 200:
            return True
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid-token")
        return False


class OpenConnection:
    """A connection that stays open, as a pool keeps it; a lost one is an error and never opened again."""

    def __init__(self, server: ServerProcess, key: Key) -> None:
        self._connection = HTTPConnection(HOST, server.port, timeout=60)
        self._connection.connect()
        self._connection.auto_open = 0
        self._headers = {"Authorization": f"Bearer {key.token}"}

    def status(self) -> int:
        """Return the status of one more request over it."""
        self._connection.request("GET", "/v1/whoami", headers=self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def key_of(answer: httpx2.Response) -> Key:
    """Return the key of a response that creates one."""
    assert answer.status_code == 201, answer.json()["code"]
    resource: Json = answer.json()
    return Key(resource, resource.pop("token"))


def next_second(after: float = 1.0) -> datetime:
    """Return the first whole second that is at least `after` seconds away."""
    return datetime.fromtimestamp(int(time.time() + after) + 1, UTC)


def written(instant: datetime) -> str:
    """Format a time by RFC 3339 with `Z`."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def in_days(days: int) -> str:
    """Return the time that many days from now."""
    return written(next_second() + timedelta(days=days))


@contextmanager
def opened(server: ServerProcess) -> Iterator[Product]:
    """Open a product over that server; its operator works from this process, as the command line does."""
    settings = Settings(data=server.data, database=server.database_url, port=server.port)
    peppers = bootstrap.find_peppers(settings)
    assert peppers is not None
    limits = httpx2.Limits(max_keepalive_connections=0)
    with (
        closing(bootstrap.open_safely(settings)) as installation,
        closing(bootstrap.open_installation(settings, peppers, SlowClock(10))) as earlier,
        httpx2.Client(trust_env=False, timeout=60, limits=limits) as http,
    ):
        yield Product(server, installation.services, earlier.services, http)
