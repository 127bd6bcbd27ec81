"""Receivers of webhooks for tests, and installations whose worker may send to them: to this machine alone."""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from keystead.bootstrap import Installation, open_installation
from keystead.domain.destinations import Address, Destinations
from keystead.domain.ids import WorkspaceId
from keystead.domain.principals import Principal
from keystead.domain.webhooks import WebhookDraft, WebhookEndpoint
from keystead.services.webhooks import CreatedWebhook
from keystead.settings import Settings
from keystead.storage.clock import Clock
from keystead.worker.deliver import DeliveryWorker
from keystead.worker.sending import Sender, tls_context
from tests.support.installations import PEPPERS, prepare
from tests.support.postgres import DEADLINE_SECONDS
from tests.support.row_security import as_server

HOST: Final = "127.0.0.1"
LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
ALL_PORTS: Final = frozenset(range(1, 65536))
HERE: Final = Destinations(private_networks=LOOPBACK, allow_http=True, ports=ALL_PORTS)
"""The destinations of tests: this machine's own addresses and nothing else."""


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Its `webhook-id`."""
        return self.headers["webhook-id"]


Answer = Callable[[Received], tuple[int, Mapping[str, str]]]


def _accepted(_: Received) -> tuple[int, Mapping[str, str]]:
    return 204, {}


class Receiver:
    """A receiver over plain HTTP on a free port. It keeps its requests, and sends the responses of `answer`.

    `drops`: it closes each connection when a second request arrives on it.
    """

    def __init__(self, answer: Answer = _accepted, port: int = 0, *, drops: bool = False) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self.connections = self.open_connections = 0
        self.arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            is_used = False

            def do_POST(self) -> None:
                if drops and self.is_used:
                    self.close_connection = True
                    return
                self.is_used = True
                length = int(self.headers["content-length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # the sender was killed in the middle, so there is no request
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, more = receiver.take(Received(self.path, headers, body))
                self.send_response(status)
                for name, value in {"Content-Length": "0", **more}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def process_request(self, request: Any, client_address: Any) -> None:
                """Count the connection."""
                with receiver.arrived:
                    receiver.connections += 1
                    receiver.open_connections += 1
                super().process_request(request, client_address)

            def shutdown_request(self, request: Any) -> None:
                """Close the connection."""
                super().shutdown_request(request)
                with receiver.arrived:
                    receiver.open_connections -= 1

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Ignore a sender that was killed."""

        self._server = Server((HOST, port), Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http://{HOST}:{self.port}/hooks"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def take(self, received: Received) -> tuple[int, Mapping[str, str]]:
        """Keep a request, and return its response."""
        with self.arrived:
            self.received.append(received)
            self.arrived.notify_all()
        return self.answer(received)

    def wait_until(
        self, reached: Callable[[Sequence[Received]], bool], seconds: float = DEADLINE_SECONDS
    ) -> None:
        """Wait until the received requests are as wanted; AssertionError after that many seconds."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: reached(self.received), seconds), self.counts()

    def wait_for(self, number: int, seconds: float = DEADLINE_SECONDS) -> Sequence[Received]:
        """Wait for that many requests."""
        self.wait_until(lambda received: len(received) >= number, seconds)
        return self.received

    def counts(self) -> Counter[str]:
        """Return how often each ID arrived."""
        return Counter(received.id for received in self.received)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


SETTINGS: Final[Mapping[str, Any]] = {
    "webhook_private_networks": [str(network) for network in LOOPBACK],
    "webhook_allow_http": True,
    "webhook_ports": sorted(ALL_PORTS),
}
"""Settings that allow webhooks to this machine."""


@contextmanager
def open_webhook_installation(
    url: str, clock: Clock | None = None, **chosen: Any
) -> Iterator[Installation]:
    """Open an installation on the database at `url`, with the system's clock unless one is passed."""
    prepare(url)
    settings = Settings(database=as_server(url), **{**SETTINGS, **chosen})
    installation = open_installation(settings, PEPPERS, clock)
    try:
        yield installation
    finally:
        installation.close()


async def resolve_here(_: WorkspaceId, host: str, port: int) -> Sequence[Address]:
    """Resolve every name to this machine."""
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        return [ipaddress.ip_address(HOST)]


def sender(**chosen: Any) -> Sender:
    """Return a sender that sends to this machine only."""
    options: dict[str, Any] = {"destinations": HERE, "resolve": resolve_here, "tls": tls_context()}
    return Sender(**options | chosen)


@contextmanager
def delivering(installation: Installation, **chosen: Any) -> Iterator[DeliveryWorker]:
    """Run a worker of that installation for the block."""
    worker = DeliveryWorker(installation.services.deliveries, sender(**chosen), poll=0.02)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def create_webhook(
    installation: Installation, tenant: Principal, url: str, *events: str, **headers: str
) -> CreatedWebhook:
    """Create a webhook of the tenant, for these types of events or all."""
    draft = WebhookDraft("receiver", url, events or ("*",), headers)
    return installation.services.webhooks.create(tenant, draft)


def delivered_event_ids(
    installation: Installation, endpoint: WebhookEndpoint, tenant: Principal
) -> set[str]:
    """Return the IDs of all events with a delivery to that endpoint."""
    webhooks, ids, before = installation.services.webhooks, set[str](), None
    while True:
        page = webhooks.deliveries(tenant, endpoint.id, limit=200, before=before)
        ids |= {delivery.event_id for delivery in page.items}
        if page.next is None:
            return ids
        before = page.next
