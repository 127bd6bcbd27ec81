"""The endpoints that verify keys: calls of a server itself, or the URL of a gateway or an application."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import urlsplit

from keystead_prove.servers.calls import SCOPE_TO_KEEP, WHOAMI, Key, Refused
from keystead_prove.servers.connection import Connection, Reply

REST: Final = "REST"
FORWARD_AUTH: Final = "forward-auth"
INTROSPECTION: Final = "introspection"
_OF_PLANS: Final = "/v1/plan"
_GATE: Final = "/forward-auth"
_ANY: Final = f"{_GATE}/any"
_SCOPE_OF_PLANS: Final = f"{_GATE}/plan:read"
_INTROSPECT: Final = "/introspect"
REFUSED: Final = frozenset({401, 403})
"""The statuses with which an endpoint refuses a key."""


def accepts(status: int) -> bool:
    """Return whether an endpoint with this status accepts the key."""
    return 200 <= status < 300


@dataclass(frozen=True, slots=True)
class Probe:
    """One way to verify a key: `path` accepts any live key, `narrow` only one with more than `SCOPE_TO_KEEP`.

    `credential`: of the service that introspects (RFC 7662); None: a GET with the key itself.
    """

    name: str
    path: str
    narrow: str | None = None
    credential: str | None = field(default=None, repr=False)

    def ask(self, connection: Connection, token: str, *, narrowed: bool = False) -> Reply:
        """Send the probe. The status of the reply is 401 or 403 if the key is refused in any way."""
        path = self.narrow if narrowed and self.narrow else self.path
        if self.credential is None:
            return connection.get(path, token)
        reply = connection.post_form(path, self.credential, token=token)
        return replace(reply, status=_status_of(reply, narrowed=narrowed))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The probes at one address, which are used in turn.

    `kept`: all probes of a key use one connection, which was opened before its access ended.
    """

    url: str
    probes: Sequence[Probe]
    kept: bool = False

    def detecting(self, *, narrowed: bool) -> Endpoint | None:
        """Return the endpoint with the probes that detect this act; None if there are none."""
        probes = [probe for probe in self.probes if probe.narrow or not narrowed]
        return replace(self, probes=probes) if probes else None


def plain(url: str) -> Endpoint:
    """Return the endpoint that every server has."""
    return Endpoint(url, [Probe(REST, WHOAMI, _OF_PLANS)])


def of_servers(urls: Sequence[str], token: str, credential: str | None = None) -> list[Endpoint]:
    """Return every server's own endpoints."""
    return [Endpoint(url, list(_probes(url, token, credential))) for url in urls]


def through(url: str, token: str, narrow: Key) -> Endpoint:
    """Return the endpoint of a gateway or an application. Raises Refused unless it accepts only requests with a key.

    `narrow` is a key with only `SCOPE_TO_KEEP`: if it is refused, this endpoint detects lost scopes too.
    """
    parts = urlsplit(url)
    place = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    with Connection(f"{parts.scheme}://{parts.netloc}") as connection:
        if connection.get(place).status not in REFUSED:
            raise Refused(f"{url} does not refuse (401 or 403) requests without a key")
        if not accepts(connection.get(place, token).status):
            raise Refused(f"{url} does not accept (2xx) a key of this installation")
        detects = connection.get(place, narrow.token).status in REFUSED
    probe = Probe(url.partition("?")[0], place, place if detects else None)
    return Endpoint(f"{parts.scheme}://{parts.netloc}", [probe])


def _probes(url: str, token: str, credential: str | None) -> Iterator[Probe]:
    """Yield the probes that this server supports."""
    with Connection(url) as connection:
        if connection.get(_ANY, token).status == 200 and connection.get(_ANY).status == 401:
            yield Probe(FORWARD_AUTH, _ANY, _SCOPE_OF_PLANS)
        yield Probe(REST, WHOAMI, _OF_PLANS)
        introspection = Probe(INTROSPECTION, _INTROSPECT, _INTROSPECT, credential)
        if credential and introspection.ask(connection, token).status == 200:
            yield introspection


def _status_of(reply: Reply, *, narrowed: bool) -> int:
    """Return the status with which other endpoints say the same as this introspection."""
    if reply.status != 200:
        # The introspecting service was refused, which says nothing about the key.
        return 500 if reply.status in REFUSED else reply.status
    body = reply.json
    if not body["active"]:
        return 401
    return 403 if narrowed and body["scope"].split() == [SCOPE_TO_KEEP] else 200


class Operator(Protocol):
    """What only the operator can do to the workspace."""

    def suspend(self) -> None:
        """Suspend the workspace."""
        ...

    def resume(self) -> None:
        """Resume the workspace."""
        ...

    def limit_keys(self, limit: int | None) -> None:
        """Set the limit of active keys; None: no limit."""
        ...

    def now(self) -> datetime:
        """Return the installation's time."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """The URLs of the servers, the token of a key that manages the others, and the endpoints that verify keys."""

    urls: Sequence[str]
    token: str = field(repr=False)
    endpoints: Sequence[Endpoint] = ()

    def managers(self) -> list[Connection]:
        """Return a connection to each server with the managing key."""
        return [Connection(url, self.token) for url in self.urls]
