"""No webhook reaches an address that only this installation can reach: listeners see no connection (E18)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import update

from keystead.bootstrap import Installation
from keystead.domain.destinations import Address, Destinations
from keystead.domain.errors import Invalid
from keystead.domain.ids import WorkspaceId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, operator
from keystead.domain.webhooks import Attempt, AttemptError, Outcome, WebhookDraft, WebhookPatch
from keystead.services.deliveries import Batch
from keystead.storage.schema import tables as schema
from keystead.worker.safe_network import SystemResolver
from keystead.worker.sending import Sender, tls_context
from tests.support.administrator import write_behind
from tests.support.hostile_urls import HOSTILE_URLS
from tests.support.receivers import ALL_PORTS, open_webhook_installation, sender

INTERNET = Destinations(allow_http=True, ports=ALL_PORTS)
"""A policy that allows everything except private networks: a refusal is then because of the address alone."""
PUBLIC = ipaddress.ip_address("93.184.215.14")


@dataclass
class Listeners:
    """Listeners on this machine's addresses that count connections."""

    ports: dict[str, int] = field(default_factory=dict)
    connections: list[str] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Listeners]:
    """Listen on 127.0.0.1, ::1 and the machine's own address."""
    listeners, stopping = Listeners(), threading.Event()
    with ExitStack() as stack:
        threads = []
        for address in ("127.0.0.1", "::1", own_address()):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = stack.enter_context(socket.create_server((address, 0), family=family))
            listener.settimeout(0.1)
            listeners.ports[address] = listener.getsockname()[1]
            threads.append(threading.Thread(target=accept, args=(listener, listeners, stopping)))
        for thread in threads:
            thread.start()
        try:
            yield listeners
        finally:
            stopping.set()
            for thread in threads:
                thread.join()


def accept(listener: socket.socket, listeners: Listeners, stopping: threading.Event) -> None:
    """Count connections until stopped."""
    while not stopping.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        listeners.connections.append(str(listener.getsockname()))
        connection.close()


def own_address() -> str:
    """Return an address of this machine that is not loopback, if there is one. Sends nothing to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.255.255.255", 9))
            address = str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.2"
    return address if ipaddress.ip_address(address).is_private else "127.0.0.2"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that allows only the internet, as it does by default."""
    url = f"sqlite:///{tmp_path_factory.mktemp('office') / 'keystead.db'}"
    default: dict[str, Any] = {
        "webhook_private_networks": [],
        "webhook_allow_http": False,
        "webhook_ports": [],
    }
    with open_webhook_installation(url, **default) as installation:
        yield installation


@pytest.fixture(scope="module")
def tenant(installation: Installation) -> Principal:
    """The owner of a workspace without limits."""
    return operator("tests", installation.services.workspaces.create("W", plan_id="scale").id)


@pytest.fixture(scope="module")
def sample(installation: Installation, tenant: Principal) -> Batch:
    """A batch with one message, as a worker claims it."""
    draft = WebhookDraft("x", "https://example.com/", ["key.created"])
    installation.services.webhooks.create(tenant, draft)
    installation.services.keys.create(tenant, KeyDraft("sync"))
    (batch,) = installation.services.deliveries.claim(endpoints=1, messages=1)
    installation.services.deliveries.settle([], [batch])
    return batch


def attempt(batch: Batch, url: str, installation: Installation, with_: Sender) -> Attempt:
    """Make one attempt at that URL, which is in the row against the rules."""
    aimed = replace(batch, endpoint=replace(batch.endpoint, url=url))

    async def send() -> Outcome:
        async with with_.connect(aimed) as connection:
            return await connection.send(batch.messages[0], installation.services.deliveries.now())

    return asyncio.run(send()).attempt


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "urls"),
    [
        ("create", HOSTILE_URLS),
        ("update", HOSTILE_URLS),
        ("test", HOSTILE_URLS[::2]),
        ("test", HOSTILE_URLS[1::2]),
        ("deliver", HOSTILE_URLS),
    ],
    ids=["create", "update", "test", "test-others", "deliver"],
)
def test_a_hostile_url_reaches_nothing(
    installation: Installation, sample: Batch, act: str, urls: Sequence[str]
) -> None:
    """It is refused at creation and change; if it is in a row all the same, nothing connects to it.

    The tests run in two halves: a workspace may not have so many in a minute.
    """
    assert len(HOSTILE_URLS) >= 60
    webhooks = installation.services.webhooks
    tenant = operator("tests", installation.services.workspaces.create("W", plan_id="scale").id)
    good = webhooks.create(tenant, WebhookDraft("x", "https://example.com/", ["key.revoked"]))
    resolver = SystemResolver()
    strict = Sender(Destinations(), resolver, tls_context(), seconds=2)
    loose = Sender(INTERNET, resolver, tls_context(), seconds=2)
    with listening() as listeners:
        for url in urls:
            match act:
                case "create":
                    with pytest.raises(Invalid):
                        webhooks.create(tenant, WebhookDraft("x", url, ["*"]))
                case "update":
                    with pytest.raises(Invalid):
                        webhooks.update(tenant, good.endpoint.id, WebhookPatch(url=url))
                case "test":
                    force(installation, good.endpoint.id, url)
                    webhooks.test(tenant, good.endpoint.id)
                    batches = installation.services.deliveries.claim(endpoints=9, messages=1)
                    (batch,) = [
                        candidate
                        for candidate in batches
                        if candidate.endpoint.id == good.endpoint.id
                    ]
                    assert batch.endpoint.url == url
                    outcome = attempt(batch, url, installation, strict)
                    assert outcome.error is AttemptError.FORBIDDEN_URL
                    installation.services.deliveries.settle([], batches)
                case "deliver":
                    for place, port in listeners.ports.items():
                        host = f"[{place}]" if ":" in place else place
                        outcome = attempt(sample, f"http://{host}:{port}/", installation, loose)
                        assert outcome.error is AttemptError.FORBIDDEN_URL
                    outcome = attempt(sample, url, installation, strict)
                    assert outcome.error is AttemptError.FORBIDDEN_URL
    resolver.close()
    assert listeners.connections == []
    webhooks.delete(tenant, good.endpoint.id)


def force(installation: Installation, webhook_id: str, url: str) -> None:
    """Write a URL that no rule allows, as an old row might contain it."""
    with write_behind(installation.database) as tx:
        table = schema.webhook_endpoints
        tx.execute(update(table).where(table.c.id == webhook_id).values(url=url))


NAMED: list[tuple[str, Sequence[str]]] = [
    ("this machine", ["127.0.0.1"]),
    ("this machine, version 6 alone", ["::1"]),
    ("metadata", ["169.254.169.254"]),
    ("a private network", ["10.0.0.1"]),
    ("a public address and this machine", [str(PUBLIC), "127.0.0.1"]),
    ("this machine and a public address", ["127.0.0.1", str(PUBLIC)]),
    ("a public address and version 6 of this machine", [str(PUBLIC), "::1"]),
    ("this machine, mapped", ["::ffff:127.0.0.1"]),
    ("this machine, by NAT64", ["64:ff9b::7f00:1"]),
    ("this machine, by 6to4", ["2002:7f00:1::"]),
    ("this machine, by Teredo", ["2001:0:7f00:1::"]),
    ("between carrier and customer", ["100.64.0.1"]),
    ("everybody", ["255.255.255.255"]),
    ("a group", ["224.0.0.1"]),
    ("no address at all", []),
]


@pytest.mark.parametrize(("addresses"), [a for _, a in NAMED], ids=[name for name, _ in NAMED])
def test_a_name_that_leads_here_is_refused(
    installation: Installation, sample: Batch, addresses: list[str]
) -> None:
    """One address that is not global unicast refuses the name, and nothing connects."""

    async def resolve(_: WorkspaceId, host: str, port: int) -> Sequence[Address]:
        return list(map(ipaddress.ip_address, addresses))

    guarded = Sender(INTERNET, resolve, tls_context(), seconds=2)
    with listening() as listeners:
        for port in listeners.ports.values():
            outcome = attempt(sample, f"http://evil.example:{port}/", installation, guarded)
            expected = AttemptError.FORBIDDEN_ADDRESS if addresses else AttemptError.UNRESOLVED
            assert (outcome.status, outcome.error) == (None, expected)
    assert listeners.connections == []


def test_a_name_is_resolved_once_an_attempt(installation: Installation, sample: Batch) -> None:
    """A name that is public when it is resolved and this machine a moment later leads to the resolved address.

    A closed port here stands for the public address, so that nothing is sent to the internet.
    """
    answers = [["127.0.0.1"], ["127.0.0.3"]]
    lookups: list[str] = []

    async def resolve(_: WorkspaceId, host: str, port: int) -> Sequence[Address]:
        lookups.append(host)
        return list(map(ipaddress.ip_address, answers[min(len(lookups), 2) - 1]))

    first = Destinations([ipaddress.ip_network("127.0.0.1/32")], allow_http=True, ports=ALL_PORTS)
    flipping = Sender(first, resolve, tls_context(), seconds=2)
    with listening() as listeners:
        port = listeners.ports["127.0.0.1"]
        with socket.create_server(("127.0.0.3", port)) as trap:
            trap.settimeout(0.2)
            outcome = attempt(sample, f"http://flip.example:{port}/", installation, flipping)
            with pytest.raises(TimeoutError):
                trap.accept()
        assert outcome.error is AttemptError.BAD_ANSWER
        assert lookups == ["flip.example"]
        again = attempt(sample, f"http://flip.example:{port}/", installation, flipping)
        assert again.error is AttemptError.FORBIDDEN_ADDRESS
    assert len(listeners.connections) == 1


def test_the_system_s_own_reading_of_odd_addresses_is_checked_too() -> None:
    """What the system's resolver returns for 127.1, 0x7f.1 or 2130706433 is checked like every address."""
    resolver = SystemResolver()
    for odd in ("127.1", "0x7f.1", "2130706433", "localhost"):
        addresses = asyncio.run(resolved(resolver, odd))
        assert addresses
        assert not any(map(INTERNET.admit, addresses))
    resolver.close()


async def resolved(resolver: SystemResolver, host: str) -> Sequence[Address]:
    """Return what the system's resolver returns."""
    return await resolver(WorkspaceId("ws_a"), host, 80)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_proxies_of_the_environment_are_ignored(
    installation: Installation, sample: Batch, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would connect to any address it finds."""
    with listening() as listeners:
        proxy = f"http://127.0.0.1:{listeners.ports['127.0.0.1']}"
        monkeypatch.setenv(variable, proxy)
        outcome = attempt(sample, "http://receiver.example:9/", installation, sender(seconds=2))
    assert outcome.error is AttemptError.UNREACHABLE
    assert listeners.connections == []


def test_the_listeners_notice_an_allowed_connection(
    installation: Installation, sample: Batch
) -> None:
    """Allowed by the operator, the same attempt arrives: the tests above would see a connection."""
    with listening() as listeners:
        port = listeners.ports["127.0.0.1"]
        outcome: Any = attempt(sample, f"http://127.0.0.1:{port}/", installation, sender(seconds=2))
        assert outcome.error is AttemptError.BAD_ANSWER
    assert len(listeners.connections) == 1
