"""A trial on SQLite becomes an installation on PostgreSQL, and could go back: nothing is lost, nothing is invented."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from keystead import bootstrap, cli
from keystead.bootstrap import Installation, Settings
from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.ids import WebhookId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, operator
from keystead.domain.token import Secret
from keystead.domain.verification import Verified
from keystead.domain.webhooks import WebhookDraft
from tests.support.installations import text_of
from tests.support.postgres import PostgresServer
from tests.support.row_security import as_server

TOKENS = ("in use", "rotated", "revoked")


@dataclass
class Customer:
    """What a customer of the trial has and remembers."""

    principal: Principal
    tokens: dict[str, str]
    session: Secret
    webhook: WebhookId


@contextmanager
def running(settings: Settings) -> Iterator[Installation]:
    """Start what a server starts, without its HTTP."""
    bootstrap.prepare(settings)
    installation = bootstrap.open_safely(settings)
    try:
        yield installation
    finally:
        installation.close()


def begin(installation: Installation) -> Customer:
    """Use the trial: keys of each kind, a collection, a webhook with an event that is still to be sent, a session."""
    services = installation.services
    workspace = services.workspaces.create("Acme", owner="Ada", plan_id="scale")
    principal = operator("tests", workspace.id)
    created = {name: services.keys.create(principal, KeyDraft(name)) for name in TOKENS}
    services.documents.create_collection(principal, CollectionDraft("handbook"))
    texts = [DocumentDraft(f"page-{n}", f"The heron of matter{n}", "Garden") for n in range(3)]
    services.documents.push(principal, "handbook", Push(upsert=texts))
    draft = WebhookDraft("chat", "https://hooks.example/", ("*",))
    webhook = services.webhooks.create(principal, draft).endpoint.id
    services.rotations.rotate(principal, created["rotated"].key.id)
    services.keys.revoke(principal, created["revoked"].key.id)
    services.feed.place()
    secret, _ = services.sign_in.make_link(services.workspaces.owner(workspace.id))
    session = services.sign_in.redeem(secret).secret
    tokens = {name: text_of(key) for name, key in created.items()}
    return Customer(principal, tokens, session, webhook)


def observed(installation: Installation, customer: Customer) -> dict[str, object]:
    """Return what the customer sees, with everything that a database counts, numbers or indexes by itself."""
    services, who = installation.services, customer.principal
    installation.services.usage.flush()
    keys = services.keys.list(who)
    events = services.events.list(who, limit=100).items
    return {
        "works": {
            name: isinstance(services.verifier.verify(token), Verified)
            for name, token in customer.tokens.items()
        },
        "keys": sorted((key.id, key.description, key.revoked_at) for key in keys.items),
        "used": keys.quota.used,
        "events": [(event.sequence, event.id, event.type, event.data) for event in events],
        "feed": [event.id for event in services.feed.read(limit=100).items],
        "found": [hit.id for hit in services.documents.search(who, "handbook", "heron matt").items],
        "deliveries": services.webhooks.deliveries(who, customer.webhook, limit=100).items,
        "session": services.sign_in.visitor(customer.session) is not None,
    }


def test_a_trial_moves_to_postgresql_and_back(
    tmp_path: Path,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same tokens, session, events, feed, search hits and pending deliveries, on each database in turn."""
    data, name = tmp_path / "data", postgres.create_database()
    owner, back = postgres.dsn(name), f"sqlite:///{tmp_path / 'back.db'}"
    trial = Settings(data=data)
    bootstrap.migrate(trial)
    with running(trial) as installation:
        customer = begin(installation)
        before = observed(installation, customer)
    assert before["works"] == {"in use": True, "rotated": False, "revoked": False}
    assert before["found"]
    monkeypatch.chdir(tmp_path)
    assert cli.run(["move", "--data", str(data), "--to", owner]) == 0
    said = capsys.readouterr()
    assert "nothing differs" in said.out
    assert str(data / "peppers") in said.out
    assert str(data / "endings") in said.out
    assert "Copying api_keys\n" in said.err
    assert cli.run(["keys", "list", "--data", str(data)]) == 78
    assert "was moved to postgresql://" in capsys.readouterr().err
    production = Settings(data=data, database=as_server(owner))
    with running(production) as installation:
        assert observed(installation, customer) == before
        _go_on(installation, customer)
        after = observed(installation, customer)
    with monkeypatch.context() as environment:
        environment.setenv("KEYSTEAD_DATABASE", as_server(owner))
        environment.setenv("KEYSTEAD_MIGRATION_DATABASE", owner)
        assert cli.run(["move", "--data", str(data), "--to", back, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {table["name"]: table["rows"] for table in report["tables"]}["documents"] == 4
    with running(Settings(data=data, database=back)) as installation:
        assert observed(installation, customer) == after
        _go_on(installation, customer, "page-4")
    postgres.drop_database(name)


def _go_on(installation: Installation, customer: Customer, page: str = "page-3") -> None:
    """Change something of each kind, and find the pending deliveries still to be sent, signed with the same secret."""
    services, who = installation.services, customer.principal
    customer.tokens[page] = text_of(services.keys.create(who, KeyDraft(f"after {page}")))
    services.documents.push(
        who, "handbook", Push(upsert=[DocumentDraft(page, "Another heron of matter9", "Garden")])
    )
    hits = services.documents.search(who, "handbook", "heron").items
    assert page in {hit.id for hit in hits}
    services.feed.place()
    sent = services.deliveries.claim(endpoints=1, messages=100)
    assert [batch.endpoint.name for batch in sent] == ["chat"]
    assert sent[0].secrets
    services.deliveries.settle([], sent)
