"""A key with networks works from inside them alone, at every entry point, whatever a client claims to be."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product as pairs_of
from pathlib import Path
from urllib.parse import urlencode

import pytest

from keystead import bootstrap
from keystead.domain.credentials import CredentialKind
from keystead.domain.principals import Actor, PrincipalKind
from keystead.integrations import Guard, connect
from keystead.integrations.remote import Remote
from tests.support.callers import ClientRequest
from tests.support.certificates import self_signed
from tests.support.gateways import EACH, ENVOY, Gateway, deployed, running, running_setup, setup
from tests.support.guarded_products import PRODUCTS, Product
from tests.support.installations import ENGINES, fresh_url
from tests.support.raw_http import Field, Recorder, Response, application, ask, bearer, recorder
from tests.support.server_process import ServerProcess, free_port, serving
from tests.support.spoofing import INSIDE, NETWORKS, OUTSIDE, PROXY, forgeries

REFUSED = (401, "invalid-token")
HTTPS: Field = ("X-Forwarded-Proto", "https")
TRUSTING = {"KEYSTEAD_TRUSTED_PROXIES": PROXY}
LOOPBACK = ["127.0.0.0/8"]


@dataclass(frozen=True)
class Spoofed:
    """A server that trusts one proxy, and a key that works only from inside its networks."""

    server: ServerProcess
    token: str
    service: str

    def ask(self, path: str, *fields: Field, source: str) -> Response:
        """Send a request with the key, from an address of this machine."""
        return ask(self.server.port, path, [bearer(self.token), *fields], source=source)

    def ask_behind_proxy(self, path: str, *fields: Field, client: str) -> Response:
        """Send one as the proxy does, which appends its client's address to what the client sent."""
        return self.ask(path, *fields, ("X-Forwarded-For", client), HTTPS, source=PROXY)

    def introspect(self, *fields: Field, source: str, **form: str) -> Response:
        """Introspect the key as a service at that address."""
        body = urlencode({"token": self.token, **form}).encode()
        content = ("Content-Type", "application/x-www-form-urlencoded")
        sent = [bearer(self.service), content, *fields]
        port = self.server.port
        return ask(port, "/introspect", sent, source=source, method="POST", body=body)


def spoofed_on(server: ServerProcess, networks: list[str]) -> Spoofed:
    """Create a key with these networks, and a service."""
    body = {"description": "restricted", "scopes": ["*"], "networks": networks}
    token = server.call("POST", "/v1/keys", token=server.token(), json=body).json()["token"]
    installation = bootstrap.open_safely(server.settings)
    try:
        by = Actor(PrincipalKind.OPERATOR, "cli", "root")
        _, service = installation.services.credentials.create("x", by, CredentialKind.SERVICE)
    finally:
        installation.close()
    return Spoofed(server, token, service.reveal())


@pytest.fixture(scope="module", params=ENGINES)
def spoofed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Spoofed]:
    """A server on each engine."""
    with (
        fresh_url(request, tmp_path_factory, request.param) as url,
        serving(url, environment=TRUSTING) as server,
    ):
        server.put_on("scale")
        yield spoofed_on(server, NETWORKS)


def test_the_rest_api(spoofed: Spoofed) -> None:
    """The peer counts, and nothing that it sends: it isn't a trusted proxy."""
    for name, fields in forgeries().items():
        assert spoofed.ask("/v1/whoami", *fields, HTTPS, source=INSIDE).status == 200, name
        assert spoofed.ask("/v1/whoami", *fields, source=OUTSIDE).problem() == REFUSED, name
        assert spoofed.ask("/v1/whoami", *fields, HTTPS, source=OUTSIDE).problem() == REFUSED, name


def test_the_rest_api_behind_a_proxy(spoofed: Spoofed) -> None:
    """The address that the proxy appended counts, and nothing in front of it."""
    asked = partial(spoofed.ask_behind_proxy, "/v1/whoami")
    for name, fields in forgeries().items():
        assert asked(*fields, client=INSIDE).status == 200, name
        assert asked(*fields, client=OUTSIDE).problem() == REFUSED, name
    assert spoofed.ask("/v1/whoami", source=PROXY).problem() == REFUSED


def test_forward_auth(spoofed: Spoofed) -> None:
    """Only the client that a trusted proxy reports counts: the gateway itself is not a client."""
    path = "/forward-auth/any"
    asked = partial(spoofed.ask_behind_proxy, path)
    for name, fields in forgeries().items():
        for source in (INSIDE, OUTSIDE):
            assert spoofed.ask(path, *fields, source=source).problem() == REFUSED, name
        assert asked(*fields, client=INSIDE).status == 200, name
        assert asked(*fields, client=OUTSIDE).problem() == REFUSED, name
    for fields in ([], [HTTPS]):
        assert spoofed.ask(path, *fields, source=PROXY).problem() == REFUSED


def test_a_client_that_the_proxy_does_not_know(spoofed: Spoofed) -> None:
    """It isn't the proxy itself, which the networks of this key contain, nor anything further left."""
    local = spoofed_on(spoofed.server, LOOPBACK)
    for path in ("/v1/whoami", "/forward-auth/any"):
        for unknown in ("unknown", "", "unix:", f"{INSIDE}, _x", f"{INSIDE} ,", f"{INSIDE}/32"):
            assert local.ask_behind_proxy(path, client=unknown).problem() == REFUSED, unknown
        assert local.ask(path, HTTPS, source=PROXY).problem() == REFUSED


def test_a_gateways_client_is_not_a_proxy(spoofed: Spoofed) -> None:
    """In forward-auth an address of a trusted proxy is unknown, also to a key that works from there."""
    local = spoofed_on(spoofed.server, LOOPBACK)
    assert local.ask("/v1/whoami", source=PROXY).status == 200
    for chain in (PROXY, f"{PROXY}, {PROXY}"):
        assert local.ask_behind_proxy("/v1/whoami", client=chain).status == 200
        refused = local.ask_behind_proxy("/forward-auth/any", client=chain)
        assert refused.problem() == REFUSED
    assert local.ask("/forward-auth/any", source=PROXY).problem() == REFUSED
    assert local.ask_behind_proxy("/forward-auth/any", client=OUTSIDE).status == 200


def test_introspection(spoofed: Spoofed) -> None:
    """Only `ip` counts: neither the service's own address nor a field of its request does."""
    for name, fields in forgeries().items():
        for source in (INSIDE, OUTSIDE):
            asked = partial(spoofed.introspect, *fields, source=source)
            assert b'"active":true' in asked(ip=INSIDE).body, name
            for form in ({}, {"ip": OUTSIDE}, {"ip": "2001:db9::1"}, {"client_ip": INSIDE}):
                assert asked(**form).body == b'{"active":false}', name


def test_a_token_is_revoked_from_anywhere(spoofed: Spoofed) -> None:
    """Holding the token is enough to revoke it."""
    lost = spoofed_on(spoofed.server, NETWORKS)
    assert lost.ask("/v1/whoami", source=INSIDE).status == 200
    body = urlencode({"token": lost.token}).encode()
    content = [("Content-Type", "application/x-www-form-urlencoded")]
    port = lost.server.port
    answer = ask(port, "/revoke", content, source=OUTSIDE, method="POST", body=body)
    assert answer.status == 200
    assert lost.ask("/v1/whoami", source=INSIDE).problem() == REFUSED


GUARDS: dict[str, Callable[[Spoofed, Sequence[str]], Guard]] = {
    "in process": lambda to, proxies: connect(
        to.server.database_url, data=to.server.data, trusted_proxies=proxies
    ),
    "remote": lambda to, proxies: Remote(to.server.base_url, to.service, trusted_proxies=proxies),
    "remembering": lambda to, proxies: Remote(
        to.server.base_url, to.service, remember_seconds=600, trusted_proxies=proxies
    ),
}
"""Each kind of guard, behind these proxies."""
EACH_GUARD = [
    *pairs_of(["sqlite"], ["in process", "remote"], PRODUCTS),
    *pairs_of(["postgresql"], ["remembering"], PRODUCTS),
    *pairs_of(["postgresql"], ["in process"], ["asgi", "wsgi"]),
]
"""What reads an address comes before the database: so one framework of each kind is tried on both engines.

A remote guard asks `/introspect`, whose addresses are tested above on both.
"""


@pytest.mark.parametrize(("spoofed", "kind", "framework"), EACH_GUARD, indirect=["spoofed"])
def test_every_integration(spoofed: Spoofed, framework: str, kind: str) -> None:
    """Without trusted proxies the peer counts; with them, what they append; also for a key that was just recalled."""
    for proxies in ((), (PROXY,)):
        guard, product = GUARDS[kind](spoofed, proxies), Product()
        reach = PRODUCTS[framework](guard, product)
        for name, forged in forgeries().items():
            for client, expected in ((INSIDE, 200), (OUTSIDE, 401), (INSIDE, 200)):
                appended = [("X-Forwarded-For", client)] if proxies else []
                sent = [bearer(spoofed.token), *forged, *appended]
                fields = tuple((field.lower().encode(), value.encode()) for field, value in sent)
                request = ClientRequest(fields, peer=PROXY if proxies else client)
                product.served.clear()
                assert reach(request).status == expected, (proxies, name, client)
                assert len(product.served) == (expected == 200)
        for peer in ("", "socket", PROXY):
            fields = ((b"authorization", f"Bearer {spoofed.token}".encode()),)
            assert reach(ClientRequest(fields, peer=peer)).status == 401, peer
        guard.close()


@pytest.mark.parametrize("spoofed", ["sqlite"], indirect=True)
@pytest.mark.parametrize("framework", ["asgi", "starlette", "fastapi", "django on a loop"])
def test_another_spelling_is_another_field(spoofed: Spoofed, framework: str) -> None:
    """Behind the proxy's own field too. WSGI can't tell them apart: its servers drop such names."""
    guard = GUARDS["remote"](spoofed, [PROXY])
    reach = PRODUCTS[framework](guard, Product())
    for name in (b"x_forwarded_for", b"x_forwarded-for", b"x.forwarded.for"):
        fields = (
            (b"authorization", f"Bearer {spoofed.token}".encode()),
            (b"x-forwarded-for", OUTSIDE.encode()),
            (name, INSIDE.encode()),
        )
        assert reach(ClientRequest(fields, peer=PROXY)).status == 401, name
    guard.close()


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoofed]:
    """A server for the gateways, which it trusts."""
    url = f"sqlite:///{tmp_path_factory.mktemp('spoofing') / 'keystead.db'}"
    with serving(url, environment=TRUSTING) as server:
        server.put_on("scale")
        yield spoofed_on(server, NETWORKS)


@pytest.fixture(scope="module")
def behind() -> Iterator[Recorder]:
    """The application behind the gateways."""
    with recorder(application) as recording:
        yield recording


def is_refused(gateway: Gateway, answer: Response) -> bool:
    """Return whether a gateway refused the request; Envoy itself does if Connection names the proxies' fields."""
    return (gateway is ENVOY and answer.status == 400) or answer.problem() == REFUSED


@pytest.mark.parametrize("gateway", EACH)
def test_every_gateway(
    trusting: Spoofed, behind: Recorder, gateway: Gateway, tmp_path: Path
) -> None:
    """The gateway reports the address that it saw itself, and nothing that its client claims about it."""
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    secured = replace(
        setup(free_port(), [trusting.server.port], behind.port),
        certificate=str(certificate),
        key=str(key),
    )
    with running_setup(gateway, tmp_path, secured):

        def reached(*fields: Field, client: str) -> Response:
            sent = [bearer(trusting.token), *fields]
            port = secured.listen.port
            return ask(port, "/documents/a", sent, source=client, context=context)

        for name, fields in forgeries().items():
            assert reached(client=INSIDE).body == b"application", name
            before = len(behind.requests)
            assert is_refused(gateway, reached(*fields, client=OUTSIDE)), name
            # A client inside the trusted proxies could otherwise name any address.
            assert is_refused(gateway, reached(*fields, client=PROXY)), name
            assert len(behind.requests) == before, name


@pytest.mark.parametrize("gateway", EACH)
def test_a_gateway_that_is_not_trusted(tmp_path: Path, behind: Recorder, gateway: Gateway) -> None:
    """Keystead doesn't know the client then, so it refuses a key with networks, and only such a key."""
    with serving(f"sqlite:///{tmp_path / 'keystead.db'}") as server:
        local = spoofed_on(server, [*LOOPBACK, "::/0"])
        with running(gateway, tmp_path, server.port, behind.port) as port:
            for name, fields in forgeries().items():
                for client in (INSIDE, PROXY):
                    sent = [bearer(local.token), *fields]
                    answer = ask(port, "/documents/a", sent, source=client)
                    assert is_refused(gateway, answer), name
            unrestricted = [bearer(server.token("documents:read"))]
            assert ask(port, "/documents/a", unrestricted).status == 200


def test_the_proxy_of_the_guide(trusting: Spoofed, tmp_path: Path) -> None:
    """The REST API behind nginx as the guide to deployment shows it."""
    with deployed(tmp_path, trusting.server.port, _over_tls) as port:
        for name, fields in forgeries().items():
            sent = [bearer(trusting.token), *fields]
            assert ask(port, "/v1/whoami", sent, source=INSIDE).status == 200, name
            assert ask(port, "/v1/whoami", sent, source=OUTSIDE).problem() == REFUSED, name


def _over_tls(configuration: str) -> str:
    """Let the proxy say that its client came over TLS, for which it has no certificate here."""
    return configuration.replace("X-Forwarded-Proto $scheme", "X-Forwarded-Proto https")
