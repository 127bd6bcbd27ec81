"""A product with a name of its own: no answer, document or email says ours. The pages have a test of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx2
import pytest

from keystead.bootstrap import Installation, open_installation
from keystead.bootstrap.applications import application
from keystead.bootstrap.background import SENDER, background_of
from keystead.domain.credentials import CredentialKind
from keystead.domain.digest import Pepper, Peppers
from keystead.domain.errors import LimitReached, Unauthenticated
from keystead.domain.keys import KeyDraft
from keystead.domain.notification_digests import GATHERING_DELAY
from keystead.domain.principals import Actor, PrincipalKind, operator, system
from keystead.domain.workspaces import Role
from keystead.http.asgi import Receive, Scope, Send
from keystead.http.problems import STATUS, Problems
from keystead.integrations import connect
from keystead.settings import Settings
from keystead.worker.mailer import Mailer
from tests.support.clocks import NOON, ManualClock
from tests.support.described_calls import CALLS, sample_body
from tests.support.problems import error_classes
from tests.support.receivers import Receiver, create_webhook, open_webhook_installation
from tests.support.row_security import declared
from tests.support.sample_workspace import furnish
from tests.support.stub_server import TOKEN
from tests.support.white_label import NAME, leaking_fields, leaks

ORIGIN = "https://keys.example"
FORMS = ("/introspect", "/revoke", "/oauth/device_authorization", "/oauth/token")
DOCUMENTS = ("/openapi.json", "/operator/openapi.json")
PAGES = ("/docs", "/operator/docs", "/docs/reference.js", "/docs/reference.css", "/problems")
OTHERS = ("/.well-known/oauth-authorization-server", "/healthz", "/readyz", "/v1/none", "/none")


@dataclass
class NamedServer:
    """The whole server of a product, in process."""

    installation: Installation
    clock: ManualClock
    http: httpx2.AsyncClient
    runner: asyncio.Runner

    def ask(self, method: str, path: str, token: str = "", **more: Any) -> httpx2.Response:
        """Return an answer in which neither the body nor a field says our name."""
        headers: dict[str, str] = {"authorization": f"Bearer {token}"} if token else {}
        answer = self.runner.run(self.http.request(method, path, headers=headers, **more))
        assert not leaks(answer.text), (method, path)
        assert not leaking_fields(answer.headers.multi_items()), (method, path)
        assert answer.headers["server"] == "acme-cloud"
        for challenge in answer.headers.get_list("www-authenticate"):
            assert f'realm="{NAME}"' in challenge
        return answer


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamedServer]:
    """A server under the product's name, without the credit."""
    folder, clock = tmp_path_factory.mktemp("named"), ManualClock()
    settings = Settings(
        database=declared(f"sqlite:///{folder / 'keystead.db'}"),
        product_name=NAME,
        powered_by=False,
        public_url=ORIGIN,
    )
    installation = open_installation(settings, Peppers(Pepper("test", bytes(range(32)))), clock)
    app = application(installation, None)

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        # A server's lifespan gives each request a state.
        await app({**scope, "state": {}}, receive, send)

    transport = httpx2.ASGITransport(with_state)
    with asyncio.Runner() as runner:
        http = httpx2.AsyncClient(transport=transport, base_url=ORIGIN)
        try:
            yield NamedServer(installation, clock, http, runner)
        finally:
            runner.run(http.aclose())
            installation.close()


def test_documents_and_pages(named: NamedServer) -> None:
    """Both OpenAPI documents, both references with their files, the page of each problem."""
    for path in (*DOCUMENTS, *PAGES, *(f"/problems/{code}" for code in STATUS)):
        assert named.ask("GET", path).status_code == 200, path
    titles = [named.ask("GET", path).json()["info"]["title"] for path in DOCUMENTS]
    assert titles == [f"{NAME} Workspace API", f"{NAME} Operator API"]


def test_the_operators_reference_stands_apart(named: NamedServer) -> None:
    """Nothing that customers read leads to it, and search engines are asked to leave it out."""
    for path in ("/docs", "/openapi.json", "/problems"):
        text = named.ask("GET", path).text
        for address in ("/operator/docs", "/operator/openapi.json", "/introspect", "/forward-auth"):
            assert address not in text, (path, address)
    for path in ("/operator/docs", "/operator/openapi.json"):
        assert named.ask("GET", path).headers["x-robots-tag"] == "noindex"
    assert "x-robots-tag" not in named.ask("GET", "/docs").headers


def credentials(named: NamedServer) -> Mapping[str, str]:
    """Return a token of each kind: none, a wrong one, a key's, a weak key's, an operator's."""
    services = named.installation.services
    workspace = system(services.workspaces.create("Acme", plan_id="scale").id)
    actor = Actor(PrincipalKind.OPERATOR, "tests", "tests")
    tokens = [
        services.keys.create(workspace, KeyDraft("strong", scopes=["*", "keys:write"])).token,
        services.keys.create(workspace, KeyDraft("weak", scopes=["plan:read"])).token,
        services.credentials.create("backend", actor, CredentialKind.OPERATOR)[1],
    ]
    key, weak, acting = (token.reveal() for token in tokens if token is not None)
    return {"none": "", "wrong": "wrong", "key": key, "weak": weak, "operator": acting}


def test_every_call_and_refusal(named: NamedServer) -> None:
    """Each call of both documents, and each of the gate, with every kind of credential."""
    statuses: set[int] = set()
    for token in credentials(named).values():
        for path, method, operation in CALLS:
            place = path.replace("{name}", "handbook").replace("{id}", "none")
            body = sample_body(operation)
            answer = named.ask(method.upper(), place, token, json=body)
            statuses.add(answer.status_code)
        for path in FORMS:
            statuses.add(named.ask("POST", path, token, data={"token": "x"}).status_code)
            statuses.add(named.ask("POST", path, token, content=b"{").status_code)
        for path in (*OTHERS, "/forward-auth/any", "/forward-auth/nothing"):
            statuses.add(named.ask("GET", path, token).status_code)
    assert {200, 201, 204, 400, 401, 403, 404, 422} <= statuses
    assert named.ask("DELETE", "/docs").status_code == 405
    assert named.ask("GET", f"/v1/keys?query={'x' * 20_000}").status_code == 431


def test_every_kind_of_error(named: NamedServer) -> None:
    """Title, detail, further members and header fields of each class of errors, as far as one can be made plainly."""
    problems = Problems(ORIGIN, named.installation.settings.product)
    made = 0
    for kind in error_classes():
        if not hasattr(kind, "code"):
            continue
        try:
            error = kind()
        except TypeError:
            continue
        made += 1
        answer = problems.answer(error)
        assert not leaks(answer.body.decode()), kind
        assert not leaking_fields((n.decode(), v.decode()) for n, v in answer.headers), kind
    assert made > 20


class Postman:
    """A mail transport that keeps every message."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []

    async def send(self, message: EmailMessage) -> None:
        """Keep a message."""
        self.messages.append(message)


def test_every_email(tmp_path: Path) -> None:
    """The confirmation of an address, and the digest of events; sender and subject too."""
    url = declared(f"sqlite:///{tmp_path / 'keystead.db'}")
    settings = Settings(database=url, product_name=NAME, powered_by=False, public_url=ORIGIN)
    clock, postman = ManualClock(), Postman()
    installation = open_installation(settings, Peppers(Pepper("test", bytes(range(32)))), clock)
    try:
        sample = furnish(installation, clock, NOON)
        services = installation.services
        secret, _ = services.sign_in.make_link(sample.person(Role.VIEWER, "Una"))
        services.accounts.change_email(services.sign_in.redeem(secret).secret, "una@acme.example")
        with pytest.raises(LimitReached):
            services.keys.create(system(sample.full), KeyDraft("more"))
        clock.advance(GATHERING_DELAY)
        Mailer(services.confirmations, postman, sender=SENDER, base_url=ORIGIN).send_due()
        Mailer(services.notification_digests, postman, sender=SENDER, base_url=ORIGIN).send_due()
    finally:
        installation.close()
    subjects = [message["Subject"] for message in postman.messages]
    assert f"Confirm your email for {NAME}" in subjects
    assert len(subjects) >= 2
    for message in postman.messages:
        assert not leaks(message.as_string()), message["Subject"]
        assert not leaking_fields(message.items())


def test_every_event(named: NamedServer) -> None:
    """What the installation does by itself is the system's, in every event."""
    token = credentials(named)["operator"]
    named.installation.services.feed.place()
    feed = named.ask("GET", "/operator/v1/events", token)
    assert {"system"} <= {event["actor"]["id"] for event in feed.json()["items"]}
    assert not leaks(json.dumps(feed.json()))


def test_webhooks_come_from_the_product(tmp_path: Path) -> None:
    """Neither a field nor the body of what a receiver gets says our name, from the worker as a server starts it."""
    url = f"sqlite:///{tmp_path / 'keystead.db'}"
    with Receiver() as receiver, open_webhook_installation(url, product_name=NAME) as installation:
        workspace = installation.services.workspaces.create("Acme", plan_id="scale")
        create_webhook(installation, operator("tests", workspace.id), receiver.url)
        worker = background_of(installation, None, deliver=True).worker
        assert worker is not None
        worker.start()
        try:
            [got] = receiver.wait_for(1)
        finally:
            worker.stop()
    assert got.headers["user-agent"] == "acme-cloud (webhooks)"
    assert not leaks(got.body.decode())
    assert not leaking_fields(got.headers.items())


def test_an_application_answers_in_the_products_name(tmp_path: Path) -> None:
    """The guard of an application that asks a server takes the name as an argument."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    guard = connect(ORIGIN, token_file=file, product_name=NAME)
    fields = dict(guard.answer(Unauthenticated()).headers)
    assert fields[b"www-authenticate"] == b'Bearer realm="Acme Cloud"'
